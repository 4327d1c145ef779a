from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Any
from urllib.parse import unquote

import pytest
from starlette.types import ASGIApp, Message

from imagegate import log, shipped
from imagegate.app import create_app
from imagegate.audit import AuditUnavailableError
from imagegate.engine.gate import Gate
from imagegate.engine.records import CompletionRecord, Record
from imagegate.gates import Gates
from imagegate.policyfile import load_policy
from imagegate.upstream.client import UpstreamError, UpstreamRequest
from imagegate.upstream.forwarder import Upstream

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def standard() -> Gate:
    file, catalogue = shipped.find_policy("standard"), shipped.catalogue()
    today = datetime.date(2026, 11, 21)
    data = file.read_bytes()
    return Gate(
        load_policy(data, file="s", catalogue=catalogue, today=today), catalogue
    )


class Answer:
    """Pieces, of which one may be an exception, or a wait."""

    def __init__(self, pieces: Iterable[bytes | Exception | asyncio.Event]) -> None:
        self.status = 200
        self.headers = [(b"content-type", b"text/event-stream")]
        self._pieces = iter(pieces)
        self.ended = False

    async def read(self) -> bytes:
        piece = next(self._pieces, b"")
        if isinstance(piece, asyncio.Event):
            await piece.wait()
            return b""
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def close(self) -> None:
        """Nothing is held."""


class Provider:
    """A client whose provider answers as it was told to."""

    def __init__(self, *pieces: bytes | Exception | asyncio.Event) -> None:
        self.pieces = pieces
        self.asked: list[UpstreamRequest] = []
        self.is_asked = asyncio.Event()
        self.on_close: Callable[[], None] = lambda: None

    async def send(self, request: UpstreamRequest) -> Answer:
        self.asked.append(request)
        self.is_asked.set()
        return Answer(self.pieces)

    async def close(self) -> None:
        self.on_close()


class Journal:
    """An audit whose every record can be seen."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self.fails = False
        self.records: list[Record] = []
        self.closed = False
        self.on_close: Callable[[], None] = lambda: None

    async def write(self, records: Iterable[Record]) -> None:
        assert not self.closed
        if self.fails:
            raise AuditUnavailableError
        self.records += records

    async def close(self) -> None:
        self.closed = True
        self.on_close()


def gateway(
    provider: Provider, journal: Journal, *prefixes: str, by: Gates | None = None
) -> ASGIApp:
    return create_app(
        by or standard(),
        {
            prefix: Upstream(name="x", base=f"https://provider{prefix.strip('/')}.test")
            for prefix in prefixes or ("",)
        },
        client=provider,
        audit=journal,
    )


class Call:
    """One request to the gateway."""

    def __init__(self, app: ASGIApp, path: str, body: Mapping[str, Any]) -> None:
        self.sent: list[Message] = []
        self._app = app
        self._body = json.dumps(body, separators=(",", ":")).encode()
        self._scope = {
            "type": "http",
            "method": "POST" if body else "GET",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(self._body)),
            ],
        }
        self._asked = False

    async def run(self) -> Call:
        await self._app(self._scope, self._receive, self._send)
        return self

    async def _receive(self) -> Message:
        if self._asked:
            await asyncio.Event().wait()  # the client stays
        self._asked = True
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def json(self) -> Any:
        return json.loads(b"".join(m.get("body", b"") for m in self.sent))


async def ask(app: ASGIApp, path: str = "/v1/responses", *, get: bool = False) -> Call:
    body = {} if get else {"model": "gpt-5", "input": "canary", "stream": True}
    return await Call(app, path, body).run()


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Return what the log says, without what changes from run to run."""

    def lines() -> list[dict[str, Any]]:
        said = capsys.readouterr().err
        assert "canary" not in said
        found = [json.loads(line) for line in said.splitlines()]
        return [
            {k: v for k, v in each.items() if k not in ("timestamp", "decision_id")}
            for each in found
        ]

    return lines


# -- health ---------------------------------------------------------------------------


