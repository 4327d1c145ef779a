from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from driving import (
    ASKING,
    CREATED,
    DELTA,
    GENERATING,
    JSON,
    SSE,
    STREAM,
    Call,
    Inner,
    Notebook,
    event,
    governed,
    more,
    read,
    request,
    soon,
    start,
)
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from imagegate.middleware import Limits

pytestmark = pytest.mark.anyio
HURRIED = Limits(grace=0.05)


class Working:
    """An application that is busy, and notes how that ends.

    Args:
        listens: Whether it asks for word of its client.
        streams: Whether it has begun its answer.
    """

    def __init__(self, *, listens: bool = False, streams: bool = False) -> None:
        self.listens = listens
        self.streams = streams
        self.busy = asyncio.Event()
        self.heard: list[str] = []

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        if self.streams:
            await start(send, SSE)
            await more(send, CREATED)
        try:
            if self.listens:
                self.busy.set()
                self.heard.append((await receive())["type"])
                return
            self.busy.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.heard.append("cancelled")
            raise


# -- the client leaves --------------------------------------------------------------


@pytest.mark.parametrize("said", [[], [ASKING[:9]]], ids=["nothing", "a part"])
async def test_a_client_that_leaves_before_its_request_is_whole_is_on_record(
    said: list[bytes], audit: Notebook
) -> None:
    inner = Inner()

    async with Call(governed(inner, audit), body=None) as call:
        for piece in said:
            call.say(piece, more=True)
        call.leave()
        await call.done()

    assert call.sent == []
    assert inner.scopes == []
    assert audit.events == ["request_malformed", "exchange_finished"]
    assert audit.completion.outcome == "client_left"


@pytest.mark.parametrize("streams", [False, True], ids=["working", "streaming"])
@pytest.mark.parametrize(
    ("listens", "heard"), [(False, "cancelled"), (True, "http.disconnect")]
)
async def test_an_application_whose_client_left_is_stopped(
    heard: str, audit: Notebook, *, listens: bool, streams: bool
) -> None:
    """At once: nobody waits for one that cannot know."""
    inner = Working(listens=listens, streams=streams)

    async with Call(governed(inner, audit, limits=Limits(grace=60))) as call:
        await soon(inner.busy.wait())
        call.leave()
        await call.done()

    assert inner.heard == [heard]
    assert audit.events == ["request_forwarded", "exchange_finished"]
    assert audit.completion.outcome == "client_left"


class Server:
    """One that calls who wants to know when its client leaves."""

    def __init__(self) -> None:
        self.told: Callable[[], None] | None = None

    @property
    def scope(self) -> Scope:
        return request(extensions={"imagegate.departure": self.tell})

    def tell(self, told: Callable[[], None] | None) -> None:
        self.told = told


@pytest.mark.parametrize("streams", [False, True], ids=["working", "streaming"])
async def test_an_application_is_stopped_by_a_server_that_calls(
    audit: Notebook, *, streams: bool
) -> None:
    """Nobody listens in the meantime: that is what it is for."""
    inner, server = Working(streams=streams), Server()
    call = Call(governed(inner, audit, limits=Limits(grace=60)), server.scope)

    async with call:
        await soon(inner.busy.wait())
        await asyncio.sleep(0.02)  # where nobody calls, somebody listens by now
        assert call.asked == 1
        assert server.told is not None
        server.told()
        await call.done()

    assert inner.heard == ["cancelled"]
    assert audit.completion.outcome == "client_left"
    assert server.told is None


async def test_an_application_that_is_called_has_a_moment_to_stop(
    audit: Notebook,
) -> None:
    server = Server()
    ready, stopped = asyncio.Event(), asyncio.Event()

    async def inner(scope: Scope, receive: Receive, _send: Send) -> None:
        await read(receive)
        scope["extensions"]["imagegate.departure"](stopped.set)
        ready.set()
        await stopped.wait()

    call = Call(governed(inner, audit, limits=Limits(grace=60)), server.scope)
    async with call:
        await soon(ready.wait())
        assert server.told is not None
        server.told()
        await call.done()

    assert stopped.is_set()
    assert audit.completion.outcome == "client_left"


async def test_an_application_that_is_called_and_goes_on_is_cancelled(
    audit: Notebook,
) -> None:
    server, working = Server(), Working()

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"]["imagegate.departure"](lambda: None)
        await working(scope, receive, send)

    async with Call(governed(inner, audit, limits=HURRIED), server.scope) as call:
        await soon(working.busy.wait())
        assert server.told is not None
        server.told()
        await call.done()

    assert working.heard == ["cancelled"]


