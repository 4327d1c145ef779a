"""Messages of a WebSocket that try to get an image, and frames that hide them."""

from __future__ import annotations

from random import Random

from case import Case, Draft
from disguises import BAD, spelled
from framed import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from hiding import FINE, bodied
from spelling import Pairs, Pen
from verdict import CANARY, HEADER

_KINDS = [
    *["response.create"] * 6, *["response.inject"] * 3, *["response.steer"] * 2,
    "response.Create", "response.create\0", "response.create ", "session.update",
    "response.item.create", "conversation.item.create", "", None, ["response.create"],
]  # fmt: skip
_LANES = ["a", "b", "a b", 1, "", None, "a" * 257, "a\0"]
_FORBIDDEN = BAD.replace('{"model"', '{"type":"response.create","model"')
_PATHS = [
    "/v1/responses", "/openai/v1/responses", "/openai/responses?api-version=preview",
    "/openai/deployments/gpt-5/responses", "/api/projects/p/openai/v1/responses",
]  # fmt: skip
_HANDSHAKES: list[list[str]] = [
    ["Sec-WebSocket-Extensions: permessage-deflate"],
    ["Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.x"],
    [f"{HEADER}: x-{CANARY}"],
    [f"{HEADER}: img-mini-prod", f"{HEADER}: x-{CANARY}"],
    [f"{HEADER.replace('-', '_')}: x-{CANARY}"],
    [f"X-Forwarded-Host: {CANARY}"],
    [f"X-Original-URL: /v1/{CANARY}"],
    ["Cookie: a=b"],
    ["Content-Length: 3"],
    ["Transfer-Encoding: chunked"],
    ["Sec-WebSocket-Version: 8"],
    ["Upgrade: h2c"],
    ["Expect: 100-continue"],
]
_ODD_PATHS = [
    "/v1//responses", "/v1/responses/", "/v1/Responses", "/v1/%72esponses",
    "/v1/x/../responses", "/v1/responses;x", "/v1/responses/compact", "/v1/realtime",
    "/v1/live/sessions", "/v1/responses?beta=true", "/other/v1/responses",
]  # fmt: skip


def handshake(random: Random, policy: str) -> tuple[bytes, list[str]]:
    """Ask for a WebSocket, mostly as clients do."""
    azure = policy in {"azure-foundry", "foundry-agents"}
    path = random.choice(_PATHS[1:] if azure else _PATHS[:1])
    lines: list[str] = []
    if azure and random.random() < 0.7:
        lines.append(f"{HEADER}: {random.choice(['img-mini-prod', 'img-2-prod'])}")
    if random.random() < 0.1:
        lines = random.choice(_HANDSHAKES)
    if random.random() < 0.05:
        path = random.choice(_ODD_PATHS)
    first = [
        f"GET {path} HTTP/1.1", "Host: gateway", "Upgrade: websocket",
        "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Authorization: Bearer k",
    ]  # fmt: skip
    story = [path, *lines]
    return "\r\n".join([*first, *lines, "", ""]).encode("latin-1"), story


def message_of(seed: str, number: int, policy: str) -> Case:
    """Draw a message; the same one for the same seed, number and policy."""
    random = Random(f"{seed}/{number}")  # noqa: S311 - no secret
    if random.random() < 0.03:
        return _broken(random)
    draft = Draft(random=random)
    if random.random() < 0.12:
        return _permitted(draft, policy)
    _said(draft)
    spelled(draft)
    return Case(kind="message", wire=_framed(draft), story=draft.story)


def _said(draft: Draft) -> None:
    bodied(draft)
    body = draft.body
    assert isinstance(body, Pairs)
    kind = draft.pick(_KINDS, "type")
    head: list[tuple[str, object]] = [] if kind is None else [("type", kind)]
    targets = ["resp_0", "resp_0", "resp_0", "resp_never", None, ["resp_0"]]
    if kind == "response.inject":
        keep = {"input"} if draft.maybe(0.8) else {"input", "tools", "model"}
        body[:] = [each for each in body if each[0] in keep]
        head.append(("response_id", draft.random.choice(targets)))
    elif kind == "response.steer":
        keep = {"input"} if draft.maybe(0.5) else {"input", "tools"}
        body[:] = [each for each in body if each[0] in keep]
        head.append(("previous_response_id", draft.random.choice(targets)))
    elif draft.maybe(0.3):
        head.append(("generate", draft.random.choice([True, False])))
    if draft.maybe(0.3):
        head.append(("stream_id", draft.random.choice(_LANES)))
    if draft.maybe(0.05):
        head.append(("type", "response.create"))
    at = draft.random.randint(0, len(body))
    body[at:at] = head