async def test_readiness_names_the_policy_and_the_program(
    told: Callable[[], list[dict[str, Any]]],
) -> None:
    journal = Journal()
    app = gateway(Provider(), journal)
    known = {
        "policy": "standard",
        "digest": standard().digest,
        "version": version("imagegate"),
    }

    ready = await ask(app, "/readyz", get=True)
    journal.problem = "/var/log/x: No space left on device"
    full = await ask(app, "/readyz", get=True)
    await ask(app, "/readyz", get=True)
    journal.problem = None
    again = await ask(app, "/readyz", get=True)
    alive = await ask(app, "/livez", get=True)

    assert (ready.status, ready.json) == (200, {"status": "ready", **known})
    assert (again.status, again.json) == (200, {"status": "ready", **known})
    assert (alive.status, alive.json) == (200, {"status": "alive"})
    assert full.status == 503
    assert full.json == {"status": "not ready", "problem": "audit_unavailable", **known}
    # Whoever reaches the port reads the one, and operators the other.
    problem = "/var/log/x: No space left on device"
    assert told() == [
        {"level": "error", "event": "imagegate.not_ready", "problem": problem},
        {"level": "info", "event": "imagegate.ready_again"},
    ]


async def test_readiness_names_what_is_stale_and_the_candidate() -> None:
    gates = Gates(standard(), candidate=standard())
    app = gateway(Provider(), Journal(), by=gates)
    gates.stale = ("policy", "prices")

    ready = await ask(app, "/readyz", get=True)

    assert ready.status == 200
    assert ready.json["stale"] == ["policy", "prices"]
    assert ready.json["candidate"] == "standard"
    assert ready.json["candidate_digest"] == standard().digest


# -- providers ------------------------------------------------------------------------


async def test_each_prefix_is_a_provider_that_never_sees_it() -> None:
    provider = Provider()
    app = gateway(provider, Journal(), "/a", "/ab", "")

    for path in ("/a/v1/models", "/ab/v1/models", "/v1/models"):
        await ask(app, path, get=True)

    assert [(r.origin.host, r.target) for r in provider.asked] == [
        ("providera.test", b"/v1/models"),
        ("providerab.test", b"/v1/models"),
        ("provider.test", b"/v1/models"),
    ]


@pytest.mark.parametrize(
    "path", ["/v1/models", "/b/v1/models", "/a", "/A/v1/models", "/%61/v1/models"]
)
async def test_a_path_without_a_known_prefix_reaches_no_provider(path: str) -> None:
    provider = Provider()

    answer = await ask(gateway(provider, Journal(), "/a"), path, get=True)

    assert answer.status == 404
    assert answer.json["error"]["code"] == "no_such_upstream"
    assert "`/a`" in answer.json["error"]["message"]
    assert provider.asked == []


async def test_what_one_provider_made_is_not_known_at_another() -> None:
    text = b"version: 1\nname: p\nowner: o\nmode: enforce\n"
    text += b"state: { previous_response: seen }\n"
    catalogue, today = shipped.catalogue(), datetime.date(2026, 11, 21)
    rules = load_policy(text, file="p", catalogue=catalogue, today=today)
    told = {"type": "response.created", "response": {"id": "resp_1"}}
    provider = Provider(f"data: {json.dumps(told)}\n\n".encode())
    app = gateway(provider, Journal(), "/a", "", by=Gates(Gate(rules, catalogue)))
    again = {"model": "gpt-5", "input": "x", "previous_response_id": "resp_1"}

    await ask(app, "/a/v1/responses")

    assert (await Call(app, "/a/v1/responses", again).run()).status == 200
    assert (await Call(app, "/v1/responses", again).run()).status == 403


# -- the outermost edge ---------------------------------------------------------------


async def test_an_answer_that_breaks_off_ends_the_connection_and_is_one_line(
    told: Any,
) -> None:
    broken = UpstreamError("answer_broken", status=502)
    app = gateway(Provider(b"data: x\n\n", broken), Journal())

    with pytest.raises(log.Told):
        await ask(app)

    assert told() == [
        {
            "level": "warning",
            "event": "imagegate.answer_broken",
            "code": "answer_broken",
        }
    ]