async def test_a_server_that_calls_behind_the_answer_stops_nothing(
    audit: Notebook,
) -> None:
    server, ended = Server(), asyncio.Event()

    async def inner(_scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await start(send, JSON)
        await send({"type": "http.response.body", "body": b"{}"})
        assert server.told is not None
        server.told()
        await asyncio.sleep(0.01)  # what is done in the background
        ended.set()

    await Call(governed(inner, audit, limits=HURRIED), server.scope).whole()

    assert ended.is_set()
    assert audit.completion.outcome == "completed"


async def test_a_client_that_left_long_ago_is_noticed_at_once(audit: Notebook) -> None:
    inner = Working()
    call = Call(governed(inner, audit))
    call.leave()

    await call.whole()

    assert inner.heard == ["cancelled"]
    assert audit.completion.outcome == "client_left"


async def test_whoever_listens_hears_it_at_once_however_many(audit: Notebook) -> None:
    heard: list[Message] = []
    ready = asyncio.Event()

    async def inner(_scope: Scope, receive: Receive, _send: Send) -> None:
        await read(receive)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_listen(receive)) for _ in range(3)]
            ready.set()
        heard.extend(task.result() for task in tasks)
        heard.append(await receive())

    async def _listen(receive: Receive) -> Message:
        return await receive()

    async with Call(governed(inner, audit)) as call:
        await soon(ready.wait())
        call.leave()
        await call.done()

    assert heard == [{"type": "http.disconnect"}] * 4
    assert audit.completion.outcome == "client_left"


async def test_one_that_hears_but_does_not_stop_is_cancelled(audit: Notebook) -> None:
    heard: list[str] = []

    async def inner(_scope: Scope, receive: Receive, _send: Send) -> None:
        await read(receive)
        heard.append((await receive())["type"])
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    async with Call(governed(inner, audit, limits=HURRIED)) as call:
        await soon(call.listening.wait())
        call.leave()
        await call.done()

    assert heard == ["http.disconnect", "cancelled"]


async def test_one_that_stops_by_itself_may_take_its_time(audit: Notebook) -> None:
    """Closing the call to the provider, for one."""
    closed: list[bool] = []

    async def inner(_scope: Scope, receive: Receive, _send: Send) -> None:
        await read(receive)
        await receive()
        await asyncio.sleep(0.02)
        closed.append(True)

    async with Call(governed(inner, audit)) as call:
        await soon(call.listening.wait())
        call.leave()
        await call.done()

    assert closed == [True]


async def test_a_listener_that_gave_up_leaves_the_watch_to_us(audit: Notebook) -> None:
    """`Request.is_disconnected` asks, and does not wait."""
    heard: list[str] = []

    async def inner(scope: Scope, receive: Receive, _send: Send) -> None:
        asked = Request(scope, receive)
        await asked.body()
        heard.append(str(await asked.is_disconnected()))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    async with Call(governed(inner, audit)) as call:
        await soon(call.listening.wait())
        call.leave()
        await call.done()

    assert heard == ["False", "cancelled"]


