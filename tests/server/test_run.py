from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw import Wire
from stage import serving
from starlette.types import Receive, Scope, Send

from imagegate.server.listener import (
    CannotListenError,
    Listener,
    bind,
    is_loopback,
    url_of,
)
from imagegate.server.run import server_for
from imagegate.server.signals import ENDS, held_back, leaving_at_once


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Start and stop; nothing else is asked."""
    assert scope["type"] == "lifespan"
    for moment in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{moment}.complete"})


def test_an_address_that_is_taken_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]

        with pytest.raises(CannotListenError) as raised:
            bind(Listener(port=port))

    assert str(raised.value) == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another "
        "`listen.host` or `listen.port`, or end what has it"
    )


def test_an_address_that_is_not_ours_is_said_in_one_line() -> None:
    for host in ("192.0.2.1", "nowhere.invalid"):
        with pytest.raises(CannotListenError) as raised:
            bind(Listener(host=host, port=0))

        assert str(raised.value).startswith(f"cannot listen on {host}:0: ")
        assert "\n" not in str(raised.value)


def test_a_port_that_takes_a_capability_is_said_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def denied(*_: object, **__: object) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied (while …)")

    monkeypatch.setattr(socket, "create_server", denied)

    with pytest.raises(CannotListenError) as raised:
        bind(Listener(host="::1", port=443))

    assert str(raised.value) == (
        "cannot listen on [::1]:443: Permission denied; a port below 1024 takes "
        "CAP_NET_BIND_SERVICE; choose another `listen.port`, or have a front listen "
        "there"
    )


def test_an_address_is_taken_in_either_family() -> None:
    for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        with bind(Listener(host=host, port=0)) as listening:
            assert listening.family == family
            assert listening.getsockname()[1] > 0


@pytest.mark.parametrize(
    ("listener", "url"),
    [
        (Listener(), "http://127.0.0.1:9"),
        (Listener(host="::1"), "http://[::1]:9"),
        (
            Listener(tls_certificate=Path("c"), tls_key=Path("k")),
            "https://127.0.0.1:9",
        ),
    ],
)
def test_an_address_is_written_as_clients_write_it(
    listener: Listener, url: str
) -> None:
    assert url_of(listener, 9) == url


def test_loopback_is_told_from_the_rest() -> None:
    near = ("127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST")
    far = ("10.0.0.1", "::", "", "127.0.0.1.example", "localhost.example")

    assert all(map(is_loopback, near))
    assert not any(map(is_loopback, far))


@pytest.fixture
def as_it_was() -> Iterator[None]:
    """Put back what a program takes over for good: signals, and what libraries log."""
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    logs, level = logging.root.handlers[:], logging.root.level
    logging.root.handlers.clear()  # so that none of them is closed
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    logging.root.handlers[:], logging.root.level = logs, level


@pytest.mark.usefixtures("as_it_was")
def test_a_server_says_when_it_serves_and_returns_when_it_is_told_to_end() -> None:
    server = server_for(app, Listener(grace=1))

    def started() -> None:
        timer = threading.Timer(0.05, signal.raise_signal, (signal.SIGTERM,))
        timer.start()

    server.on_started = started
    with bind(Listener(port=0)) as listening:
        server.run_until_told(listening)

    assert server.started
    assert server.should_exit


@pytest.mark.usefixtures("as_it_was")
@pytest.mark.parametrize("number", ENDS)
def test_a_server_that_was_told_before_it_served_ends_well(number: int) -> None:
    server = server_for(app, Listener(grace=1))

    with held_back(), bind(Listener(port=0)) as listening:
        signal.raise_signal(number)  # of which the process would have ended
        server.run_until_told(listening)

    assert server.started
    assert server.should_exit


@pytest.mark.usefixtures("as_it_was")
def test_what_leaves_at_once_lets_go_of_the_signals() -> None:
    before = [signal.getsignal(number) for number in ENDS]

    with leaving_at_once():
        assert [signal.getsignal(number) for number in ENDS] != before
    assert [signal.getsignal(number) for number in ENDS] == before

    with leaving_at_once():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as somebody sees to it now
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_an_idle_connection_outlasts_the_patience_of_clients() -> None:
    """A client that writes into a closing connection would have to guess."""
    assert server_for(app, Listener()).config.timeout_keep_alive > 60


@pytest.mark.parametrize("begun", [False, True])
def test_who_is_waited_for_no_longer_is_told_so(*, begun: bool) -> None:
    """An SDK would ask again on anything that does not say that it should not."""
    waiting = threading.Event()

    async def hanging(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            piece = {"type": "http.response.body", "body": b"x", "more_body": True}
            await send(piece)
        waiting.set()
        await asyncio.Event().wait()

    server = server_for(hanging, Listener(grace=1))
    with serving(server) as url, Wire(port=int(url.rpartition(":")[2])) as wire:
        wire.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert waiting.wait(10)
        server.should_exit = True
        answer = wire.answer()

    if begun:
        assert (answer.status, answer.whole) == (200, False)
    else:
        assert (answer.status, answer.code) == (503, "shutting_down")
        assert answer.header("x-should-retry") == "false"
        assert answer.header("connection") == "close"
