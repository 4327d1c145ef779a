"""How a WebSocket ends, and that everything on it is completed once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from driving import TOOL, Notebook, soon
from starlette.types import Receive, Scope, Send
from talking import GENERATING, Client, Provider, accepted, connected, ended, socket

from imagegate.engine.records import CompletionRecord, GeneratingRecord
from imagegate.middleware import Limits
from imagegate.middleware.conversation import STOPPING

pytestmark = pytest.mark.anyio
QUICK = Limits(grace=0.05)


async def begun(client: Client, provider: Provider, lane: str | None = None) -> None:
    """Bring a connection to the middle of an image."""
    named: dict[str, Any] = {} if lane is None else {"stream_id": lane}
    client.ask(TOOL, **named)
    await provider.hears()
    provider.turn("created", f"resp_{lane}", lane=lane)
    provider.say(GENERATING, item_id="ig_1", **named)
    await client.hears()
    await client.hears()


@pytest.mark.parametrize("code", [1000, 1005, 1006])
async def test_a_client_that_leaves_ends_all_that_is_open(
    code: int, audit: Notebook
) -> None:
    provider = Provider()
    async with connected(audit, provider) as client:
        await accepted(client)
        await begun(client, provider, "a")
        await begun(client, provider, "b")
        client.ask(TOOL, stream_id="a")
        await provider.hears()
        client.hang_up(code)
        await client.done()

    assert provider.code == code
    assert ended(audit) == {
        "connection": "client_left",
        "response.create": "client_left",
        "response.create+": "client_left",
        "response.create++": "client_left",
    }


async def test_an_application_that_does_not_listen_is_cancelled(
    audit: Notebook,
) -> None:
    provider = Provider()
    async with connected(audit, provider, limits=QUICK) as client:
        await accepted(client)
        await begun(client, provider)
        provider.taking.clear()
        client.ask(TOOL)
        client.ask(TOOL)
        client.hang_up()
        await client.done()

    assert provider.cancelled
    assert set(ended(audit).values()) == {"client_left"}


@pytest.mark.parametrize(
    ("code", "outcome"), [(1000, "upstream_error"), (1011, "upstream_error")]
)
async def test_the_code_of_the_application_is_relayed(
    code: int, outcome: str, audit: Notebook
) -> None:
    provider = Provider()
    async with connected(audit, provider) as client:
        await accepted(client)
        await begun(client, provider)
        provider.close(code)
        assert await client.is_closed() == code
        await client.done()

    assert ended(audit) == {"connection": outcome, "response.create": outcome}


async def test_a_server_says_that_it_is_over_when_it_was_closed_from_here(
    audit: Notebook,
) -> None:
    """It is no client that left."""
    provider = Provider()
    async with connected(audit, provider) as client:
        await accepted(client)
        await begun(client, provider)
        closing = asyncio.Event()

        async def sending(message: Any) -> None:
            client.put({"type": "websocket.disconnect", "code": message["code"]})
            await closing.wait()

        client.send = sending  # type: ignore[method-assign] # as uvicorn does it
        provider.close(1011)
        closing.set()
        await client.done()

    assert set(ended(audit).values()) == {"upstream_error"}


async def test_an_idle_connection_that_the_application_closes_is_complete(
    audit: Notebook,
) -> None:
    provider = Provider()
    async with connected(audit, provider) as client:
        await accepted(client)
        provider.close(1000)
        await client.done()

    assert ended(audit) == {"connection": "completed"}


async def test_what_the_application_says_of_the_end_is_on_record(
    audit: Notebook,
) -> None:
    async def forwarder(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        scope["extensions"]["imagegate.outcome"]["ended"] = "timeout"
        await send({"type": "websocket.close", "code": 1011})

    client = await connected(audit, forwarder).whole()

    assert client.sent[-1] == {"type": "websocket.close", "code": 1011}
    assert audit.completion.outcome == "timeout"


async def test_a_failure_of_the_application_reaches_the_server(audit: Notebook) -> None:
    async def failing(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await connected(audit, failing).whole()

    assert audit.completion.outcome == "upstream_error"


async def test_a_failure_of_one_that_was_stopped_is_the_logs_affair(
    audit: Notebook, capsys: Any
) -> None:
    async def failing(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        raise ZeroDivisionError

    async with connected(audit, failing) as client:
        await accepted(client)
        client.hang_up()
        await client.done()

    assert audit.completion.outcome == "completed"
    assert "application_failed_when_stopped" in capsys.readouterr().err


async def test_a_contradicted_echo_ends_the_connection(audit: Notebook) -> None:
    provider = Provider()
    async with connected(audit, provider, limits=QUICK) as client:
        await accepted(client)
        await begun(client, provider, "b")
        client.ask(TOOL, stream_id="a")
        await provider.hears()
        provider.turn("created", quality="high", lane="a")
        assert (await client.hears())["type"] == "response.created"
        assert await client.refused() == ("image_policy_violation", "a")
        assert await client.is_closed() == 1008
        await client.done()

    assert provider.code in {1008, None}
    assert set(ended(audit).values()) == {"cut"}


async def test_an_image_that_cannot_be_recorded_is_not_relayed() -> None:
    audit = Notebook(refusing=lambda record: isinstance(record, GeneratingRecord))
    provider = Provider()
    async with connected(audit, provider, limits=QUICK) as client:
        await accepted(client)
        client.ask(TOOL, stream_id="a")
        await provider.hears()
        provider.say(GENERATING, item_id="ig_1", stream_id="a")
        assert await client.refused() == ("audit_unavailable", "a")
        assert await client.is_closed() == 1013
        await client.done()

    assert set(ended(audit).values()) == {"cut"}
    codes = {
        each.error_code for each in audit.records if isinstance(each, CompletionRecord)
    }
    assert codes == {"audit_unavailable", None}


async def test_a_client_that_does_not_wait_is_closed(audit: Notebook) -> None:
    """What comes is always taken, within a bound."""
    provider = Provider()
    limits = Limits(grace=0.05, waiting=10_000)
    async with connected(audit, provider, limits=limits) as client:
        await accepted(client)
        provider.taking.clear()
        for _ in range(20):
            client.ask(TOOL, input="x" * 1_000)
        assert await client.is_closed() == 1013
        await client.done()

    assert set(ended(audit).values()) == {"cut"}


async def test_one_that_does_not_read_either_ends_all_the_same(
    audit: Notebook,
) -> None:
    provider = Provider()
    limits = Limits(grace=0.05, waiting=10_000)
    async with connected(audit, provider, limits=limits, window=2) as client:
        await accepted(client)
        provider.say("response.queued")
        provider.say("response.queued")
        provider.say("response.queued")
        provider.taking.clear()
        for _ in range(20):
            client.ask(TOOL, input="x" * 1_000)
        await client.done()

    assert len(client.sent) == 2
    assert set(ended(audit).values()) == {"cut"}


async def test_a_server_whose_client_is_gone_ends_it(audit: Notebook) -> None:
    """Newer servers raise in `send`, whatever is said."""
    provider = Provider()
    client = connected(audit, provider, limits=QUICK)
    send = client.send

    async def sending(message: Any) -> None:
        if message["type"] == "websocket.send":
            raise OSError
        await send(message)

    client.send = sending  # type: ignore[method-assign] # a server of another kind
    async with client:
        await accepted(client)
        client.ask(TOOL)
        await provider.hears()
        provider.turn("created")
        await client.done()

    assert set(ended(audit).values()) == {"client_left"}


async def test_a_refusal_for_one_who_is_gone_ends_it(audit: Notebook) -> None:
    provider = Provider()
    client = connected(audit, provider, limits=QUICK)
    send = client.send

    async def sending(message: Any) -> None:
        if message["type"] == "websocket.send":
            raise OSError
        await send(message)

    client.send = sending  # type: ignore[method-assign] # a server of another kind
    async with client:
        await accepted(client)
        client.write("no json")
        await client.done()

    assert ended(audit) == {"connection": "completed", "connection+": "refused"}


@pytest.mark.parametrize("code", [None, 1012])
async def test_a_shutdown_is_on_record(code: int | None, audit: Notebook) -> None:
    """Servers cancel, or close with the code for it."""
    provider = Provider()
    async with connected(audit, provider, limits=QUICK) as client:
        await accepted(client)
        await begun(client, provider)
        if code is None:
            assert client.task is not None
            client.task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await client.done()
        else:
            client.hang_up(code)
            await client.done()

    assert set(ended(audit).values()) == {"shutdown"}


async def test_a_server_that_says_so_lets_images_be_finished(audit: Notebook) -> None:
    provider = Provider()
    stopping = asyncio.Event()
    scope = socket(extensions={STOPPING: stopping})
    async with connected(audit, provider, scope=scope) as client:
        await accepted(client)
        await begun(client, provider, "a")
        stopping.set()
        await asyncio.sleep(0)
        client.ask(TOOL, stream_id="b")
        assert await client.refused() == ("shutting_down", "b")
        provider.turn("completed", "resp_a", lane="a")
        await client.hears()
        assert await client.is_closed() == 1012
        await client.done()

    assert ended(audit) == {
        "connection": "completed",
        "response.create": "completed",
        "connection+": "refused",
    }


async def test_an_idle_connection_ends_at_once_when_the_server_stops(
    audit: Notebook,
) -> None:
    stopping = asyncio.Event()
    scope = socket(extensions={STOPPING: stopping})
    async with connected(audit, Provider(), scope=scope) as client:
        await accepted(client)
        stopping.set()
        assert await client.is_closed() == 1012
        await client.done()

    assert ended(audit) == {"connection": "completed"}


async def test_judging_that_fails_beyond_repair_ends_it(
    audit: Notebook, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("imagegate.engine.connection.Connection.sent", fail)
    provider = Provider()
    async with connected(audit, provider, limits=QUICK) as client:
        await accepted(client)
        client.ask(TOOL)
        await client.done()

    assert provider.heard.empty()
    assert set(ended(audit).values()) == {"upstream_error"}
    assert "connection_failed" in capsys.readouterr().err


async def test_a_hundred_connections_with_leavers_complete_once_each(
    audit: Notebook,
) -> None:
    async def one(number: int) -> None:
        provider = Provider()
        async with connected(audit, provider) as client:
            await accepted(client)
            await begun(client, provider)
            if number % 3:
                provider.turn("completed", "resp_None")
                await client.hears()
            if number % 2:
                client.hang_up()
            else:
                provider.close(1011)
            await client.done()

    await soon(asyncio.gather(*(one(number) for number in range(100))))

    assert len(ended(audit)) == 200
