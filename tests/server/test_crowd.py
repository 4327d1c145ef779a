"""Clients who come in crowds are taken in a few rounds of the loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from raw import Wire
from stage import certify, serving

from imagegate.server.crowd import Crowd
from imagegate.server.run import Listener, server_for

CLIENTS = 300
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Client(asyncio.Protocol):
    """One who was taken."""


class App:
    """Answers, and counts the rounds of its loop until all have asked."""

    def __init__(self) -> None:
        self.rounds = self.asked = 0
        self.held = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for moment in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{moment}.complete"})
            return
        if scope["path"] == "/hold":
            self.held.wait(30)
            self._turn()
        else:
            self.asked += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    def _turn(self) -> None:
        if self.asked < CLIENTS:
            self.rounds += 1
            asyncio.get_running_loop().call_soon(self._turn)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=CLIENTS) as found:
        found.setblocking(False)  # noqa: FBT003 - its name
        yield found


def test_a_crowd_behind_one_client_is_taken_with_him() -> None:
    app = App()
    with (
        serving(server_for(app, Listener(grace=1))) as url,
        contextlib.ExitStack() as open_,
    ):
        port = int(url.rpartition(":")[2])
        first = open_.enter_context(Wire(port=port))
        first.say(GET.replace(b"/ ", b"/hold ", 1))
        crowd = [open_.enter_context(Wire(port=port)) for _ in range(CLIENTS)]
        for wire in crowd:
            wire.say(GET)
        app.held.set()
        statuses = {wire.answer().status for wire in crowd}

    assert statuses == {200}
    assert app.rounds < CLIENTS / 3


def test_who_does_not_agree_on_an_encryption_is_forgotten(
    listening: socket.socket, tmp_path: Path
) -> None:
    mine = certify(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(mine.server, mine.key)

    async def take() -> None:
        crowd = Crowd(listening, Client, context)
        plain = socket.create_connection(listening.getsockname())
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        crowd.look()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(crowd._entering) == 1
        async with asyncio.timeout(10):
            while crowd._entering:  # noqa: ASYNC110 - a test
                await asyncio.sleep(0.01)
        plain.close()

    uvloop.run(take())


def test_who_has_not_come_in_at_the_end_keeps_nobody(
    listening: socket.socket, tmp_path: Path
) -> None:
    mine = certify(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(mine.server, mine.key)
    silent = socket.create_connection(listening.getsockname())

    async def take() -> Crowd:
        crowd = Crowd(listening, Client, context)
        crowd.look()
        async with asyncio.timeout(10):
            while not crowd._entering:  # noqa: ASYNC110 - a test
                await asyncio.sleep(0)
        return crowd

    assert not uvloop.run(take())._entering
    silent.close()