def _permitted(draft: Draft, policy: str) -> Case:
    """Draw a message that is in order, so that refusing everything is seen."""
    tools = [] if policy == "no-images" else [dict(FINE)]
    if policy in {"azure-foundry", "foundry-agents"}:
        tools = []
    members = [("type", "response.create"), ("model", "gpt-5"), ("input", "x")]
    draft.body = Pairs([*members, ("tools", tools), ("max_tool_calls", 1)])
    lane = draft.random.choice(["a", "b", None])
    draft.body += [] if lane is None else [("stream_id", lane)]
    draft.data = Pen(random=draft.random).write(draft.body).encode()
    draft.story.append("permitted")
    return Case(kind="permitted", wire=_framed(draft), story=draft.story)


def _framed(draft: Draft) -> bytes:
    """Put a message into frames: one, or several with others between."""
    random, data = draft.random, draft.data
    try:
        data.decode()
        code = TEXT if draft.maybe(0.75) else BINARY
    except UnicodeDecodeError:
        code = BINARY
    draft.story.append("text" if code == TEXT else "binary")
    if draft.maybe(0.7) or len(data) < 2:
        return frame(code, data)
    cuts = sorted(random.choices(range(len(data) + 1), k=random.randint(1, 4)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    draft.story.append(f"{len(pieces)} fragments")
    wire = b""
    for index, piece in enumerate(pieces):
        if draft.maybe(0.15):
            wire += frame(random.choice([PING, PONG]), b"are you there")
        last = index == len(pieces) - 1
        wire += frame(CONTINUATION if index else code, piece, fin=last)
    return wire


def _broken(random: Random) -> Case:
    """Draw frames that no protocol allows, with a forbidden message in or behind."""
    bad = _FORBIDDEN.encode()
    good = b'{"type":"response.create","model":"gpt-5","input":"x","tools":[]}'
    wires = [
        frame(TEXT, bad, mask=False),
        frame(TEXT, good, mask=False),
        frame(TEXT, bad, reserved=4),
        frame(TEXT, good, reserved=1),
        frame(3, bad),
        frame(11, bad),
        frame(CONTINUATION, bad),
        frame(TEXT, good[:9], fin=False) + frame(TEXT, bad),
        frame(TEXT, good[:9], fin=False) + frame(BINARY, bad),
        frame(TEXT, good, fin=False) + frame(CONTINUATION, bad),
        frame(TEXT, good[:9], fin=False) + frame(PING, bad, fin=False),
        frame(PING, bad) + frame(TEXT, bad),
        frame(CLOSE, b"\x03\xe8") + frame(TEXT, good),
        frame(CLOSE, b"\x03") + frame(TEXT, good),
        frame(CLOSE, b"\x03\xed") + frame(TEXT, good),
        frame(TEXT, good[:-1] + b"\xff}"),
        frame(TEXT, bad.replace(b'"x"', b'"\xed\xa0\x80"')),
        frame(TEXT, good, wide=8),
        frame(TEXT, good, wide=2),
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff" + bad,
        b"\x81\xff\x80\0\0\0\0\0\0\0" + bad,
        frame(TEXT, bad)[:-7],
        frame(TEXT, good) + frame(TEXT, bad) + frame(TEXT, good),
        frame(TEXT, b"", fin=False) * 50 + frame(CONTINUATION, bad),
        b"GET /v1/responses HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
    number = random.randrange(len(wires))
    wire = wires[number]
    case = Case(kind="frames", wire=wire, whole=False, requests=3)
    case.story.append(f"frames {number}")
    return case
