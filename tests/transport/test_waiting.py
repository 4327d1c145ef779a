"""Streams that stay streams, and errors that stay the transport's own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from driving import COMPLETED, CREATED, DELTA, GENERATING, STREAM, TOOL
from in_process import BLOCKING, Application, Kind, Provider, openai_for
from journals import of

from imagegate.audit import AuditUnavailableError
from imagegate.engine.records import GeneratingRecord, Record
from imagegate.transport import AsyncPolicyTransport, PolicyTransport
from imagegate.transport.background import Background
from imagegate.transport.errands import Errands

Make = Callable[..., Application]
URL = "http://provider.invalid"
blocking = pytest.mark.parametrize(
    "kind", BLOCKING, ids=lambda kind: kind.name, indirect=True
)


# -- streaming ---------------------------------------------------------------------


def test_an_event_comes_out_before_the_next_is_produced(make: Make, kind: Kind) -> None:
    provider = Provider(kind, *STREAM)
    application = make(inner=provider, sdk=openai_for(URL))
    events = application.events(application.create(TOOL, stream=True))

    taken = [(next(events).type, len(provider.told)) for _ in STREAM]

    assert taken == [
        ("response.created", 1),
        ("response.image_generation_call.generating", 2),
        ("response.output_text.delta", 3),
        ("response.completed", 4),
    ]


def test_nothing_is_asked_for_that_nobody_takes(make: Make, kind: Kind) -> None:
    provider = Provider(kind, CREATED, *[DELTA] * 1000, COMPLETED)
    application = make(inner=provider, sdk=openai_for(URL))

    stream = application.create(TOOL, stream=True)
    next(application.events(stream))

    assert provider.told == [CREATED]
    application.wait(stream.close())
    assert provider.closed == 1
    assert application.ends == ["client_left"]


def test_leaving_before_the_first_piece_waits_for_none(make: Make, kind: Kind) -> None:
    provider = Provider(kind, *STREAM)
    application = make(inner=provider, sdk=openai_for(URL))

    application.wait(application.create(TOOL, stream=True).close())

    assert provider.told == []
    assert provider.closed == 1
    assert application.ends == ["client_left"]


def test_what_goes_on_in_the_background_is_cancelled_though_nobody_waits(
    make: Make, kind: Kind
) -> None:
    """Leaving is no way to keep an image that may not be made."""
    tools = [{**TOOL, "quality": "max"}]
    members = {"id": "resp_1", "object": "response", "status": "queued"}
    answer = json.dumps({**members, "background": True, "tools": tools}).encode()
    provider = Provider(kind, answer, content_type="application/json")
    application = make(inner=provider)
    body = {"model": "gpt-5", "input": "x", "background": True, "tools": [TOOL]}
    request = application.http.build_request("POST", f"{URL}/v1/responses", json=body)
    taken = application.wait(application.http.send(request, stream=True))
    each = taken.aiter_raw() if kind.asynchronous else taken.iter_raw()
    application.wait(anext(each) if kind.asynchronous else next(each))

    application.wait(taken.aclose() if kind.asynchronous else taken.close())

    assert provider.asked[-1].url.path == "/v1/responses/resp_1/cancel"
    assert provider.closed == 2


def test_bytes_are_relayed_one_for_one(make: Make, kind: Kind) -> None:
    pieces = [bytes([each]) for each in b"".join(STREAM)]
    application = make(inner=Provider(kind, *pieces))
    body = b'{"model":"gpt-5","input":"x"}'

    answer = application.post(f"{URL}/v1/responses", body)

    assert answer.content == b"".join(STREAM)


# -- what the wrapped transport raises -----------------------------------------------


FAILURES = (
    "ConnectTimeout",
    "ReadTimeout",
    "PoolTimeout",
    "ConnectError",
    "ReadError",
    "RemoteProtocolError",
)


@pytest.mark.parametrize("name", FAILURES)
def test_what_the_transport_raises_is_raised(make: Make, kind: Kind, name: str) -> None:
    failure = getattr(kind.toolkit, name)("it was not to be")
    application = make(inner=Provider(kind, fails=failure))

    with pytest.raises(type(failure)) as raised:
        application.post(f"{URL}/v1/responses", b'{"model":"gpt-5","input":"x"}')

    late = "timeout" if name.endswith("Timeout") else "upstream_error"
    assert raised.value is failure
    assert application.ends == [late]


def test_what_is_raised_amid_an_answer_is_raised_there(make: Make, kind: Kind) -> None:
    failure = kind.toolkit.ReadTimeout("too slow")
    provider = Provider(kind, CREATED, GENERATING, failure)
    application = make(inner=provider, sdk=openai_for(URL))
    events = application.events(application.create(TOOL, stream=True))
    first = next(events).type

    with pytest.raises(openai.APIError) as raised:
        list(events)

    assert first == "response.created"
    assert raised.value.__cause__ is failure
    assert provider.closed == 1
    assert application.ends == ["timeout"]


def test_the_sdk_retries_as_it_always_does(make: Make, kind: Kind) -> None:
    failure = kind.toolkit.ConnectError("nobody there")
    provider = Provider(kind, fails=failure)
    application = make(inner=provider, sdk=openai_for(URL, max_retries=2))

    with pytest.raises(openai.APIConnectionError):
        application.create(TOOL)

    assert len(provider.asked) == 3
    assert application.ends == ["upstream_error"] * 3
    assert len({line["decision_id"] for line in application.records}) == 3


def test_a_body_that_cannot_be_read_is_the_applications_error(
    make: Make, kind: Kind
) -> None:
    provider = Provider(kind, b"{}")
    application = make(inner=provider)

    def pieces() -> Any:
        yield b'{"model":'
        raise OSError("the disk is gone")

    async def later() -> Any:
        for each in pieces():
            yield each

    content = later() if kind.asynchronous else pieces()
    with pytest.raises(OSError, match="the disk is gone"):
        application.post(f"{URL}/v1/responses", content)

    assert provider.asked == []
    assert application.ends == ["client_left"]


def test_a_body_in_pieces_is_judged_whole(make: Make, kind: Kind) -> None:
    provider = Provider(kind, b"{}", content_type="application/json")
    application = make(inner=provider)

    async def later() -> Any:
        yield b'{"model":"gpt-5",'
        yield b'"input":"x"}'

    content = (
        later() if kind.asynchronous else iter([b'{"model":"gpt-5",', b'"input":"x"}'])
    )
    application.post(f"{URL}/v1/responses", content)

    assert provider.body["input"] == "x"


# -- records that cannot be written --------------------------------------------------


class Refusing:
    """An audit that takes what it is told to take."""

    def __init__(self, *refused: type[Record]) -> None:
        self.refused = refused

    async def write(self, records: Any) -> None:
        if any(isinstance(each, self.refused) for each in records):
            raise AuditUnavailableError("full")

    @property
    def problem(self) -> str | None:
        return None

    async def close(self) -> None:
        raise AssertionError("whoever opened it closes it")


def test_what_cannot_be_recorded_does_not_go_on(kind: Kind) -> None:
    provider = Provider(kind, b"{}")
    audit: Any = Refusing(Record)

    with (
        Application(kind, audit, inner=provider, sdk=openai_for(URL)) as application,
        pytest.raises(openai.InternalServerError) as raised,
    ):
        application.create(TOOL)

    assert raised.value.code == "audit_unavailable"
    assert provider.asked == []


def test_an_answer_that_cannot_be_recorded_is_broken_off(kind: Kind) -> None:
    half = GENERATING[:40]
    provider = Provider(kind, CREATED + half, GENERATING[40:] + b"event: x", COMPLETED)
    audit: Any = Refusing(GeneratingRecord)

    with Application(kind, audit, inner=provider) as application:
        stream = application.http.stream(
            "POST",
            f"{URL}/v1/responses",
            content=b'{"model":"gpt-5","input":"x"}',
            headers={"content-type": "application/json"},
        )
        with pytest.raises(kind.toolkit.RemoteProtocolError):
            application.wait(_read(stream, asynchronous=kind.asynchronous))

    assert provider.closed == 1


def _read(stream: Any, *, asynchronous: bool) -> Any:
    if not asynchronous:
        with stream as answer:
            return answer.read()

    async def reading() -> Any:
        async with stream as answer:
            return await answer.aread()

    return reading()


# -- threads and loops ---------------------------------------------------------------


@blocking
def test_the_wrapped_transport_is_called_where_the_sdk_was(
    make: Make, kind: Kind
) -> None:
    spoken: ContextVar[str] = ContextVar("spoken", default="")
    provider = Provider(kind, b"{}", content_type="application/json")
    seen: list[object] = []
    provider.before = lambda: seen.extend([threading.current_thread(), spoken.get()])
    application = make(inner=provider)
    spoken.set("here")

    application.post(f"{URL}/v1/responses", b'{"model":"gpt-5","input":"x"}')

    assert seen == [threading.current_thread(), "here"]


@blocking
def test_a_client_that_blocks_may_be_used_within_a_loop(make: Make, url: str) -> None:
    application = make(sdk=openai_for(url))

    async def within() -> str:
        found: str = application.create(TOOL).tools[0].quality
        return found

    assert asyncio.run(within()) == "low"


@blocking
def test_many_threads_share_a_transport(make: Make, kind: Kind) -> None:
    provider = Provider(kind, *STREAM)
    gate = threading.Barrier(40, timeout=20)
    provider.before = lambda: _pass(gate)
    application = make(inner=provider, sdk=openai_for(URL))

    with ThreadPoolExecutor(40) as pool:
        ends = list(pool.map(lambda _: application.streamed(TOOL)[-1], range(40)))

    assert ends == ["response.completed"] * 40
    assert application.ends == ["completed"] * 40


def _pass(gate: threading.Barrier) -> None:
    """Wait until all are here: a pool of threads would be too small."""
    gate.wait()


@blocking
def test_ctrl_c_ends_the_call_and_is_recorded(make: Make, kind: Kind) -> None:
    provider = Provider(kind, fails=KeyboardInterrupt())
    application = make(inner=provider, sdk=openai_for(URL))

    with pytest.raises(KeyboardInterrupt):
        application.create(TOOL)

    provider.fails = None
    provider.pieces = STREAM
    assert application.streamed(TOOL)[-1] == "response.completed"
    assert application.ends == ["client_left", "completed"]


def test_who_leaves_does_only_what_has_to_be_done() -> None:
    """Else Ctrl-C would have to wait for the provider, perhaps for minutes."""
    background = Background()
    errands = Errands(background.loop)
    done: list[str] = []

    async def exchange() -> None:
        reading = asyncio.ensure_future(errands.run(lambda: done.append("read")))
        await asyncio.sleep(0)
        await errands.run(lambda: done.append("closed"), always=True)
        reading.cancel()

    errands.leave()
    errands.until(exchange())
    background.stop()

    assert done == ["closed"]


def test_an_answer_that_comes_too_late_is_closed() -> None:
    """The transport was closed in another thread while the provider was asked."""
    background = Background()
    errands = Errands(background.loop)
    closed: list[bool] = []

    async def exchange() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        class Late:
            def close(self) -> None:
                closed.append(True)
                loop.call_soon_threadsafe(over.set)

        def ask() -> Late:
            loop.call_soon_threadsafe(asking.cancel)
            return Late()

        asking = asyncio.ensure_future(errands.run(ask))
        await asyncio.wait([asking])
        await over.wait()

    errands.until(asyncio.wait_for(exchange(), 10))
    background.stop()

    assert closed == [True]


@blocking
def test_ctrl_c_amid_a_stream_ends_it(make: Make, kind: Kind) -> None:
    provider = Provider(kind, CREATED, KeyboardInterrupt(), COMPLETED)
    application = make(inner=provider, sdk=openai_for(URL))

    with pytest.raises(KeyboardInterrupt):
        application.streamed(TOOL)

    assert provider.closed == 1
    assert application.ends == ["client_left"]


def test_a_task_that_is_cancelled_is_a_client_that_left(
    tmp_path: Path, url: str
) -> None:
    transport = AsyncPolicyTransport(policy="standard", audit=tmp_path)
    http = httpx2.AsyncClient(transport=transport)

    async def cancelled() -> None:
        async with openai_for(url)(http_client=http) as client:
            silent = {"simulator": "silent"}
            asking = client.responses.create(model="g", input="x", metadata=silent)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asking, 0.1)

    asyncio.run(cancelled())

    assert _ends(tmp_path) == ["client_left"]


def test_only_asyncio_will_do(tmp_path: Path) -> None:
    transport = AsyncPolicyTransport(policy="standard", audit=tmp_path)
    asking = transport.handle_async_request(httpx2.Request("GET", URL))

    with pytest.raises(RuntimeError, match="run on asyncio"):
        asking.send(None)


def test_transports_of_one_process_may_share_a_directory(
    tmp_path: Path, url: str
) -> None:
    for _ in range(2):
        transport = PolicyTransport(policy="standard", audit=tmp_path)
        http = httpx2.Client(transport=transport)
        with openai_for(url)(http_client=http) as client:
            client.responses.create(model="gpt-5", input="x")

    assert _ends(tmp_path) == ["completed", "completed"]


def _ends(trail: Path) -> list[str]:
    return [line["outcome"] for line in of(trail, "exchange_finished")]
