"""The same request in other text, bytes, codings, headers and paths."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from random import Random

import brotli
from case import Draft
from spelling import Pen
from verdict import CANARY, HEADER

from imagegate.zstd import zstd

PLAIN = Pen(random=Random(0))  # noqa: S311 - no secret
BAD = '{"model":"gpt-5","input":"x","tools":[{"type":"image_generation","model":"%s"}]}'
BAD %= f"gpt-image-{CANARY}"
GOOD = '{"model":"gpt-5","input":"x"}'
TEXTS: list[Callable[[str], str]] = [
    lambda text: f"{GOOD}{text}",
    lambda text: f"{text}{GOOD}",
    lambda text: f"{GOOD}\n{text}",
    lambda text: f"{GOOD}\0{text}",
    lambda text: f"\x1e{text}\n",
    lambda text: f")]}}',\n{text}",
    lambda text: f"{text[:-1]},}}",
    lambda text: f"{{/**/{text[1:]}",
    lambda text: f"//x\n{text}",
    lambda text: f"{text}//x",
    lambda text: f"[{text}]",
    PLAIN.string,
    lambda text: text.replace('"', "'"),
    lambda text: text.replace("tools", r"\x74ools"),
    lambda text: f'{text[:-1]},"temperature":NaN}}',
    lambda text: f'{text[:-1]},"temperature":-Infinity}}',
    lambda text: f'{text[:-1]},"temperature":1e999}}',
    lambda text: f'{text[:-1]},"a":{"[" * 3_000}{"]" * 3_000}}}',
    lambda _: f'{{"a":{"[" * 150}{BAD}{"]" * 150}}}',
    lambda text: f'{text[:-1]},"user":"\\ud800"}}',
    lambda text: f"\ufeff{text}",
    lambda text: f"{text}\0",
    lambda text: f"{text}\x1a",
    lambda text: f" \n{text}\n ",
    lambda text: f"a={text}",
    lambda text: f"data: {text}\n\n",
    lambda text: f"{text[:-1]}",
]  # fmt: skip
ENCODINGS = [
    "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "cp500", "utf-8-sig",
]  # fmt: skip
BYTES: list[Callable[[bytes], bytes]] = [
    lambda data: data.replace(b"tools", b"\xc1\xb4ools"),
    lambda data: data.replace(b'"x"', b'"\xed\xa0\x80"'),
    lambda data: data.replace(b"tools", b"tools\xff"),
    lambda data: data.replace(b"tools", b"to\x01ols"),
    lambda data: b"\0" + data,
    lambda data: data[:1] + b"\xef\xbb\xbf" + data[1:],
    lambda data: data.replace(b":", b"\xc2\xa0:"),
]


def spelled(draft: Draft) -> None:
    """Write the body as text and bytes."""
    mess = draft.random.choice([0.0, 0.0, 0.1, 0.5])
    draft.text = Pen(random=draft.random, mess=mess).write(draft.body)
    if draft.maybe(0.15):
        draft.text = draft.pick(TEXTS, f"text {draft.random.randrange(99)}")(draft.text)
    draft.data = draft.text.encode("utf-8", "surrogatepass")
    if draft.maybe(0.05):
        code = draft.pick(ENCODINGS, "encoding")
        draft.data = draft.text.encode(code, "replace")
        if draft.maybe(0.5):
            typed = draft.random.choice(ENCODINGS[:6])
            draft.headers.append(("Content-Type", f"application/json; charset={typed}"))
    elif draft.maybe(0.05):
        draft.data = draft.pick(BYTES, "bytes")(draft.data)


def _deflate_raw(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(data) + deflate.flush()


SKIPPABLE = b"\x50\x2a\x4d\x18\x04\0\0\0skip"
ENCODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "x-gzip": lambda data: gzip.compress(data, 1),
    "deflate": lambda data: zlib.compress(data, 1),
    "deflate ": _deflate_raw,
    "br": lambda data: brotli.compress(data, quality=1),
    "zstd": zstd.compress,
    "identity": bytes,
    "compress": bytes,
    "dcb": bytes,
}
_MINI = b'{"model":"gpt-5","input":"x"}'


def _coded(draft: Draft) -> None:
    """Say that the body is encoded: rightly, wrongly, or both."""
    name = draft.pick(list(ENCODERS), "coding")
    encode, plain = ENCODERS[name], draft.data
    ways: list[Callable[[], tuple[list[str], bytes]]] = [
        *[lambda: ([name], encode(plain))] * 8,
        lambda: ([name.upper()], encode(plain)),
        lambda: ([name], plain),
        lambda: ([], encode(plain)),
        lambda: ([f"{name}, {name}"], encode(encode(plain))),
        lambda: ([name, name], encode(encode(plain))),
        lambda: ([name, "identity"], encode(plain)),
        lambda: ([f"identity, {name}"], encode(plain)),
        lambda: ([f"{name};q=1"], encode(plain)),
        lambda: ([name], encode(_MINI) + encode(plain)),
        lambda: ([name], encode(plain) + encode(_MINI)),
        lambda: ([name], encode(plain) + b"\0"),
        lambda: ([name], encode(plain)[:-1]),
        lambda: ([name], SKIPPABLE + encode(plain)),
        lambda: ([name], encode(plain) + SKIPPABLE),
        lambda: ([name], encode(_MINI) + plain),
        lambda: ([""], plain),
    ]
    number = draft.random.randrange(len(ways))
    draft.story.append(f"way {number}")
    codings, draft.data = ways[number]()
    draft.headers += [("Content-Encoding", coding.strip()) for coding in codings]


CONTENT_TYPES = [
    [], ["text/plain"], ["application/x-www-form-urlencoded"],
    ["application/json, text/plain"],
    ["application/json", "text/plain"], ["text/plain", "application/json"],
    ["multipart/form-data; boundary=x"], ["application/json;charset=utf-8"],
    ["application/json; charset=UTF-8"], ["APPLICATION/JSON"], ["application/json;"],
    ["application/json; charset=utf-7"], ["application/vnd.api+json"], ["text/json"],
    ["application/json; charset=utf-8; charset=utf-16"], ["application/json\t; x=y"],
    ['application/json; charset="utf-8"'], ["*/*"], [""],
]  # fmt: skip
EXTRA_HEADERS = [
    [("X-Forwarded-Host", "evil")], [("X-HTTP-Method-Override", "GET")],
    [("X-Original-URL", "/v1/batches")], [("X-Rewrite-URL", "/v1/batches")],
    [("Forwarded", "for=1")], [("Cookie", "a=b")], [("TE", "trailers")],
    [
        ("Connection", "content-length, authorization, x-nominated"),
        ("X-Nominated", "y"),
    ],
    [("Connection", "keep-alive, content-type, " + HEADER), (HEADER, "img-dear")],
    [("Authorization", "Bearer other")], [("Api-Key", "k"), ("Api_Key", "k")],
    [("Content_Length", "3")], [("Transfer_Encoding", "chunked")],
    [("Content_Type", "text/plain")], [("Content_Encoding", "gzip")],
    [(HEADER, f"img-{CANARY}")], [(HEADER, "img-mini-prod"), (HEADER, f"x{CANARY}")],
    [(HEADER.replace("-", "_"), f"x{CANARY}")], [(HEADER.upper(), f"x{CANARY}")],
    [(HEADER, f"img-mini-prod, x{CANARY}")], [(HEADER, f'"{CANARY}"')], [(HEADER, "")],
    [("X-Ms-Oai-Image_Generation-Deployment", f"x{CANARY}")],
    [
        ("Upgrade", "h2c"),
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("HTTP2-Settings", "A"),
    ],
    [("Upgrade", "websocket"), ("Connection", "upgrade")],
    [("Expect", "100-continue")], [("Proxy-Connection", "x")],
    [("Proxy-Authorization", "x")],
    [("Accept-Encoding", "gzip, br")], [("OpenAI-Beta", "responses_multi_agent=v1")],
    [("Host", "evil")], [("X-Forwarded-Proto", "https")],
    [("X_Forwarded_For", "1.2.3.4")],
    [("Range", "bytes=0-1")], [("If-Match", "x")], [("Accept", "text/event-stream")],
]  # fmt: skip
AGENT_ENDPOINT = "/api/projects/p/agents/a/endpoint/protocols/openai/"
PATHS: list[Callable[[str], str]] = [
    lambda path: path.replace("/v1/", "/v1//"),
    lambda path: f"/{path}",
    lambda path: path.replace("/v1/", "/v1/./"),
    lambda path: path.replace("/v1/", "/v1/x/../"),
    lambda path: path.replace("/v1/", "/v1/x/%2e%2e/"),
    lambda path: path.replace("/v1/", "/v1%2F"),
    lambda path: path.replace("e", "%65", 1),
    lambda path: path.replace("e", "%2565", 1),
    lambda path: f"{path};x=1",
    lambda path: f"{path}/",
    lambda path: f"{path}.",
    lambda path: f"{path}%20",
    lambda path: f"{path}%00",
    str.upper,
    lambda path: path.replace("/v1/", "/V1/"),
    lambda path: path.replace("/", "\\"),
    lambda path: path.replace("/v1/", "/v1/v1/"),
    lambda path: f"{path}#x",
    lambda path: f"{path}?a=b",
    lambda path: f"{path}?beta=true",
    lambda path: f"{path}?api-version=1&api-version=2",
    lambda path: path.replace("/v1/", "/openai/v1/"),
    lambda path: path.replace("/v1/", "/openai/"),
    lambda path: path.replace("/v1/", "/openai/deployments/gpt-5/"),
    lambda path: path.replace("/v1/", "/api/projects/p/openai/v1/"),
    lambda path: path.replace("/v1/", AGENT_ENDPOINT),
    lambda path: path.replace("/v1/", "/other/v1/"),
    lambda path: path.replace("/v1/", "/%6fther/v1/"),
    lambda path: path.replace("/v1/", "/other/../v1/"),
    lambda path: path.replace("/v1/", "/other//v1/"),
    lambda path: path.replace("/v1/", "/otherv1/"),
    lambda path: f"http://evil{path}",
    lambda path: f"@evil{path}",
    lambda path: path.replace("responses", "responses/resp_1"),
    lambda path: path.replace("responses", "ｒesponses"),
    lambda path: path.replace("responses", "res%C2%ADponses"),
    lambda path: path.replace("responses", "chat/completions/../../responses"),
    lambda path: path.replace("responses", "models/..%2fresponses"),
    lambda path: path.replace("responses", "chat%2fcompletions"),
]  # fmt: skip
METHODS = ["PUT", "PATCH", "GET", "DELETE", "OPTIONS", "HEAD", "QUERY", "post", "TRACE"]


def _framed(draft: Draft) -> bytes:
    """Frame the body in one of the ways that mean the same."""
    if draft.maybe(0.75):
        draft.headers.append(("Content-Length", str(len(draft.data))))
        return draft.data
    draft.headers.append(
        ("Transfer-Encoding", draft.random.choice(["chunked", "Chunked"]))
    )
    parts, at = [], 0
    while at < len(draft.data):
        size = draft.random.randint(1, max(1, len(draft.data)))
        part = draft.data[at : at + size]
        extension = draft.random.choice(["", "", "", ";x=y", ';a="b"'])
        parts.append(b"%x%b\r\n%b\r\n" % (len(part), extension.encode(), part))
        at += size
    trailers = [
        b"", f"X-Trailer: {CANARY}\r\n{HEADER}: {CANARY}\r\n".encode(),
        b"Content-Encoding: gzip\r\n",
        b"X-Forwarded-User: x\r\n", b"Content-Length: 3\r\n",
        b"Transfer-Encoding: gzip\r\n",
    ]  # fmt: skip
    return b"".join([*parts, b"0\r\n", draft.random.choice(trailers), b"\r\n"])


def _head(draft: Draft) -> bytes:
    first = f"{draft.method} {draft.path} HTTP/1.1"
    lines = [f"{name}: {value}" for name, value in draft.headers]
    text = "\r\n".join([first, "Host: gateway", *lines, "", ""])
    return text.encode("latin-1", "replace")


def wrapped(draft: Draft) -> bytes:
    """Say who asks and what it is, mostly well, and frame it."""
    typed = not draft.plain and _disguise(draft)
    if not (typed or "content-type" in {name.lower() for name, _ in draft.headers}):
        draft.headers.append(("Content-Type", "application/json"))
    draft.headers.append(("Authorization", "Bearer k"))
    if draft.plain:
        draft.headers.append(("Content-Length", str(len(draft.data))))
        return _head(draft) + draft.data
    framed = _framed(draft)
    if draft.maybe(0.2):
        draft.random.shuffle(draft.headers)
    return _head(draft) + framed


def _disguise(draft: Draft) -> bool:
    """Spell the head in ways that somebody may read otherwise; say if it is typed."""
    typed = draft.maybe(0.06)
    if draft.maybe(0.12):
        _coded(draft)
    if typed:
        kinds = draft.pick(CONTENT_TYPES, "types")
        draft.headers += [("Content-Type", kind) for kind in kinds]
    if draft.maybe(0.15):
        draft.headers += draft.pick(EXTRA_HEADERS, "headers")
    if draft.maybe(0.12):
        number = draft.random.randrange(len(PATHS))
        draft.path = PATHS[number](draft.path)
        draft.story.append(f"path {number} {draft.path}")
    if draft.maybe(0.04):
        draft.method = draft.pick(METHODS, "method")
    return typed
