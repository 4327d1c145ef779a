"""Clients that take their time: none holds anything for longer than it may."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from raw import Wire, connect, post
from stage import Log, gate_of, serving

from imagegate.app import create_app
from imagegate.audit import StreamAudit
from imagegate.middleware import Limits
from imagegate.server.run import Listener, server_for
from imagegate.simulator import Simulator
from imagegate.upstream.fast.client import FastClient
from imagegate.upstream.forwarder import Deadlines, Upstream

BODY = b'{"model":"gpt-5","input":"x","tools":[{"type":"image_generation"}]}'
WHOLE = post(BODY)
HEAD, _, _ = WHOLE.partition(b"\r\n\r\n")
DOORS = [
    ("/v1/responses", "body_too_slow"),
    ("/v1/chat/completions", "body_timeout"),  # it is passed on as it comes
]


@pytest.fixture(scope="module")
def log() -> Log:
    return Log()


@pytest.fixture(scope="module")
def url(provider: str, log: Log) -> Iterator[str]:
    """Start a gateway that is impatient enough for a test."""
    app = create_app(
        gate_of("standard"),
        {"": Upstream(name="simulator", base=provider)},
        client=FastClient(),
        audit=StreamAudit(log),
        limits=Limits(seconds=0.3),
        deadlines=Deadlines(body=0.3, stall=0.3),
    )
    with serving(server_for(app, Listener(port=0, grace=1))) as url:
        yield url


@pytest.fixture
def wire(url: str) -> Iterator[Wire]:
    with connect(url) as wire:
        yield wire


@pytest.mark.parametrize(("door", "code"), DOORS)
def test_half_a_body_is_not_waited_for_and_not_sent(
    wire: Wire, simulator: Simulator, door: str, code: str
) -> None:
    before = len(simulator.received)

    answer = wire.say(post(BODY, path=door)[:-10]).answer()

    assert (answer.status, answer.code) == (408, code)
    assert wire.rest() == b""
    assert len(simulator.received) == before


def test_a_body_that_drips_wins_no_time(wire: Wire) -> None:
    begun = time.monotonic()
    wire.say(WHOLE[:-60])
    for byte in WHOLE[-60:]:
        if not wire.silent_for(0.02):
            break
        wire.say(bytes([byte]))

    assert wire.answer().code == "body_too_slow"
    assert time.monotonic() - begun < 3


def test_who_asks_whether_to_go_on_and_does_not_is_refused(wire: Wire) -> None:
    answer = wire.say(HEAD + b"\r\nExpect: 100-continue\r\n\r\n").answer()

    assert (answer.interim, answer.status) == (1, 408)


def test_who_leaves_within_a_body_sends_nothing_on(
    url: str, simulator: Simulator, log: Log
) -> None:
    start, before = len(log.lines), len(simulator.received)

    with connect(url) as wire:
        wire.say(WHOLE[:-10])

    log.wait_until(lambda: len(log.lines) > start and not log.open_since(start))
    assert len(simulator.received) == before
    assert log.since(start)[-1]["outcome"] == "client_left"


def test_who_does_not_read_is_left_and_the_call_ends(
    url: str, simulator: Simulator, log: Log
) -> None:
    start = len(log.lines)
    body = BODY[:-1] + b',"stream":true,"metadata":{"simulator":"bits=8 images=9"}}'

    with connect(url) as wire:
        wire.say(post(body)).take(100)
        log.wait_until(lambda: len(log.lines) > start and not log.open_since(start))

    assert simulator.received[-1].ended.wait(5)
    assert simulator.received[-1].outcome == "left"
