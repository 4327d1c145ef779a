"""What the client gets is what the provider sent, as soon as it was sent."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from player import Player, playing
from raw import Wire, connect, post
from stage import Log, gate_of, serving

from imagegate.app import create_app
from imagegate.audit import StreamAudit
from imagegate.server.run import Listener, server_for
from imagegate.upstream.fast.client import FastClient
from imagegate.upstream.forwarder import Upstream

BODY = b'{"model":"gpt-5","input":"x","stream":true}'
FRAMINGS = ["chunked", "length", "closed"]
LINE_ENDS = [b"\n", b"\r\n", b"\r"]


@pytest.fixture(scope="module")
def player() -> Player:
    return Player()


@pytest.fixture(scope="module")
def url(player: Player) -> Iterator[str]:
    with playing(player) as base:
        app = create_app(
            gate_of("standard"),
            {"": Upstream(name="player", base=base)},
            client=FastClient(),
            audit=StreamAudit(Log()),
        )
        with serving(server_for(app, Listener(port=0, grace=1))) as url:
            yield url


@pytest.fixture
def wire(url: str) -> Iterator[Wire]:
    with connect(url) as wire:
        yield wire


def stream(random: Random) -> bytes:
    """Draw a stream of events, some of which nobody should send."""
    end = random.choice(LINE_ENDS)
    picture = base64.b64encode(random.randbytes(random.choice([10, 900_000])))
    number = iter(range(1_000))

    def event(kind: str, **fields: Any) -> bytes:
        data = {"type": kind, "sequence_number": next(number), **fields}
        name = b"event: " + kind.encode() + end
        lines = [b"data: " + json.dumps(data).encode(), end, end]
        return b"".join([name if random.random() < 0.8 else b"", *lines])

    item = {"id": "ig_1", "type": "image_generation_call", "result": picture.decode()}
    events = [
        event("response.created", response={"id": "resp_1", "tools": []}),
        event("response.image_generation_call.generating", item_id="ig_1", n=1),
        event("response.output_item.done", item=item, output_index=0),
        b": a comment" + end + end,
        b"data: not json" + end + end,
        b"data: \xff\xfe" + end + end,
        b"data: null" + end + end,
        'data: {"type":"x","a":"\u2028\x85"}'.encode() + end + end,
        b"id: 1" + end + b"retry: 5" + end,
        event("response.completed", response={"id": "resp_1", "output": [item]}),
    ]
    kept = [each for each in events if random.random() < 0.9]
    return b"".join([*kept, random.choice([b"", b"data: half an ev"])])


def body_of(random: Random) -> tuple[list[str], bytes]:
    """Draw a body, and the headers that name it."""
    match random.randrange(5):
        case 0:
            return ["content-type: application/json"], b'{"id":"resp_1"}' * 3
        case 1:
            coded = gzip.compress(stream(random), 1)
            kind = "content-type: text/event-stream"
            return [kind, "content-encoding: gzip"], coded
        case 2:
            return ["content-type: image/png"], random.randbytes(random.randint(0, 99))
        case _:
            kind = random.choice(["", "; charset=utf-8"])
            return [f"content-type: text/event-stream{kind}"], stream(random)


def pieces_of(random: Random, data: bytes) -> list[bytes]:
    """Cut anywhere."""
    most = random.choice([1, 3, 20, 20])
    cuts = sorted(random.randint(0, len(data)) for _ in range(random.randint(0, most)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def script_of(
    random: Random, framing: str, lines: list[str], body: bytes
) -> list[bytes]:
    """Frame a body, and cut what is sent independently of its frames."""
    match framing:
        case "chunked":
            parts = [part for part in pieces_of(random, body) if part]
            framed = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in parts)
            lines, body = [*lines, "transfer-encoding: chunked"], framed + b"0\r\n\r\n"
        case "length":
            lines = [*lines, f"content-length: {len(body)}"]
    # The player closes after each answer, and says so.
    first = ["HTTP/1.1 200 OK", "connection: close"]
    head = "\r\n".join([*first, *lines, "", ""]).encode()
    return [piece for piece in pieces_of(random, head + body) if piece]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_bytes_in_are_bytes_out(url: str, player: Player, framing: str) -> None:
    for seed in range(40):
        random = Random(f"{framing}/{seed}")  # noqa: S311 - no secret
        lines, body = body_of(random)
        player.scripts.put(script_of(random, framing, lines, body))

        with connect(url) as wire:
            answer = wire.say(post(BODY)).answer()

        assert answer.status == 200, f"seed {seed}: {answer}"
        assert (answer.body, answer.whole) == (body, True), f"seed {seed}"
        kept = [f"{name}: {value}" for name, value in answer.headers]
        assert set(lines) <= set(kept), f"seed {seed}"


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_an_answer_that_broke_off_is_not_made_whole(
    wire: Wire, player: Player, framing: str
) -> None:
    random = Random(framing)  # noqa: S311 - no secret
    body = b"data: {}\n\n" * 100
    script = script_of(random, framing, ["content-type: text/event-stream"], body)
    player.scripts.put([b"".join(script)[:-30]])

    answer = wire.say(post(BODY)).answer()

    assert not answer.whole
    assert body.startswith(answer.body)
    assert len(answer.body) > 100


def test_each_piece_comes_before_the_next_is_sent() -> None:
    player = Player(step=True)
    events = [b'data: {"type":"x","n":%d}\n\n' % number for number in range(50)]
    created = b'data: {"type":"response.created","response":{"id":"r","tools":[]}}\n\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    player.scripts.put([head + created, *events, b"data: half", b" an event\n\n"])
    with playing(player) as base:
        app = create_app(
            gate_of("standard"),
            {"": Upstream(name="player", base=base)},
            client=FastClient(),
            audit=StreamAudit(Log()),
        )
        listener = Listener(port=0, grace=1)
        with serving(server_for(app, listener)) as url, connect(url) as wire:
            wire.say(post(BODY))
            got = b""
            while not got.endswith(created + b"\r\n"):
                got += wire.take(1)
            for piece in [*events, b"data: half", b" an event\n\n"]:
                player.go()
                assert wire.line() == b"%x" % len(piece)
                assert wire.take(len(piece) + 2) == piece + b"\r\n"
