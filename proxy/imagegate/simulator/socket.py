"""WebSocket mode of `/responses`: one connection, and the lanes on it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from typing import Any

import msgspec

from imagegate.simulator.asgi import Message, Receive, Send
from imagegate.simulator.behaviour import Behaviour, command_in, read_behaviour
from imagegate.simulator.call import Call
from imagegate.simulator.dialect import Place
from imagegate.simulator.faults import ordered
from imagegate.simulator.received import Received
from imagegate.simulator.refusal import (
    Refusal,
    invalid_type,
    missing_parameter,
    refusal,
    unknown_parameter,
)
from imagegate.simulator.request import read_json
from imagegate.simulator.responses import Responses, told
from imagegate.simulator.run import Run
from imagegate.simulator.wire import Answer, encode

_STREAM_ID = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_LANES = 32
_STEER = frozenset({"type", "previous_response_id", "input"})
_INJECT = frozenset({"type", "response_id", "input"})


class _CutOff(Exception):  # noqa: N818 - an order, not an error
    """The connection was ordered to break."""


class Lane:
    """What is asked on one lane, in order."""

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.calls: asyncio.Queue[Call] = asyncio.Queue()
        self.run: Run | None = None
        self.steered: list[Any] = []

    def named(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return an event as it goes out on this lane."""
        return event if self.name is None else {**event, "stream_id": self.name}


