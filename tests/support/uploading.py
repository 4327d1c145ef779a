"""Batch files that ask for too much, and batches of files that nobody judged.

Readers disagree about where a line ends, about what is said twice in one, and about
which part of a form is the file.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from random import Random

from case import Case, Draft
from disguises import ENCODINGS, spelled, wrapped
from forming import BOUNDARY, EVIL, Field, formed
from hiding import FINE, ODD_KEYS, bodied
from pictures import drawn
from recorder import MADE
from spelling import Pairs, Pen
from verdict import CANARY, HEADER

_BASES = ["/v1", "/openai", "/openai/v1", "/api/projects/p/openai/v1"]
_URLS = [
    "/v1/responses", "/responses", "/v1/images/generations", "/v1/images/edits",
    "/v1/embeddings", "/v1/chat/completions", "/v1/responses/compact", "/v1/Responses",
    "/v1//responses", "/v1/responses/", "/v1/responses?x=y", "v1/responses",
    "https://api.openai.com/v1/responses", "/v1/v1/responses", "/v1/batches", "",
    "/v1/files", "/v1/responses/resp_1/cancel", "/openai/v1/responses", "/v1/evals/x",
    "/v1/re%73ponses", "/v1/chat/../responses", "/v1/conversations", "/v1/uploads",
]  # fmt: skip
_ENDS = [
    "\r\n", "\r", "\n\n", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1e", "\x1c",
    "\0", "", ",", " ", "\n \n", "\n\ufeff", "\n\x1e", "\n[", "\n#", "\\n",
]  # fmt: skip
_METHODS = ["post", "GET", "PUT", "POST ", "", None]
_PURPOSES = [
    "batch", "batch", "user_data", "vision", "assistants", "evals", "Batch", "batch ",
    "BATCH", "batch_output", "fine-tune", "fine-tune-results", "", "batch\0",
    "bat\u00adch",
]  # fmt: skip
_FILES = [f"file-{CANARY}", f"{MADE} ", f" {MADE}", MADE.upper(), "", None, [MADE]]
_WHOLE: list[Callable[[bytes], bytes]] = [
    lambda data: b"\xef\xbb\xbf" + data,
    lambda data: b"\n" + data,
    lambda data: b"[" + data.replace(b"\n", b",") + b"]",
    lambda data: gzip.compress(data, 1),
    lambda data: data.replace(b'"tools"', b'"tools\xff"'),
    lambda data: data[:-3],
    lambda data: data + b"\x1a",
    lambda data: data.replace(b" ", b"\xa0"),
    lambda _: b"",
    lambda data: data + f"\r\n--{BOUNDARY}\r\n{EVIL}".encode(),
    lambda data: data.decode("utf-8", "replace").encode(ENCODINGS[0]),
]


def staged(random: Random) -> Case:
    """Draw an upload, or a batch."""
    draft, base = Draft(random=random), random.choice(_BASES)
    if draft.maybe(0.2):
        draft.path, draft.body = f"{base}/batches", _batch(draft)
        spelled(draft)
    else:
        draft.path, draft.plain = f"{base}/files", draft.maybe(0.7)
        formed(draft, _fields(draft), odd=draft.maybe(0.3))
    kind = "upload" if draft.path.endswith("files") else "batch"
    if draft.maybe(0.15):
        name = random.choice(["img-mini-prod", f"x-{CANARY}"])
        draft.headers.append((HEADER, name))
    wire = wrapped(draft)
    return Case(kind=kind, wire=wire, method=draft.method, story=draft.story)


def _batch(draft: Draft) -> Pairs:
    random = draft.random
    file = MADE if draft.maybe(0.5) else random.choice(_FILES)
    url = "/v1/responses" if draft.maybe(0.7) else random.choice(_URLS)
    body = Pairs([("input_file_id", file), ("endpoint", url)])
    body.append(("completion_window", "24h"))
    if draft.maybe(0.4):
        more: list[tuple[str, object]] = [
            ("input_blob", f"https://{CANARY}.blob.example/x"),
            ("input_file_id", f"file-{CANARY}"),
            ("endpoint", "/v1/embeddings"),
            (random.choice(ODD_KEYS)("input_file_id"), f"file-{CANARY}"),
            ("requests", [{"custom_id": CANARY}]),
            ("metadata", {"input_file_id": "x"}),
        ]
        body.append(random.choice(more))
    random.shuffle(body)
    return body


def _fields(draft: Draft) -> list[Field]:
    purpose = "batch" if draft.maybe(0.7) else draft.pick(_PURPOSES, "purpose")
    fields = [Field(name="purpose", content=purpose.encode()), _file(draft, "file")]
    if draft.maybe(0.25):
        more = [
            Field(name="purpose", content=b"batch"),
            Field(name="purpose[]", content=b"batch"),
            _file(draft, "file"),
            _file(draft, "file[]"),
            _file(draft, "files"),
            _file(draft, "purpose"),
            Field(name="file", content=_content(draft)),
            Field(name="file_id", content=f"file-{CANARY}".encode()),
            Field(name="content_url", content=CANARY.encode()),
            Field(name="expires_after[anchor]", content=b"created_at"),
        ]
        fields.append(draft.pick(more, "field"))
    return fields


def _file(draft: Draft, name: str) -> Field:
    names = ["a.jsonl", "a.jsonl.gz", "", "a.zip", "ä.jsonl", "../a", CANARY]
    types = ["application/jsonl", "application/gzip", "text/plain", "multipart/mixed"]
    kind = draft.random.choice([*types[:1] * 5, *types])
    return Field(
        name=name,
        content=_content(draft),
        filename=draft.random.choice([*names[:1] * 5, *names]),
        lines=[f"Content-Type: {kind}"] if draft.maybe(0.8) else [],
    )


def _content(draft: Draft) -> bytes:
    url = _URLS[0] if draft.maybe(0.6) else draft.pick(_URLS, "url")
    lines = [_line(draft, url) for _ in range(draft.random.choice([1, 1, 2, 3]))]
    end = draft.pick(_ENDS, "end") if draft.maybe(0.15) else "\n"
    text = end.join(lines) + draft.random.choice(["", "\n", end])
    data = text.encode("utf-8", "surrogatepass")
    if draft.maybe(0.1):
        number = draft.random.randrange(len(_WHOLE))
        draft.story.append(f"content {number}")
        data = _WHOLE[number](data)
    return data


def _line(draft: Draft, url: str) -> str:
    random = draft.random
    line = Pairs([("custom_id", "a"), ("method", "POST"), ("url", url)])
    line.append(("body", _body(draft, url)))
    if draft.maybe(0.15):
        _twist(draft, line, url)
    if draft.maybe(0.4):
        random.shuffle(line)
    return Pen(random=random, mess=random.choice([0.0, 0.0, 0.0, 0.05])).write(line)


def _body(draft: Draft, url: str) -> object:
    if draft.maybe(0.4):
        return Pairs([("model", "gpt-5"), ("input", "x"), ("tools", [dict(FINE)])])
    if "images" in url:
        return drawn(draft)
    inner = Draft(random=draft.random, story=draft.story)
    bodied(inner)
    return inner.body


def _twist(draft: Draft, line: Pairs, url: str) -> None:
    evil = Pairs([("model", f"gpt-{CANARY}"), ("input", "x")])
    twists: list[tuple[str, object]] = [
        ("headers", {HEADER: f"x-{CANARY}"}),
        ("body", evil),
        ("params", evil),
        ("url", "/v1/embeddings"),
        ("method", draft.random.choice(_METHODS)),
        ("custom_id", "a\u2028b"),
        ("query", "api-version=2099-01-01"),
        (draft.random.choice(ODD_KEYS)("body"), evil),
        (draft.random.choice(ODD_KEYS)("url"), url),
    ]
    name, value = draft.pick(twists, "twist")
    if draft.maybe(0.5):
        line[:] = [each for each in line if each[0] != name]
    line.append((name, value))
