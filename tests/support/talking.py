"""A provider behind the middleware, and a client in front, over one WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from driving import TOOL, Call, Notebook, governed, request, soon
from starlette.types import Message, Receive, Scope, Send

OFFERED: dict[str, Any] = {"websocket.http.response": {}}
GENERATING = "response.image_generation_call.generating"


def socket(path: str = "/v1/responses", **more: Any) -> Scope:
    headers = more.pop("headers", [])
    scope = request(path=path, headers=headers, **more)
    del scope["method"]
    scope.setdefault("extensions", dict(OFFERED))
    return {**scope, "type": "websocket", "scheme": "ws", "subprotocols": []}


class Provider:
    """An application that accepts, and then says what a test wants."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.heard: asyncio.Queue[Message] = asyncio.Queue()
        self.to_say: asyncio.Queue[Message] = asyncio.Queue()
        self.code: int | None = None
        self.cancelled = False
        self.taking = asyncio.Event()
        self.taking.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await receive()
        await send({"type": "websocket.accept", "headers": []})
        saying = asyncio.create_task(self._say(send))
        hearing = asyncio.create_task(self._hear(receive))
        try:
            done, _ = await asyncio.wait(
                {saying, hearing}, return_when="FIRST_COMPLETED"
            )
            for task in done:
                task.result()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            saying.cancel()
            hearing.cancel()
            await asyncio.wait({saying, hearing})

    async def _say(self, send: Send) -> None:
        while True:
            message = await self.to_say.get()
            await send(message)
            if message["type"] == "websocket.close":
                return

    async def _hear(self, receive: Receive) -> None:
        while True:
            await self.taking.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.code = message["code"]
                return
            self.heard.put_nowait(message)

    def say(self, kind: str, **members: Any) -> None:
        text = json.dumps({"type": kind, **members})
        self.to_say.put_nowait({"type": "websocket.send", "text": text})

    def turn(self, kind: str, ident: str = "resp_1", **more: Any) -> None:
        quality, lane = more.pop("quality", "low"), more.pop("lane", None)
        tools = [{**TOOL, "quality": quality}]
        response = {"id": ident, "object": "response", "tools": tools, **more}
        named = {} if lane is None else {"stream_id": lane}
        self.say(f"response.{kind}", response=response, **named)

    def close(self, code: int = 1000) -> None:
        self.to_say.put_nowait({"type": "websocket.close", "code": code})

    async def hears(self) -> dict[str, Any]:
        message = await soon(self.heard.get())
        found: dict[str, Any] = json.loads(message.get("text") or message["bytes"])
        return found


class Client(Call):
    """The client's side, with a server between."""

    def ask(self, *tools: dict[str, Any], binary: bool = False, **more: Any) -> None:
        body = {"type": "response.create", "model": "gpt-5", "input": "x", **more}
        self.write({**body, "tools": list(tools)}, binary=binary)

    def write(self, message: object, *, binary: bool = False) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        said = {"bytes": text.encode()} if binary else {"text": text}
        self.put({"type": "websocket.receive", **said})

    def hang_up(self, code: int = 1000) -> None:
        self._left = True
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": code})

    async def hears(self) -> dict[str, Any]:
        """Return what is said next."""
        message = await self.next()
        assert message["type"] == "websocket.send", message
        found: dict[str, Any] = json.loads(message["text"])
        return found

    async def is_closed(self) -> int:
        """Return with which code it is closed next."""
        message = await self.next()
        assert message["type"] == "websocket.close", message
        code: int = message["code"]
        return code

    async def refused(self) -> tuple[str, str | None]:
        """Return the code of the error that is said next, and its lane."""
        said = await self.hears()
        assert said["type"] == "error"
        return said["error"]["code"], said.get("stream_id")


def connected(
    audit: Notebook,
    provider: Callable[..., Any],
    *,
    scope: Scope | None = None,
    window: int | None = None,
    **more: Any,
) -> Client:
    client = Client(
        governed(provider, audit, **more), scope or socket(), body=None, window=window
    )
    client.put({"type": "websocket.connect"})
    return client


async def accepted(client: Client) -> Message:
    message = await client.next()
    assert message["type"] == "websocket.accept", message
    return message


def ended(audit: Notebook) -> dict[str, str]:
    """Say how each exchange ended, by what it was."""
    kinds = {
        record.decision_id: getattr(record, "message_type", None) or "connection"
        for record in audit.records
        if hasattr(record, "bytes_in")
    }
    found: dict[str, str] = {}
    for record in audit.records:
        outcome = getattr(record, "outcome", None)
        if outcome is not None:
            assert record.decision_id not in found, "completed twice"
            found[record.decision_id] = outcome
    assert found.keys() == kinds.keys(), "not completed, or not begun"
    names: dict[str, str] = {}
    for ident, kind in kinds.items():
        name = kind
        while name in names:
            name += "+"
        names[name] = found[ident]
    return names
