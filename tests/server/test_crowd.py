"""Clients who come in crowds are taken in a few rounds of the loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

from raw import Wire
from stage import serving

from imagegate.server.run import Listener, server_for

CLIENTS = 300
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


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
