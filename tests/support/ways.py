"""One request on each of the ways to a provider, and what came of it on each.

A way is set up once: its own stand-in for the provider, its own policy, principal,
memory and notebook, all of which a test replaces before it asks. What came of it is
plain data, so that two ways are compared member by member.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import httpx2
import msgspec
import openai
from journals import wait_for
from stage import plainly, serving
from starlette.types import Message, Receive, Scope, Send
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from imagegate.app import create_app
from imagegate.engine.gate import Gate
from imagegate.engine.policy import ANONYMOUS, Principal
from imagegate.engine.records import (
    CompletionRecord,
    DecisionRecord,
    EchoRecord,
    Record,
)
from imagegate.gates import Gates, load_gate
from imagegate.middleware import PolicyMiddleware
from imagegate.seen import MemorySeen, Sight
from imagegate.server.run import Listener, server_for
from imagegate.simulator import Simulator, create_simulator
from imagegate.transport import AsyncPolicyTransport, PolicyTransport
from imagegate.transport.httpx import PolicyTransport as LegacyTransport
from imagegate.upstream.forwarder import Upstream
from imagegate.upstream.httpx2_client import Httpx2Client

Outcome = dict[str, Any]
DEPLOYMENT: Final = "x-ms-oai-image-generation-deployment"
_OF_THE_MOMENT: Final = {
    "decision_id",
    "duration_ms",
    "first_byte_ms",
    "transport",
    "trace_id",
    "span_id",
}
_ENDS: Final = {"response.completed", "response.failed", "response.incomplete", "error"}
_SECRET: Final = re.compile(r"[0-9a-f]{32}(?![0-9a-f])")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request, whichever way it goes.

    Attributes:
        target: Path and query.
        seen: What was judged before.
        frame: It is a message of a WebSocket already.
    """

    policy: str
    method: str = "POST"
    target: str = "/v1/responses"
    headers: tuple[tuple[str, str], ...] = ()
    data: bytes
    principal: Principal = ANONYMOUS
    seen: frozenset[str] = frozenset()
    frame: bool = False


