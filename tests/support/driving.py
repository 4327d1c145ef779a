"""A server under a test's hands: ASGI without sockets, a policy, and a notebook.

`Call` speaks for the server and for its client: what it says, when it leaves, how
fast it reads. Every wait has a bound.
"""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagegate import shipped
from imagegate.audit import AuditUnavailableError
from imagegate.engine.gate import Gate
from imagegate.engine.records import CompletionRecord, DecisionRecord, Record
from imagegate.gates import Gates
from imagegate.middleware import PolicyMiddleware
from imagegate.policyfile import check_policy

_T = TypeVar("_T")
BOUND = 15.0
CATALOGUE = shipped.catalogue()
POLICY = """
version: 1
name: embedded
owner: o@example.com
mode: enforce
models: {{ default: gpt-image-1-mini, gpt-image-1-mini: {{}}, otherwise: block }}
settings: {{ quality: {{ max: medium, default: medium, otherwise: lower }} }}
{more}
"""
JSON = (b"content-type", b"application/json")
SSE = (b"content-type", b"text/event-stream; charset=utf-8")


def gate(more: str = "") -> Gate:
    text = POLICY.format(more=more)
    found = check_policy(
        text.encode(), catalogue=CATALOGUE, today=datetime.date(2026, 11, 20)
    )
    assert found.policy is not None, found.problems
    return Gate(found.policy, CATALOGUE)


GATE = gate()


class Notebook:
    """An audit that keeps what it is given, as long as it can."""

    def __init__(self, *, refusing: Callable[[Record], bool] | None = None) -> None:
        self.records: list[Record] = []
        self.refusing = refusing
        self.written = asyncio.Event()

    async def write(self, records: Iterable[Record]) -> None:
        for record in records:
            if self.refusing is not None and self.refusing(record):
                raise AuditUnavailableError("full")
            self.records.append(record)
            self.written.set()

    @property
    def problem(self) -> str | None:
        return None

    async def close(self) -> None: ...

    @property
    def events(self) -> list[str]:
        return [record.event.removeprefix("imagegate.") for record in self.records]

    @property
    def decision(self) -> DecisionRecord:
        (found,) = [each for each in self.records if isinstance(each, DecisionRecord)]
        return found

    @property
    def completion(self) -> CompletionRecord:
        """Return the one completion record: there is never a second."""
        (found,) = [each for each in self.records if isinstance(each, CompletionRecord)]
        return found


def governed(
    app: ASGIApp, audit: Notebook, *, by: Gate | Gates = GATE, **more: Any
) -> PolicyMiddleware:
    return PolicyMiddleware(app, gate=by, audit=audit, **more)