async def test_what_nobody_foresaw_is_answered_and_named_without_its_words(
    told: Any,
) -> None:
    class Broken(Provider):
        async def send(self, request: UpstreamRequest) -> Answer:
            del request
            raise RuntimeError("canary")

    answer = await ask(gateway(Broken(), Journal()))

    assert answer.status == 500
    assert answer.json["error"]["code"] == "gateway_error"
    [line] = told()
    assert line["event"] == "imagegate.unexpected"
    assert line["exception"] == "RuntimeError"
    assert "test_app:" in line["at"]
    assert line["ours"].startswith("imagegate.upstream.forwarder:")


async def test_what_nobody_foresaw_within_an_answer_ends_the_connection(
    told: Any,
) -> None:
    app = gateway(Provider(b"data: x\n\n", RuntimeError("canary")), Journal())

    with pytest.raises(log.Told):
        await ask(app)

    assert [line["event"] for line in told()] == ["imagegate.unexpected"]


async def test_an_image_that_cannot_be_recorded_is_nothing_unforeseen(
    told: Any,
) -> None:
    class Full(Provider):
        async def send(self, request: UpstreamRequest) -> Answer:
            journal.fails = True
            return await super().send(request)

    journal = Journal()
    event = {
        "type": "response.image_generation_call.generating",
        "item_id": "ig_1",
        "output_index": 0,
        "sequence_number": 1,
    }
    begun, rest = b"data: {", json.dumps(event).encode()[1:] + b"\n\n"

    with pytest.raises(log.Told):
        await ask(gateway(Full(begun, rest), journal))

    assert {line["event"] for line in told()} == {"imagegate.audit_unavailable"}


# -- the end --------------------------------------------------------------------------


class Life:
    """The server's side of an application's life."""

    def __init__(self, app: ASGIApp) -> None:
        self.sent: list[str] = []
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._task = asyncio.ensure_future(
            app({"type": "lifespan"}, self._events.get, self._send)
        )

    async def _send(self, message: Message) -> None:
        self.sent.append(message["type"])

    async def tell(self, moment: str) -> None:
        await self._events.put({"type": f"lifespan.{moment}"})
        for _ in range(100):
            await asyncio.sleep(0)


async def test_everything_is_closed_at_the_end_the_audit_last() -> None:
    order: list[str] = []
    provider, journal = Provider(), Journal()
    provider.on_close = lambda: order.append("provider")
    journal.on_close = lambda: order.append("journal")
    life = Life(gateway(provider, journal))

    await life.tell("startup")
    assert life.sent == ["lifespan.startup.complete"]
    assert order == []

    await life.tell("shutdown")
    assert life.sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert order == ["provider", "journal"]


async def test_exchanges_that_are_cut_short_still_write_how_they_ended() -> None:
    provider, journal = Provider(b"data: x\n\n", asyncio.Event()), Journal()
    app = gateway(provider, journal)
    life = Life(app)
    await life.tell("startup")
    asking = asyncio.ensure_future(ask(app))
    await provider.is_asked.wait()

    asking.cancel()  # as the server does when the grace is over
    await life.tell("shutdown")
    with contextlib.suppress(asyncio.CancelledError):
        await asking

    assert journal.closed
    assert isinstance(journal.records[-1], CompletionRecord)


async def test_an_exchange_that_never_ends_does_not_keep_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imagegate.app._LAST_SECONDS", 0.01)
    provider = Provider(b"data: x\n\n", asyncio.Event())
    app = gateway(provider, Journal())
    life = Life(app)
    asking = asyncio.ensure_future(ask(app))
    await provider.is_asked.wait()

    await life.tell("shutdown")
    await asyncio.wait_for(life._task, 5)

    assert life.sent == ["lifespan.shutdown.complete"]
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError, AssertionError):
        await asking