async def test_what_is_sent_to_nobody_raises_as_it_does_on_newer_servers(
    audit: Notebook,
) -> None:
    raised: list[type[BaseException]] = []
    ready = asyncio.Event()

    async def inner(_scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await start(send, SSE)
        ready.set()
        await receive()
        for _ in range(2):
            try:
                await more(send, GENERATING)
            except OSError as error:
                raised.append(type(error))

    async with Call(governed(inner, audit)) as call:
        await soon(ready.wait())
        call.leave()
        await call.done()

    assert [error.__name__ for error in raised] == ["Unwanted", "Unwanted"]
    assert audit.events == ["request_forwarded", "exchange_finished"]
    assert audit.completion.generating == 0


async def test_a_record_that_is_being_written_is_written() -> None:
    """The client leaves while the sink works: the image is being made all the same."""
    writing, release = asyncio.Event(), asyncio.Event()

    class Slow(Notebook):
        async def write(self, records: Any) -> None:
            records = [*records]
            if any(record.event == "imagegate.image_generating" for record in records):
                writing.set()
                await release.wait()
            await super().write(records)

    slow = Slow()
    async with Call(governed(Inner(*STREAM, headers=[SSE]), slow)) as call:
        await soon(writing.wait())
        call.leave()
        await asyncio.sleep(0.02)
        release.set()
        await call.done()

    assert slow.events == [
        "request_forwarded",
        "image_generating",
        "exchange_finished",
    ]
    assert slow.completion.outcome == "client_left"
    assert slow.completion.bytes_out == len(CREATED)
    assert all(GENERATING not in each.get("body", b"") for each in call.sent)


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
@pytest.mark.parametrize("fails", [False, True])
async def test_starlettes_streams_are_stopped(
    spec: str, audit: Notebook, *, fails: bool
) -> None:
    """Before 2.4 it listens; since then it waits for `send` to raise."""
    ended: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield CREATED
            await asyncio.Event().wait()
        finally:
            ended.append("ended")
            if fails:
                raise ZeroDivisionError

    async def create(request: Request) -> Response:
        await request.json()
        return StreamingResponse(pieces(), media_type="text/event-stream")

    inner = Starlette(routes=[Route("/v1/responses", create, methods=["POST"])])
    scope = request(asgi={"version": "3.0", "spec_version": spec})
    async with Call(governed(inner, audit), scope) as call:
        await call.next()
        assert await call.piece() == CREATED
        call.leave()
        await call.done()
    gc.collect()

    assert ended == ["ended"]
    assert audit.completion.outcome == "client_left"


async def test_an_endpoint_that_waits_for_its_provider_is_stopped(
    audit: Notebook,
) -> None:
    busy, ended = asyncio.Event(), asyncio.Event()

    async def create(request: Request) -> Response:
        await request.json()
        busy.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    inner = Starlette(routes=[Route("/v1/responses", create, methods=["POST"])])
    async with Call(governed(inner, audit)) as call:
        await soon(busy.wait())
        call.leave()
        await call.done()

    assert ended.is_set()
    assert audit.completion.outcome == "client_left"


async def test_a_background_task_is_not_stopped_by_a_client_that_is_served(
    audit: Notebook,
) -> None:
    finished = asyncio.Event()

    async def later() -> None:
        await asyncio.sleep(0.02)
        finished.set()

    async def create(request: Request) -> Response:
        await request.json()
        return JSONResponse({}, background=BackgroundTask(later))

    inner = Starlette(routes=[Route("/v1/responses", create, methods=["POST"])])
    await Call(governed(inner, audit)).whole()

    assert finished.is_set()
    assert audit.completion.outcome == "completed"


async def test_a_client_that_has_the_last_event_has_it_all(audit: Notebook) -> None:
    """It leaves before the end of the stream, as the SDKs do."""
    sent = asyncio.Event()

    async def inner(_scope: Scope, _receive: Receive, send: Send) -> None:
        await start(send, SSE)
        for piece in STREAM:
            await more(send, piece)
        sent.set()
        await asyncio.Event().wait()

    async with Call(governed(inner, audit)) as call:
        await soon(sent.wait())
        call.leave()
        await call.done()

    assert audit.completion.outcome == "completed"


async def test_one_failure_among_many_does_not_hide_that_the_client_left(
    audit: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an application raises when it is stopped is told in the log, by type."""

    async def inner(_scope: Scope, receive: Receive, _send: Send) -> None:
        await read(receive)
        await receive()
        raise ZeroDivisionError("canary")

    async with Call(governed(inner, audit)) as call:
        await soon(call.listening.wait())
        call.leave()
        await call.done()

    assert audit.completion.outcome == "client_left"
    said = capsys.readouterr().err
    assert "application_failed_when_stopped" in said
    assert "ZeroDivisionError" in said
    assert "canary" not in said


@pytest.mark.parametrize("wrapped", ["cause", "context", "group"])
async def test_what_follows_from_our_stop_is_no_failure(
    wrapped: str, audit: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    async def inner(_scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await start(send, SSE)
        await receive()
        try:
            await more(send, DELTA)
        except OSError as error:
            if wrapped == "cause":
                raise ZeroDivisionError from error
            if wrapped == "context":
                raise ZeroDivisionError  # noqa: B904 - as applications do
            raise ExceptionGroup("many", [ValueError(), error]) from None

    async with Call(governed(inner, audit)) as call:
        await soon(call.listening.wait())
        call.leave()
        await call.done()

    assert audit.completion.outcome == "client_left"
    assert capsys.readouterr().err == ""


async def test_a_server_that_cannot_say_has_lost_its_client(audit: Notebook) -> None:
    class Failing(Call):
        async def receive(self) -> Message:
            if self._incoming.empty():
                raise ConnectionError
            return await super().receive()

    inner = Working()
    call = await Failing(governed(inner, audit)).whole()

    assert call.sent == []
    assert inner.heard == ["cancelled"]
    assert audit.completion.outcome == "client_left"


async def test_a_server_that_repeats_itself_is_heard_out(audit: Notebook) -> None:
    inner = Working()

    async with Call(governed(inner, audit)) as call:
        call.say(b"more")
        call.say(b"and more")
        await soon(call.listening.wait())
        call.leave()
        await call.done()

    assert inner.heard == ["cancelled"]


async def test_small_requests_cost_no_task(audit: Notebook) -> None:
    """Nobody listens before a few milliseconds are over."""
    before = len(asyncio.all_tasks())
    counted: list[int] = []

    async def inner(_scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await start(send, JSON)
        await more(send, b"{}", last=True)
        counted.append(len(asyncio.all_tasks()))

    call = await Call(governed(inner, audit)).whole()

    assert counted == [before + 1]  # the call itself
    assert not call.listening.is_set()


# -- the application fails ------------------------------------------------------------


@pytest.mark.parametrize("streams", [False, True])
async def test_what_the_application_raises_reaches_the_server(
    audit: Notebook, *, streams: bool
) -> None:
    async def inner(_scope: Scope, _receive: Receive, send: Send) -> None:
        if streams:
            await start(send, SSE)
            await more(send, CREATED)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Call(governed(inner, audit)).whole()

    assert audit.events == ["request_forwarded", "exchange_finished"]
    assert audit.completion.outcome == "upstream_error"


async def test_no_answer_at_all_is_the_applications_fault(audit: Notebook) -> None:
    async def inner(_scope: Scope, _receive: Receive, _send: Send) -> None:
        return

    await Call(governed(inner, audit)).whole()

    assert audit.completion.outcome == "upstream_error"
    assert audit.completion.status is None


# -- the server stops -----------------------------------------------------------------


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("listens", [False, True])
async def test_a_shutdown_is_on_record_and_goes_on(
    audit: Notebook, *, streams: bool, listens: bool
) -> None:
    inner = Working(listens=listens, streams=streams)

    async with Call(governed(inner, audit)) as call:
        await soon(inner.busy.wait())
        assert call.task is not None
        call.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.done()

    assert inner.heard == ["cancelled"]
    assert audit.events == ["request_forwarded", "exchange_finished"]
    assert audit.completion.outcome == "shutdown"


async def test_a_shutdown_while_the_body_is_read_is_on_record(audit: Notebook) -> None:
    async with Call(governed(Inner(), audit), body=None) as call:
        call.say(b"{", more=True)
        await soon(call.listening.wait())
        assert call.task is not None
        call.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.done()

    assert audit.events == ["request_malformed", "exchange_finished"]
    assert audit.completion.outcome == "shutdown"


async def test_a_shutdown_while_the_decision_is_written_lets_nothing_on() -> None:
    writing = asyncio.Event()

    class Slow(Notebook):
        async def write(self, records: Any) -> None:
            await super().write(records)
            if not writing.is_set():
                writing.set()
                await asyncio.Event().wait()

    audit, inner = Slow(), Inner()
    async with Call(governed(inner, audit)) as call:
        await soon(writing.wait())
        assert call.task is not None
        call.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.done()

    assert inner.scopes == []
    assert audit.completion.outcome == "shutdown"


async def test_the_last_record_is_written_however_often_a_server_cancels() -> None:
    writing = asyncio.Event()

    class Slow(Notebook):
        async def write(self, records: Any) -> None:
            records = [*records]
            if any(record.event == "imagegate.exchange_finished" for record in records):
                writing.set()
                await asyncio.sleep(0.02)
            await super().write(records)

    audit, inner = Slow(), Working()
    async with Call(governed(inner, audit)) as call:
        await soon(inner.busy.wait())
        assert call.task is not None
        call.task.cancel()
        await soon(writing.wait())
        call.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.done()

    assert audit.completion.outcome == "shutdown"


async def test_a_shutdown_counts_before_a_client_that_left(audit: Notebook) -> None:
    """Both at once: the cancellation is not ours to swallow."""
    ready = asyncio.Event()

    async def inner(_scope: Scope, receive: Receive, _send: Send) -> None:
        await read(receive)
        ready.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.02)
            raise

    async with Call(governed(inner, audit)) as call:
        await soon(ready.wait())
        call.leave()
        await asyncio.sleep(0.01)
        assert call.task is not None
        call.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.done()

    assert audit.completion.outcome == "shutdown"


async def test_many_that_leave_at_any_time_leave_nothing_behind() -> None:
    audits = [Notebook() for _ in range(100)]
    before = asyncio.all_tasks()

    async def inner(_scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await start(send, SSE)
        for number in range(50):
            await more(send, event("response.in_progress", sequence_number=number))
            await asyncio.sleep(0.001)
        await more(send, STREAM[-1], last=True)

    async def one(audit: Notebook, number: int) -> None:
        async with Call(governed(inner, audit)) as call:
            for _ in range(number):
                await call.next()
            call.leave()
            await call.done()

    await asyncio.gather(*(one(audit, n % 50) for n, audit in enumerate(audits)))
    await asyncio.sleep(0)

    assert {audit.completion.outcome for audit in audits} == {"client_left"}
    assert asyncio.all_tasks() == before