class _Notebook:
    """An audit of any thread."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def write(self, records: Iterable[Record]) -> None:
        self.records += records

    @property
    def problem(self) -> str | None:
        return None

    async def close(self) -> None: ...


class _Memory(MemorySeen):
    """A memory that can be emptied."""

    def empty(self) -> None:
        self._kept.clear()


class Stage:
    """What one way is made of, besides itself."""

    def __init__(self) -> None:
        self.gates = Gates(load_gate("standard"))
        self.principal = ANONYMOUS
        self.seen = _Memory()
        self.audit = _Notebook()
        self.simulator: Simulator

    async def provider(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stand in for the provider, with the simulator of this request."""
        await self.simulator(scope, receive, send)

    async def identify(self, scope: Scope) -> Principal:
        del scope
        return self.principal

    def set(self, gate: Gate, principal: Principal, seen: Iterable[str]) -> None:
        """Prepare for a request: nothing is left of the one before."""
        self.gates.replace(gate)
        self.principal = principal
        self.simulator = create_simulator(
            behaviour="bits=0", deployments={"img-mini-prod": "gpt-image-1-mini"}
        )
        self.audit.records = []
        self.seen.empty()
        asyncio.run(self.seen.note(principal, seen, Sight(gate.digest)))

    def whole(self) -> bool:
        """Whether all that was begun has ended, and what was to be cancelled is."""
        records = self.audit.records
        begun = [each for each in records if isinstance(each, DecisionRecord)]
        ended = [each for each in records if isinstance(each, CompletionRecord)]
        told = [each for each in records if isinstance(each, EchoRecord)]
        due = [each for each in told if each.action == "cancel"]
        came = [each.path for each in self.simulator.received if each.ended.is_set()]
        cancelled = [path for path in came if path.endswith("/cancel")]
        return len(begun) == len(ended) > 0 and len(due) == len(cancelled)

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return what is on record, but for what belongs to the moment."""
        found = []
        numbers: dict[str, int] = {}
        for each in self.audit.records:
            number = numbers.setdefault(each.decision_id, len(numbers))
            told: dict[str, Any] = msgspec.to_builtins(each)
            told = {k: v for k, v in told.items() if k not in _OF_THE_MOMENT}
            found.append({"exchange": number, **told})
        return found

    @property
    def sent(self) -> list[dict[str, Any]]:
        """Return what came to the provider."""
        return [
            {
                "method": each.method,
                "path": each.path,
                "query": each.query,
                "body": each.body.decode("latin-1"),
                "content-type": each.header("content-type"),
                DEPLOYMENT: each.header(DEPLOYMENT),
                "authorization": each.header("authorization"),
            }
            for each in self.simulator.received
            if each.method != "WEBSOCKET" or each.body
        ]


class Way:
    """One way to the provider.

    Args:
        name: Its name.
        stage: What is around it.
        url: Where a client sends its requests.
        http: The HTTP client; None when messages go over a WebSocket.
    """

    def __init__(
        self,
        name: str,
        stage: Stage,
        url: str,
        http: httpx2.Client | None,
    ) -> None:
        self.name = name
        self.stage = stage
        self.url = url
        self.http = http

    # -- raw bytes --------------------------------------------------------------

    def ask(self, asked: Asked) -> Outcome:
        """Send a request, and say what came of it."""
        self.stage.set(_gate(asked.policy), asked.principal, asked.seen)
        http = self.http
        answer = self._message(asked) if http is None else self._request(asked, http)
        wait_for(self.stage.whole)
        return {**answer, "sent": self.stage.sent, "records": self.stage.records}

    def _request(self, asked: Asked, http: httpx2.Client) -> Outcome:
        headers = [("content-type", "application/json"), ("authorization", "Bearer k")]
        request = httpx2.Request(
            asked.method,
            self.url + asked.target,
            headers=[*headers, *asked.headers],
            content=None if asked.method == "GET" else asked.data,
        )
        answer = http.send(request)
        return {
            "status": answer.status_code,
            "content-type": answer.headers["content-type"],
            "x-should-retry": answer.headers.get("x-should-retry"),
            **_told(answer.content, answer.headers["x-imagegate-decision"]),
        }

    def _message(self, asked: Asked) -> Outcome:
        url = self.url.replace("http", "ws", 1) + asked.target
        data = asked.data if asked.frame else framed(asked.data)
        try:
            said = _exchanged(url, data.decode(), dict(asked.headers))
        except InvalidStatus as refused:
            response = refused.response
            decision_id = response.headers["x-imagegate-decision"]
            return {
                "status": response.status_code,
                **_told(bytes(response.body or b""), decision_id),
            }
        status = said.get("status", 200)
        return {"status": status, **_told(json.dumps(said).encode())}

    # -- the SDK ----------------------------------------------------------------

    def tell(self, policy: str, *requests: Mapping[str, Any]) -> Outcome:
        """Let the SDK ask for responses, one after another, and say what came of it.

        `PREVIOUS` in a request stands for the id of the answer before.
        """
        self.stage.set(_gate(policy), ANONYMOUS, ())
        sdk = openai.OpenAI(
            base_url=f"{self.url}/v1", api_key="k", max_retries=0, http_client=self.http
        )
        with contextlib.ExitStack() as stack:
            ask = _asking(sdk)
            if self.http is None:
                ask = _sending(stack.enter_context(sdk.responses.connect()))
                stack.callback(sdk.close)
            answers, previous = [], ""
            for each in requests:
                answer = ask(_named(each, previous))
                previous = answer.pop("id", "")
                answers.append(answer)
        wait_for(self.stage.whole)
        return {
            "answers": answers,
            "sent": self.stage.sent,
            "records": self.stage.records,
        }


PREVIOUS: Final = "<previous>"
_gate = functools.cache(load_gate)


def _exchanged(url: str, data: str, headers: dict[str, str]) -> dict[str, Any]:
    """Send a message, and return the last of what is said to it."""
    with connect(
        url,
        additional_headers={"authorization": "Bearer k", **headers},
        compression=None,
        max_size=None,
        proxy=None,
    ) as socket:
        socket.send(data)
        said: dict[str, Any] = json.loads(socket.recv(10))
        while said["type"] not in _ENDS:
            said = json.loads(socket.recv(10))
        return said


def _named(request: Mapping[str, Any], previous: str) -> dict[str, Any]:
    return {k: previous if v == PREVIOUS else v for k, v in request.items()}


def _asking(sdk: openai.OpenAI) -> Callable[[dict[str, Any]], Outcome]:
    """Ask over HTTP."""

    def ask(request: dict[str, Any]) -> Outcome:
        events: list[str] = []
        ident = ""
        try:
            answer: Any = sdk.responses.create(**request)
            if not request.get("stream"):
                return {"status": answer.status, "id": answer.id}
            for event in answer:
                events.append(event.type)
                ident = ident or event.response.id
        except openai.APIError as error:
            return {"events": events, "error": _raised(error), "id": ident}
        return {"events": events, "id": ident}

    return ask


def _sending(connection: Any) -> Callable[[dict[str, Any]], Outcome]:
    """Ask over a WebSocket, on one connection."""

    def ask(request: dict[str, Any]) -> Outcome:
        asked = {k: v for k, v in request.items() if k != "stream"}
        connection.response.create(**asked)
        events: list[str] = []
        ident = ""
        while not events or events[-1] not in _ENDS:
            event: Any = connection.recv()
            events.append(event.type)
            if event.type == "error":
                error = {
                    "code": event.error.code,
                    "param": event.error.param,
                    "type": event.error.type,
                }
                return {"events": events[:-1], "error": error, "id": ident}
            if getattr(event, "response", None) is not None:
                ident = event.response.id
        return {"events": events, "id": ident}

    return ask


def _raised(error: openai.APIError) -> dict[str, Any]:
    return {"code": error.code, "param": error.param, "type": error.type}


def framed(data: bytes) -> bytes:
    """Make a message of a body, whatever is wrong with it."""
    return re.sub(rb"\A\{", b'{"type":"response.create",', data, count=1)


def _told(body: bytes, decision_id: str = "") -> Outcome:
    """Take an answer apart; an error without the name of its decision."""
    text = body.decode("utf-8", "replace")
    with contextlib.suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict) and found.get("error"):
            error = {k: v for k, v in found["error"].items() if k != "decision_id"}
            return {"error": error}
    return {"answer": text.replace(decision_id, "…") if decision_id else text}


def differences(one: object, other: object, place: str = "") -> list[str]:
    """Say where two outcomes differ, member by member."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = [*one, *(name for name in other if name not in one)]
        return [
            line
            for name in names
            for line in differences(
                one.get(name, "absent"), other.get(name, "absent"), f"{place}.{name}"
            )
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [
            line
            for number, (a, b) in pairs
            for line in differences(a, b, f"{place}[{number}]")
        ]
    if one == other:
        return []
    return [f"{place.lstrip('.')}: {_short(one)} is not {_short(other)}"]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:400]}…"