class Conversation:
    """One connection."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a connection is made of
        self,
        responses: Responses,
        received: Received,
        place: Place,
        behaviour: str,
        notebook: deque[Received],
        send: Send,
    ) -> None:
        self._responses = responses
        self._received = received
        self._place = place
        self._behaviour = behaviour
        self._notebook = notebook
        self._send = send
        self._lanes: dict[str | None, Lane] = {}
        self._sent = 0
        self._held: str | None = None  # a connection keeps its latest, if not stored

    async def hold(self, receive: Receive) -> None:
        """Answer until the client leaves, or the connection is to break."""
        await self._send({"type": "websocket.accept"})
        async with contextlib.AsyncExitStack() as stack:
            tasks: set[asyncio.Task[None]] = set()
            stack.push_async_callback(_gone, tasks)
            hearing = asyncio.create_task(self._hear(receive, tasks))
            tasks.add(hearing)
            while not hearing.done():
                done, _ = await asyncio.wait(tasks, return_when="FIRST_COMPLETED")
                for task in done:
                    if isinstance(task.exception(), _CutOff):
                        await self._send({"type": "websocket.close", "code": 1011})
                        return
                tasks -= done - {hearing}

    async def _hear(self, receive: Receive, tasks: set[asyncio.Task[None]]) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            lane = self._heard(message)
            if isinstance(lane, Lane):
                tasks.add(asyncio.create_task(self._serve(lane)))
            elif lane is not None:
                await self._say(lane)

    def _heard(self, message: Message) -> Lane | dict[str, Any] | None:
        """Take a message: a new lane to be served, or what to say at once."""
        data: bytes = message.get("bytes") or (message.get("text") or "").encode()
        received = Received(
            method="WEBSOCKET",
            path=self._received.path,
            query=self._received.query,
            headers=self._received.headers,
            body=data,
        )
        self._notebook.append(received)
        lane: str | None = None
        try:
            body = read_json(data, encoding=None)
            lane = _stream_id(body)
            return self._taken(body, received)
        except Refusal as fault:
            received.end("finished")
            return Lane(lane).named(
                {"type": "error", "status": fault.status, **fault.body}
            )

    def _taken(
        self, body: dict[str, Any], received: Received
    ) -> Lane | dict[str, Any] | None:
        match body.get("type"):
            case "response.create":
                return self._created(body, received)
            case "response.steer":
                received.end("finished")
                return self._steered(body)
            case "response.inject":
                received.end("finished")
                return self._injected(body)
            case None:
                raise missing_parameter("type")
            case other:
                raise refusal(f"Unknown event type: {other!r}.", param="type")

    def _created(self, body: dict[str, Any], received: Received) -> Lane | None:
        name = _stream_id(body)
        asked = {k: v for k, v in body.items() if k not in {"type", "stream_id"}}
        if asked.get("background"):
            raise refusal("Background mode is not supported.", param="background")
        known = self._lanes.get(name)
        lane = known or Lane(name)
        if name is not None and known is None and len(self._lanes) > _LANES:
            raise refusal("Too many streams on this connection.", param="stream_id")
        behaviour = read_behaviour(self._behaviour, command_in(asked))
        self._lanes[name] = lane
        lane.calls.put_nowait(
            Call(received=received, place=self._place, behaviour=behaviour, body=asked)
        )
        return lane if known is None else None

    # -- what adds to a response ------------------------------------------------

    def _active(self, ident: object) -> Lane | None:
        lanes = (each for each in self._lanes.values() if each.run is not None)
        return next((lane for lane in lanes if lane.run and lane.run.id == ident), None)

    def _steered(self, body: dict[str, Any]) -> dict[str, Any]:
        for key in body.keys() - _STEER:
            raise unknown_parameter(key)
        for key in _STEER - body.keys():
            raise missing_parameter(key)
        target = body["previous_response_id"]
        lane = self._active(target)
        steer = {"id": f"steer_{len(self._notebook)}", "previous_response_id": target}
        event = {"sequence_number": 0, "steer": steer}
        if lane is None:
            error = {
                "code": "response_not_found",
                "message": "The response is not active on this connection.",
            }
            event = {"type": "response.steer.failed", **event, "error": error}
            return {**event, "input": body["input"]}
        lane.steered.append(body["input"])
        return lane.named({"type": "response.steer.accepted", **event})

    def _injected(self, body: dict[str, Any]) -> dict[str, Any]:
        for key in body.keys() - _INJECT:
            raise unknown_parameter(key)
        for key in _INJECT - body.keys():
            raise missing_parameter(key)
        lane = self._active(body["response_id"])
        event = {"response_id": body["response_id"], "sequence_number": 0}
        if lane is not None:
            return lane.named({"type": "response.inject.created", **event})
        error = {"code": "response_not_found", "message": "No such response."}
        event = {"type": "response.inject.failed", **event, "error": error}
        return {**event, "input": body["input"]}

    # -- answering --------------------------------------------------------------

    async def _serve(self, lane: Lane) -> None:
        """Answer what is asked on one lane, one after another."""
        while True:
            call = await lane.calls.get()
            ended = False
            try:
                await self._answer(lane, call)
                while lane.steered and lane.run is not None:
                    await self._answer(lane, _successor(call, lane, lane.run.id))
            except Refusal as fault:
                event = {"type": "error", "status": fault.status, **fault.body}
                await self._say(lane.named(event))
                ended = True
            else:
                ended = True
            finally:
                lane.run = None
                call.received.end("finished" if ended else "left")

    async def _answer(self, lane: Lane, call: Call) -> None:
        behaviour = call.behaviour
        if behaviour.status is not None:
            raise ordered(behaviour.status, behaviour.code)
        generate = call.body.pop("generate", True)
        if not isinstance(generate, bool):
            raise invalid_type("generate", generate, expected="a boolean")
        call = msgspec.structs.replace(call, held=self._held)
        run = lane.run = self._responses.begin(call)
        run.images = run.images if generate else 0
        await asyncio.sleep(behaviour.head_delay_ms / 1000)
        with contextlib.closing(told(run)) as events:
            for event in events:
                if generate or event["type"] in _TURNS:
                    await self._tell(lane, event, behaviour)
        self._held = run.id

    async def _tell(
        self, lane: Lane, event: dict[str, Any], behaviour: Behaviour
    ) -> None:
        await asyncio.sleep(behaviour.delay_ms / 1000)
        if behaviour.silent or (
            behaviour.hang is not None and self._sent >= behaviour.hang
        ):
            await asyncio.Event().wait()
        if behaviour.truncate is not None and self._sent >= behaviour.truncate:
            raise _CutOff
        await self._say(lane.named(event))

    async def _say(self, event: dict[str, Any]) -> None:
        text = encode(event).decode()
        self._sent += len(text)
        self._received.note(text.encode())
        await self._send({"type": "websocket.send", "text": text})


_TURNS = frozenset({"response.created", "response.completed", "response.failed"})


def _successor(call: Call, lane: Lane, ident: str) -> Call:
    """Make the request that nobody sends: the settings of the last, and new input."""
    given, lane.steered = lane.steered, []
    items: list[Any] = []
    for each in given:
        user = [{"role": "user", "content": each}]
        items += user if isinstance(each, str) else each
    body = {**call.body, "input": items, "previous_response_id": ident}
    return msgspec.structs.replace(call, body=body)


def _stream_id(body: dict[str, Any]) -> str | None:
    name = body.get("stream_id")
    if name is None:
        return None
    if not isinstance(name, str) or not _STREAM_ID.fullmatch(name):
        raise refusal("Invalid 'stream_id'.", param="stream_id", code="invalid_value")
    return name


async def deny(answer: Answer, send: Send) -> None:
    """Answer a handshake with something else than a WebSocket."""
    headers = [(n.encode(), value.encode()) for n, value in answer.headers.items()]
    prefix = "websocket.http.response"
    start = {"status": answer.status, "headers": headers}
    await send({"type": f"{prefix}.start", **start})
    await send({"type": f"{prefix}.body", "body": b"".join(answer.pieces)})


async def _gone(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
