"""What a process carries at once has an end, and is let go of whatever happens."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest
from driving import (
    ASKING,
    JSON,
    Call,
    Inner,
    Notebook,
    asking,
    governed,
    more,
    read,
    request,
    soon,
    start,
)
from starlette.types import Receive, Scope, Send
from talking import Provider, accepted, connected

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.policy import Principal
from imagegate.middleware import Limits, collecting, load_of
from imagegate.middleware.load import Load

pytestmark = pytest.mark.anyio


class Waiting:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.going = asyncio.Event()
        self.entered = asyncio.Event()
        self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        self.body = await read(receive)
        self.entered.set()
        await self.going.wait()
        await start(send, JSON)
        await more(send, b"{}", last=True)


async def named(scope: Scope) -> Principal:
    name = dict(scope["headers"]).get(b"x-name", b"nobody").decode()
    return Principal(id=name, source="test", verified=True)


def by(name: str) -> Scope:
    return request(headers=[JSON, (b"x-name", name.encode())])


def nothing(load: Load) -> bool:
    return load.exchanges == load.bytes == 0 and not load.of


# -- exchanges ----------------------------------------------------------------------


async def test_one_exchange_too_many_is_refused_and_the_next_is_not(
    audit: Notebook,
) -> None:
    app, limits = Waiting(), Limits(exchanges=2)
    load = load_of(limits)
    inner = governed(app, audit, limits=limits, load=load)
    async with Call(inner) as one, Call(inner) as other:
        async with asyncio.timeout(5):
            while load.exchanges < 2:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0)
        third = await Call(inner).whole()
        assert (third.status, third.code) == (503, "too_many_exchanges")
        assert third.headers["retry-after"] == "1"
        assert third.headers["x-should-retry"] == "true"
        app.going.set()
        await one.done()
        await other.done()

    assert nothing(load)
    assert (await Call(inner).whole()).status == 200


async def test_who_has_as_many_as_allowed_waits_and_others_do_not(
    audit: Notebook,
) -> None:
    app, limits = Waiting(), Limits(exchanges_each=1)
    load = load_of(limits)
    inner = governed(app, audit, limits=limits, load=load, identify=named)
    async with Call(inner, by("ann")) as one:
        await soon(app.entered.wait())
        second = await Call(inner, by("ann")).whole()
        assert (second.status, second.code) == (429, "too_many_exchanges")
        assert json.loads(second.body)["error"]["type"] == "rate_limit_exceeded"
        assert second.headers["retry-after"] == "1"
        app.going.set()
        assert (await Call(inner, by("bo")).whole()).status == 200
        await one.done()

    assert nothing(load)
    rules = [v.rule for r in audit.records for v in getattr(r, "violations", ())]
    assert rules == ["always.too_many_exchanges"]


@pytest.mark.parametrize("how", ["leaves", "malformed", "cancelled", "fails"])
async def test_whatever_becomes_of_an_exchange_it_is_let_go_of(
    audit: Notebook, how: str
) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, send
        await read(receive)
        raise ValueError(how)

    load = load_of(Limits())
    app: Any = failing if how == "fails" else Waiting()
    inner = governed(app, audit, load=load, identify=named)
    body: Any = (b"{",) if how == "malformed" else (ASKING,)
    call = Call(inner, body=body)
    task = asyncio.create_task(call.whole())
    if how in {"leaves", "cancelled"}:
        await soon(app.entered.wait())
        assert (load.exchanges, len(load.of)) == (1, 1)
        if how == "leaves":
            call.leave()
        else:
            assert call.task is not None
            call.task.cancel()
    await asyncio.wait({task}, timeout=5)
    assert task.done()
    if not task.cancelled():
        task.exception()

    assert nothing(load)


# -- bodies -------------------------------------------------------------------------


async def test_bodies_are_held_until_the_application_answers(audit: Notebook) -> None:
    app, load = Waiting(), load_of(Limits())
    async with Call(governed(app, audit, load=load)) as call:
        await soon(app.entered.wait())
        assert load.bytes == len(app.body)
        app.going.set()
        await call.next()
        assert load.bytes == 0
        await call.done()


async def test_a_body_beyond_what_is_held_is_refused(audit: Notebook) -> None:
    limits = Limits(bodies=3_000)
    load = load_of(limits)
    inner = governed(Inner(), audit, limits=limits, load=load)
    large = asking(input="x" * 4_000)

    whole = await Call(inner, request(), (large,)).whole()
    pieces = await Call(inner, request(), (large[:1_500], large[1_500:])).whole()
    squeezed = request(headers=[JSON, (b"content-encoding", b"gzip")])
    bomb = await Call(inner, squeezed, (gzip.compress(large),)).whole()

    for call in (whole, pieces, bomb):
        assert (call.status, call.code) == (503, "too_many_bodies")
        assert call.headers["retry-after"] == "1"
    assert nothing(load)
    assert (await Call(inner).whole()).status == 200


async def test_twenty_bombs_at_once_hold_no_more_than_is_allowed(
    audit: Notebook,
) -> None:
    limits = Limits(bodies=20_000_000)
    load = load_of(limits)
    most = 0

    class Watching(Load):
        def take_bytes(self, number: int) -> None:
            nonlocal most
            super().take_bytes(number)
            most = max(most, self.bytes)

    load = Watching(limits.exchanges, None, limits.bodies)
    inner = governed(Inner(), audit, limits=limits, load=load)
    bomb = gzip.compress(b'{"input":"' + b" " * 7_000_000 + b'"}')
    squeezed = request(headers=[JSON, (b"content-encoding", b"gzip")])

    calls = await asyncio.gather(
        *(Call(inner, dict(squeezed), (bomb,)).whole() for _ in range(20))
    )

    assert {call.status for call in calls} <= {200, 503}
    assert 503 in {call.status for call in calls}
    assert most <= limits.bodies
    assert nothing(load)


async def test_messages_that_wait_count_too(audit: Notebook) -> None:
    limits = Limits(bodies=10_000)
    load = load_of(limits)
    provider = Provider()
    provider.taking.clear()
    async with connected(audit, provider, limits=limits, load=load) as client:
        await accepted(client)
        for _ in range(8):
            client.ask(input="x" * 2_000)
        assert await client.is_closed() == 1013
        await client.done()

    assert nothing(load)


async def test_messages_of_a_websocket_are_exchanges(audit: Notebook) -> None:
    limits = Limits(exchanges=2)
    load = load_of(limits)
    provider = Provider()
    async with connected(audit, provider, limits=limits, load=load) as client:
        await accepted(client)
        assert load.exchanges == 1
        for place in (1, 2):  # the first goes in the place of the connection
            client.ask()
            await provider.hears()
            assert load.exchanges == place
        client.ask()
        assert (await client.refused())[0] == "too_many_exchanges"
        provider.turn("created")
        provider.turn("completed", status="completed")
        await client.hears()
        await client.hears()
        assert load.exchanges == 1
        client.ask()
        await provider.hears()
        client.hang_up()
        await client.done()

    assert nothing(load)


async def test_who_may_have_one_exchange_can_ask_on_a_websocket(
    audit: Notebook,
) -> None:
    limits = Limits(exchanges=1, exchanges_each=1)
    load = load_of(limits)
    more: dict[str, Any] = {"limits": limits, "load": load, "identify": named}
    provider = Provider()
    async with connected(audit, provider, **more) as client:
        await accepted(client)
        for ident in ("resp_1", "resp_2"):
            client.ask()
            await provider.hears()
            client.ask()
            assert (await client.refused())[0] == "too_many_exchanges"
            provider.turn("created", ident)
            provider.turn("completed", ident, status="completed")
            await client.hears()
            await client.hears()
        client.write("no JSON")
        assert (await client.refused())[0] == "invalid_json"
        client.ask()
        await provider.hears()
        client.hang_up()
        await client.done()

    assert nothing(load)


# -- dripping -----------------------------------------------------------------------


async def test_a_body_that_drips_wins_little_time(
    audit: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_UNHURRIED", 0.1)
    inner = governed(Inner(), audit, limits=Limits(rate=100))
    call = Call(inner, body=None)
    async with call:
        for _ in range(3):
            call.say(b"xx", more=True)
        await call.done()

    assert (call.status, call.code) == (408, "body_too_slow")


async def test_a_body_that_comes_well_has_all_its_time(
    audit: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_UNHURRIED", 0.2)
    inner = governed(Inner(), audit, limits=Limits(rate=100))
    call = Call(inner, body=None)
    async with call:
        for at in range(0, len(ASKING), 40):
            call.say(ASKING[at : at + 40], more=at + 40 < len(ASKING))
            await asyncio.sleep(0.1)
        await call.done()

    assert call.status == 200


def test_what_was_never_taken_is_not_given_back() -> None:
    load = Load(1, 1, 10)
    with load.carry() as one:
        one.exchange()
        one.of(Principal(id="a"))
        one.grow(10)
        with load.carry() as other:
            with pytest.raises(MalformedRequest):
                other.exchange()
            with pytest.raises(MalformedRequest):
                other.of(Principal(id="a"))
            with pytest.raises(MalformedRequest):
                other.grow(1)
        assert (load.exchanges, load.bytes) == (1, 10)

    assert nothing(load)


async def test_a_crowd_begins_a_few_in_a_round_in_the_order_in_which_it_came() -> None:
    """So that what is under way gets its rounds in between."""
    load = Load(1_000, None, 10)
    begun: list[list[int]] = [[]]

    def count_rounds() -> None:
        begun.append([])
        if sum(map(len, begun)) < 100:
            asyncio.get_running_loop().call_soon(count_rounds)

    async def begin(number: int) -> None:
        await load.turn()
        begun[-1].append(number)

    async with asyncio.TaskGroup() as tasks:
        for number in range(100):
            tasks.create_task(begin(number))
        asyncio.get_running_loop().call_soon(count_rounds)

    assert [each for some in begun for each in some] == [*range(100)]
    assert max(map(len, begun)) == 16


async def test_who_leaves_before_his_turn_takes_nobody_elses() -> None:
    load = Load(1_000, None, 10)
    tasks = [asyncio.create_task(load.turn()) for _ in range(40)]
    await asyncio.sleep(0)
    for task in tasks[16:39]:
        task.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait(tasks)
        await load.turn()

    assert sum(task.cancelled() for task in tasks) == 23


async def test_who_is_alone_does_not_wait_for_a_round() -> None:
    load = Load(1_000, None, 10)
    rounds: list[None] = []
    asyncio.get_running_loop().call_soon(rounds.append, None)
    await load.turn()

    assert not rounds


async def test_who_has_too_many_is_told_before_it_is_his_turn(audit: Notebook) -> None:
    """Or whoever asks too much would let all others wait."""
    app, limits = Waiting(), Limits(exchanges_each=1)
    load = load_of(limits)
    inner = governed(app, audit, limits=limits, load=load, identify=named)
    async with Call(inner, by("ann")) as one:
        await soon(app.entered.wait())
        crowd = [asyncio.ensure_future(load.turn()) for _ in range(5_000)]
        await asyncio.sleep(0)
        second = await Call(inner, by("ann")).whole()
        waiting = sum(not each.done() for each in crowd)
        app.going.set()
        await one.done()
        await asyncio.wait(crowd)

    assert second.status == 429
    assert waiting


@pytest.mark.parametrize("waiting", [0, 40])
def test_a_loop_that_was_stopped_amid_a_round_holds_up_no_other(waiting: int) -> None:
    load = load_of(Limits())
    stopped = asyncio.new_event_loop()

    async def stop() -> None:
        await load.turn()
        stopped.stop()

    tasks = [stopped.create_task(load.turn()) for _ in range(waiting)]
    tasks.append(stopped.create_task(stop()))
    stopped.call_soon(stopped.stop)
    stopped.run_forever()
    for task in tasks:
        task.cancel()

    async def many() -> None:
        async with asyncio.timeout(5):
            await asyncio.gather(*(load.turn() for _ in range(40)))

    asyncio.run(many())
    stopped.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    stopped.close()