# -- the ways ----------------------------------------------------------------------


class Relay:
    """Somebody's application that forwards, as such applications are written."""

    def __init__(self, provider: str) -> None:
        self.provider = provider

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        inner = httpx2.AsyncHTTPTransport(verify=False)
        async with httpx2.AsyncClient(transport=inner, timeout=30) as client:
            await self._relay(client, scope, receive, send)

    async def _relay(
        self, client: httpx2.AsyncClient, scope: Scope, receive: Receive, send: Send
    ) -> None:
        query = scope["query_string"]
        request = client.build_request(
            scope["method"],
            self.provider
            + scope["raw_path"].decode()
            + ("?" if query else "")
            + query.decode(),
            headers=[item for item in scope["headers"] if item[0] != b"host"],
            content=await _body(receive),
        )
        answer = await client.send(request, stream=True)
        try:
            headers = [(key.lower(), value) for key, value in answer.headers.raw]
            kept = [item for item in headers if item[0] != b"transfer-encoding"]
            start = {"status": answer.status_code, "headers": kept}
            await send({"type": "http.response.start", **start})
            async for piece in answer.aiter_raw():
                await send(_piece(piece, more=True))
            await send(_piece(b"", more=False))
        finally:
            await answer.aclose()


def _piece(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


class InALoop(httpx2.BaseTransport):
    """An asynchronous transport on a loop of its own, for a client that blocks."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self.runner = asyncio.Runner()
        self.transport = transport

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self.runner.run(self._answered(request))

    async def _answered(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self.transport.handle_async_request(request)
        body = b"".join([piece async for piece in answer.aiter_raw()])
        await answer.aclose()
        return httpx2.Response(answer.status_code, headers=answer.headers, content=body)

    def close(self) -> None:
        self.runner.run(self.transport.aclose())
        self.runner.close()


class ByHttpx(httpx2.BaseTransport):
    """A transport for httpx, for a client of httpx2: both have the same shape."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        import httpx  # noqa: PLC0415 - of this way only

        asked = httpx.Request(
            request.method,
            str(request.url),
            headers=request.headers.raw,
            content=request.content or None,
            extensions=request.extensions,
        )
        answer = self.transport.handle_request(asked)
        body = b"".join(answer.iter_raw())
        answer.close()
        return httpx2.Response(
            answer.status_code, headers=answer.headers.raw, content=body
        )

    def close(self) -> None:
        self.transport.close()


def _plain() -> httpx2.Client:
    return httpx2.Client(transport=httpx2.HTTPTransport(verify=False), timeout=30)


def _governed(stage: Stage) -> dict[str, Any]:
    return {"audit": stage.audit, "identify": stage.identify, "seen": stage.seen}


@contextlib.contextmanager
def proxy() -> Iterator[Way]:
    """The gateway, between two sockets."""
    stage = Stage()
    with plainly(stage.provider) as provider:
        app = create_app(
            stage.gates,
            {"": Upstream(name="simulator", base=provider)},
            client=Httpx2Client(),
            **_governed(stage),
        )
        server = server_for(app, Listener(port=0, grace=1))
        with serving(server) as url, _plain() as http:
            yield Way("proxy", stage, url, http)


@contextlib.contextmanager
def websocket() -> Iterator[Way]:
    """The gateway, one message for each request."""
    with proxy() as way:
        yield Way("websocket", way.stage, way.url, None)


@contextlib.contextmanager
def embedded() -> Iterator[Way]:
    """The middleware in somebody's application."""
    stage = Stage()
    with plainly(stage.provider) as provider:
        inner = Relay(provider)
        app = PolicyMiddleware(inner, gate=stage.gates, **_governed(stage))
        with plainly(app) as url, _plain() as http:
            yield Way("embedded", stage, url, http)


def _transported(
    name: str, make: Callable[..., httpx2.BaseTransport]
) -> Callable[[], contextlib.AbstractContextManager[Way]]:
    @contextlib.contextmanager
    def way() -> Iterator[Way]:
        stage = Stage()
        with plainly(stage.provider) as url:
            transport = make(
                policy=stage.gates,
                audit=stage.audit,
                principal=stage.identify,
                seen=stage.seen,
            )
            with httpx2.Client(transport=transport, timeout=30) as http:
                yield Way(name, stage, url, http)

    return way


WAYS: Final[Mapping[str, Callable[[], contextlib.AbstractContextManager[Way]]]] = {
    "proxy": proxy,
    "embedded": embedded,
    "websocket": websocket,
    "transport": _transported("transport", PolicyTransport),
    "transport-async": _transported(
        "transport-async", lambda **more: InALoop(AsyncPolicyTransport(**more))
    ),
    "transport-httpx": _transported(
        "transport-httpx", lambda **more: ByHttpx(LegacyTransport(**more))
    ),
}
