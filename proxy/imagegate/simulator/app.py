"""The simulator itself: who calls, which route, and what is answered."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from imagegate.simulator import others
from imagegate.simulator.asgi import Receive, Scope, Send
from imagegate.simulator.batch_work import Clerk
from imagegate.simulator.batches import Batches
from imagegate.simulator.behaviour import Behaviour, command_in, read_behaviour
from imagegate.simulator.call import Call
from imagegate.simulator.conversations import Conversations
from imagegate.simulator.counter import Counter
from imagegate.simulator.dialect import Dialect, Place, place_of
from imagegate.simulator.faults import (
    no_credentials,
    no_such_url,
    ordered,
    wrong_method,
)
from imagegate.simulator.files import Files
from imagegate.simulator.forms import is_form, read_form
from imagegate.simulator.image_tool import Tool
from imagegate.simulator.images import Images
from imagegate.simulator.received import Received, text_headers
from imagegate.simulator.refusal import Refusal
from imagegate.simulator.request import read_json
from imagegate.simulator.responses import Responses
from imagegate.simulator.socket import Conversation, deny
from imagegate.simulator.wire import Answer, deliver, json_answer

Handler = Callable[[Call], Answer]
_REQUESTS = "/__simulator/requests"
# How many requests and how many responses are remembered.
_KEEP = 1000
# Under a deployment in the path are these routes only, and on Azure classic they are
# nowhere else.
_DEPLOYED = (
    *("/chat/completions", "/embeddings"),
    *("/images/generations", "/images/edits"),
)


class Simulator:
    """An ASGI application that stands in for a provider.

    `received` holds the last requests, the newest at its end. What came as a message
    of a WebSocket, or as a line of a batch when it is its turn, is among them as it
    came, with `WEBSOCKET` or `BATCH` as its method.
    """

    def __init__(
        self,
        *,
        seed: int,
        behaviour: str,
        deployments: Mapping[str, str],
        stored_tools: Mapping[str, list[Tool]],
        expose_requests: bool,
    ) -> None:
        self.received: deque[Received] = deque(maxlen=_KEEP)
        self._behaviour = behaviour
        self._usual = read_behaviour(behaviour)
        self._expose_requests = expose_requests
        self._counter = Counter(seed)
        conversations = Conversations(self._counter, keep=_KEEP)
        self._responses = responses = Responses(
            self._counter,
            deployments=deployments,
            stored_tools=stored_tools,
            conversations=conversations,
            keep=_KEEP,
        )
        self._images = Images(self._counter, deployments=deployments)
        self._files = Files(self._counter, keep=_KEEP)
        clerk = Clerk(
            counter=self._counter,
            files=self._files,
            answering=lambda received: self._answer(received)[0],
            notebook=self.received,
        )
        self._batches = Batches(clerk, keep=_KEEP)
        table = (*self._table(responses, conversations), *self._batch_table())
        self._routes = [
            (method, re.compile(path), handler) for method, path, handler in table
        ]

    def _table(
        self, responses: Responses, conversations: Conversations
    ) -> list[tuple[str, str, Handler]]:
        one, held = (
            f"/{name}/(?P<ident>[^/]+)" for name in ("responses", "conversations")
        )
        item = f"{held}/items/(?P<item>[^/]+)"
        return [
            ("POST", "/responses", responses.create),
            ("POST", "/responses/input_tokens", responses.count),
            ("POST", "/responses/compact", responses.compact),
            ("GET", one, responses.retrieve),
            ("DELETE", one, responses.delete),
            ("POST", f"{one}/cancel", responses.cancel),
            ("GET", f"{one}/input_items", responses.input_items),
            ("POST", "/conversations", conversations.create),
            ("GET", held, conversations.retrieve),
            ("POST", held, conversations.update),
            ("DELETE", held, conversations.delete),
            ("POST", f"{held}/items", conversations.add),
            ("GET", f"{held}/items", conversations.items),
            ("GET", item, conversations.item),
            ("DELETE", item, conversations.remove),
            ("GET", "/models", others.models),
            ("GET", "/models/(?P<ident>.+)", others.model),
            ("POST", "/chat/completions", lambda c: others.chat(c, self._counter)),
            ("POST", "/embeddings", others.embeddings),
            ("POST", "/images/generations", self._images.generate),
            ("POST", "/images/edits", self._images.edit),
        ]

    def _batch_table(self) -> list[tuple[str, str, Handler]]:
        files, batches = self._files, self._batches
        file, batch = (f"/{name}/(?P<ident>[^/]+)" for name in ("files", "batches"))
        return [
            ("POST", "/files", files.create),
            ("GET", "/files", files.list),
            ("GET", file, files.retrieve),
            ("DELETE", file, files.delete),
            ("GET", f"{file}/content", files.content),
            ("POST", "/batches", batches.create),
            ("GET", "/batches", batches.list),
            ("GET", batch, batches.retrieve),
            ("POST", f"{batch}/cancel", batches.cancel),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection of whatever kind."""
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "websocket":
                await self._websocket(scope, receive, send)
            case _:
                await _lifespan(receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = _received("WEBSOCKET", scope)
        place = place_of(received.path)
        await receive()
        try:
            _check_credentials(received, place.dialect)
            if _misplaced(received, place) or place.route != "/responses":
                raise no_such_url(received, place.dialect)
        except Refusal as refusal:
            answer = json_answer(refusal.body, status=refusal.status)
            await deny(answer, send)
            return
        await Conversation(
            self._responses, received, place, self._behaviour, self.received, send
        ).hold(receive)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = _received(scope["method"], scope)
        shown = self._expose_requests and received.path == _REQUESTS
        if not shown:
            self.received.append(received)
        body = await _body(receive)
        if body is None:
            received.end("left")
            return
        received.body = body
        answer, behaviour = (
            (self._requests(received.method), Behaviour())
            if shown
            else self._answer(received)
        )
        await deliver(answer, behaviour, received, receive, send)

    def _answer(self, received: Received) -> tuple[Answer, Behaviour]:
        place = place_of(received.path)
        behaviour = self._usual
        try:
            _check_credentials(received, place.dialect)
            handler, named = self._route(received, place)
            body = _read(received)
            behaviour = read_behaviour(self._behaviour, command_in(body))
            if behaviour.status is not None:
                raise ordered(behaviour.status, behaviour.code)
            answer = handler(
                Call(
                    received=received,
                    place=place,
                    behaviour=behaviour,
                    body=body,
                    **named,
                )
            )
        except Refusal as refusal:
            answer = json_answer(refusal.body, status=refusal.status)
        answer.headers |= self._headers(place.dialect)
        return answer, behaviour

    def _route(
        self, received: Received, place: Place
    ) -> tuple[Handler, dict[str, str]]:
        misplaced = _misplaced(received, place)
        found = False
        for method, path, handler in () if misplaced else self._routes:
            if match := path.fullmatch(place.route):
                found = True
                if method == received.method:
                    return handler, match.groupdict()
        fault = wrong_method if found else no_such_url
        raise fault(received, place.dialect)

    def _headers(self, dialect: Dialect) -> dict[str, str]:
        request = self._counter.ident("req", self._counter.next())
        headers = {"x-request-id": request, "openai-processing-ms": "20"}
        if dialect.azure:
            return headers | {"apim-request-id": request, "x-ms-region": "Simulator"}
        return headers | {"openai-version": "2020-10-01"}

    def _requests(self, method: str) -> Answer:
        """Show what was received; DELETE forgets it."""
        if method == "DELETE":
            self.received.clear()
        return json_answer([received.as_json() for received in self.received])


def create_simulator(
    *,
    seed: int = 0,
    behaviour: str = "",
    deployments: Mapping[str, str] | None = None,
    stored_tools: Mapping[str, list[Tool]] | None = None,
    expose_requests: bool = False,
) -> Simulator:
    """Return a simulator.

    Args:
        seed: Changes every id.
        behaviour: What holds where a request orders nothing else (see `Behaviour`).
        deployments: Azure: which image model is behind a deployment. A name that is
            not listed stands for the model of that name, or for an unknown one.
        stored_tools: The tools behind stored prompts, conversations and agents, by
            their ids. What is not listed is not found.
        expose_requests: Show what was received at `/__simulator/requests`.
    """
    return Simulator(
        seed=seed,
        behaviour=behaviour,
        deployments=deployments or {},
        stored_tools=stored_tools or {},
        expose_requests=expose_requests,
    )


def _check_credentials(received: Received, dialect: Dialect) -> None:
    for name in dialect.credentials:
        if (received.header(name) or "").removeprefix("Bearer").strip():
            return
    raise no_credentials(dialect)


def _misplaced(received: Received, place: Place) -> bool:
    """Tell whether the route exists, but not at this base."""
    if not place.dialect.needs_api_version:
        return False
    deployed = place.deployment is not None
    return "api-version=" not in received.query or deployed != (
        place.route in _DEPLOYED
    )


def _received(method: str, scope: Scope) -> Received:
    return Received(
        method=method,
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers=list(text_headers(scope["headers"])),
    )


def _read(received: Received) -> dict[str, Any]:
    if not received.body:
        return {}
    kind = received.header("content-type")
    if kind is not None and is_form(kind):
        return read_form(received.body, content_type=kind)
    return read_json(received.body, encoding=received.header("content-encoding"))


async def _body(receive: Receive) -> bytes | None:
    """Return the whole body, or None if the client has left before its end."""
    pieces = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


async def _lifespan(receive: Receive, send: Send) -> None:
    for moment in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{moment}.complete"})