def request(
    method: str = "POST",
    path: str = "/v1/responses",
    *,
    headers: Iterable[tuple[bytes, bytes]] = (JSON,),
    **more: Any,
) -> Scope:
    """Describe a request as uvicorn does."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"gateway"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        **more,
    }


def asking(*tools: dict[str, Any], **members: Any) -> bytes:
    body = {"model": "gpt-5", "input": "x", **members, "tools": list(tools)}
    return json.dumps(body, separators=(",", ":")).encode()


TOOL = {"type": "image_generation", "model": "gpt-image-1-mini", "quality": "low"}
ASKING = asking(TOOL)


async def soon(what: Awaitable[_T]) -> _T:
    async with asyncio.timeout(BOUND):
        return await what


class Call:
    """One request on its way through an application, and what comes back.

    Args:
        app: The application.
        scope: The request.
        body: Its pieces; None for one that is said later, with `say`.
        window: How many messages the client takes before it reads on.

    Attributes:
        asked: How often the application, or who is around it, asked for a message.
    """

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope | None = None,
        body: Iterable[bytes] | None = (ASKING,),
        *,
        window: int | None = None,
    ) -> None:
        self.app = app
        self.scope = scope if scope is not None else request()
        self.asked = 0
        self.sent: list[Message] = []
        self.listening = asyncio.Event()
        self.window = None if window is None else asyncio.Semaphore(window)
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._outgoing: asyncio.Queue[Message] = asyncio.Queue()
        self._left = False
        self.task: asyncio.Task[None] | None = None
        pieces = None if body is None else [*body]
        for number, piece in enumerate(pieces or (), start=1):
            self.say(piece, more=number < len(pieces or ()))

    def say(self, body: bytes = b"", *, more: bool = False) -> None:
        self._incoming.put_nowait(
            {"type": "http.request", "body": body, "more_body": more}
        )

    def put(self, message: Message) -> None:
        self._incoming.put_nowait(message)

    def leave(self) -> None:
        self._left = True
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> Message:
        self.asked += 1
        if self._left and self._incoming.empty():
            return {"type": "http.disconnect"}
        if self._incoming.empty():
            self.listening.set()
        return await self._incoming.get()

    async def send(self, message: Message) -> None:
        if self.window is not None:
            await self.window.acquire()
        if self._left:
            return  # as servers do
        self.sent.append(message)
        self._outgoing.put_nowait(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._left = True  # as servers say once the answer is complete
            self._incoming.put_nowait({"type": "http.disconnect"})

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.task is not None
        over = self.task.done()
        self.task.cancel()
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.exception()
        assert over or error is not None, "the application is still running"

    async def _run(self) -> None:
        await self.app(self.scope, self.receive, self.send)

    async def next(self) -> Message:
        """Wait for what is sent next."""
        return await soon(self._outgoing.get())

    async def piece(self) -> bytes:
        message = await self.next()
        body: bytes = message["body"]
        return body

    async def done(self) -> None:
        """Wait for the end, and raise what the application raised."""
        assert self.task is not None
        await soon(asyncio.shield(self.task))

    async def whole(self) -> Self:
        """Run to the end."""
        async with self:
            await self.done()
        return self

    # -- the answer -------------------------------------------------------------

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None

    @property
    def headers(self) -> dict[str, str]:
        return {key.decode(): value.decode() for key, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        found: bytes = b"".join(each.get("body", b"") for each in self.sent[1:])
        return found

    @property
    def complete(self) -> bool:
        last = self.sent[-1] if self.sent else {"type": ""}
        return last["type"].endswith(".body") and not last.get("more_body", False)

    @property
    def code(self) -> str:
        """Return the code of the error that it is."""
        found: str = json.loads(self.body)["error"]["code"]
        return found


class Inner:
    """An application that forwards nothing: it keeps its request, and answers.

    Args:
        pieces: Of the answer's body.
        headers: Of the answer.
        status: Of the answer.
    """

    def __init__(
        self,
        *pieces: bytes,
        headers: Iterable[tuple[bytes, bytes]] = (JSON,),
        status: int = 200,
    ) -> None:
        self.pieces = pieces or (b"{}",)
        self.headers = list(headers)
        self.status = status
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.bodies.append(await read(receive))
        await start(send, *self.headers, status=self.status)
        *others, last = self.pieces
        for piece in others:
            await more(send, piece)
        await more(send, last, last=True)

    @property
    def scope(self) -> Scope:
        (found,) = self.scopes
        return found

    def header(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.scope["headers"] if key == name]


async def read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


async def start(send: Send, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers]})


async def more(send: Send, body: bytes, *, last: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": not last})


# -- what a provider says ---------------------------------------------------------


def event(kind: str, **members: Any) -> bytes:
    data = json.dumps({"type": kind, **members})
    return f"event: {kind}\ndata: {data}\n\n".encode()


def turn(kind: str, number: int = 0, *, quality: str = "low", **more: Any) -> bytes:
    tools = [{**TOOL, "quality": quality}]
    response = {"id": "resp_1", "object": "response", "tools": tools, **more}
    return event(f"response.{kind}", sequence_number=number, response=response)


CREATED = turn("created", status="in_progress")
GENERATING = event(
    "response.image_generation_call.generating",
    sequence_number=4,
    output_index=0,
    item_id="ig_1",
)
DELTA = event("response.output_text.delta", sequence_number=5, delta="a")
COMPLETED = turn("completed", 7, status="completed", output=[])
STREAM = (CREATED, GENERATING, DELTA, COMPLETED)
IMAGE = json.dumps(
    {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "tools": [TOOL],
        "output": [
            {
                "id": "ig_1",
                "type": "image_generation_call",
                "status": "completed",
                "result": "iVBORw0KGgo=",
            }
        ],
    }
).encode()
