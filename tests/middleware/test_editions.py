"""A policy that is replaced while requests are on their way."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from driving import (
    TOOL,
    Call,
    Inner,
    Notebook,
    asking,
    gate,
    governed,
    more,
    read,
    soon,
)
from driving import start as begin
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from talking import Provider, accepted, connected, socket

from imagegate.engine.records import DecisionRecord
from imagegate.gates import Gates

pytestmark = pytest.mark.anyio
SEEN = "state: { previous_response: seen }"
ONE, OTHER = gate(SEEN), gate(f"{SEEN}\nfields: {{ unknown: strip }}")
THIRD = gate("limits: { tools: 1 }")
PASSING, CLOSED = gate("surface: { realtime: pass }"), gate()
STRANGE = {**TOOL, "strange": 1}


def digests(audit: Notebook) -> list[str]:
    return [record.policy_digest for record in audit.records]


async def test_the_next_request_is_judged_by_what_holds_then(audit: Notebook) -> None:
    gates = Gates(ONE)
    app = governed(Inner(), audit, by=gates)

    first = await Call(app, body=[asking(STRANGE)]).whole()
    gates.replace(OTHER)
    second = await Call(app, body=[asking(STRANGE)]).whole()

    assert (first.status, second.status) == (403, 200)
    assert digests(audit) == [ONE.digest] * 2 + [OTHER.digest] * 2


async def test_a_request_that_has_begun_ends_under_what_it_began_with(
    audit: Notebook,
) -> None:
    gates, asked, go_on = Gates(ONE), asyncio.Event(), asyncio.Event()

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await read(receive)
        asked.set()
        await go_on.wait()
        await begin(send)
        await more(send, b"{}", last=True)

    async with Call(governed(inner, audit, by=gates), body=None) as call:
        body = asking(TOOL)
        call.say(body[:9], more=True)
        await soon(call.listening.wait())
        gates.replace(OTHER)  # while it is read
        call.say(body[9:])
        await soon(asked.wait())
        gates.replace(THIRD)  # while it is answered
        go_on.set()
        await call.done()

    assert digests(audit) == [ONE.digest] * 2


async def test_each_message_of_a_websocket_is_judged_by_what_holds_then(
    audit: Notebook,
) -> None:
    gates, provider = Gates(ONE), Provider()
    async with connected(audit, provider, by=gates) as client:
        await accepted(client)
        client.ask(STRANGE)
        refused = await client.refused()
        gates.replace(OTHER)
        client.ask(STRANGE)
        heard = await provider.hears()
        provider.turn("created", "resp_1")
        await client.hears()
        gates.replace(ONE)
        client.ask(STRANGE)
        again = await client.refused()
        client.hang_up()
        await client.done()

    decided = [each for each in audit.records if isinstance(each, DecisionRecord)]
    assert refused == again == ("image_policy_violation", None)
    assert "strange" not in heard["tools"][0]
    assert [each.policy_digest for each in decided] == [
        *(ONE.digest, ONE.digest, OTHER.digest, ONE.digest)
    ]
    ended: dict[str, str] = {}
    for record in audit.records:  # of each exchange, every record names one policy
        assert ended.setdefault(record.decision_id, record.policy_digest) == (
            record.policy_digest
        )


async def test_what_was_made_under_another_policy_is_not_steered(
    audit: Notebook,
) -> None:
    gates, provider = Gates(ONE), Provider()
    steer: dict[str, Any] = {
        "type": "response.steer",
        "previous_response_id": "resp_1",
        "input": "y",
    }
    async with connected(audit, provider, by=gates) as client:
        await accepted(client)
        client.ask(TOOL)
        await provider.hears()
        gates.replace(OTHER)  # before the provider says what it is called
        provider.turn("created", "resp_1")
        await client.hears()
        client.write(steer)
        refused = await client.refused()
        gates.replace(ONE)
        client.write(steer)
        heard = await provider.hears()
        client.hang_up()
        await client.done()

    assert refused == ("steering_unjudged", None)
    assert heard["type"] == "response.steer"


async def test_a_websocket_that_passed_unseen_ends_when_it_may_not_any_more(
    audit: Notebook,
) -> None:
    gates, provider = Gates(PASSING), Provider()
    client = connected(audit, provider, scope=socket("/v1/realtime"), by=gates)
    async with client:
        await accepted(client)
        client.write({"a": 1})
        assert await provider.hears() == {"a": 1}
        gates.replace(gate("surface: { realtime: pass }\nlimits: { tools: 1 }"))
        client.write({"a": 2})
        assert await provider.hears() == {"a": 2}
        gates.replace(CLOSED)
        client.write({"a": 3})
        code = await client.is_closed()
        await client.done()

    assert code == 1012
    assert provider.heard.empty()
    assert provider.code == 1012


async def test_a_gate_alone_is_held_for_ever() -> None:
    gates = Gates.of(ONE)

    assert Gates.of(gates) is gates
    assert gates.current.gate is ONE
    assert gates.current.candidate is None
    assert gates.stale == ()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["swap", "ask", "piece"]), max_size=40), st.data())
def test_whatever_happens_when_each_exchange_has_one_version(
    steps: list[str], data: st.DataObject
) -> None:
    """Swaps between any two pieces of any request never show within one."""

    async def play() -> None:
        audit, inner = Notebook(), Inner()
        gates = Gates(ONE)
        app = governed(inner, audit, by=gates)
        open_ones: list[tuple[Call, list[bytes], str]] = []
        told: list[tuple[str, Call]] = []
        body = asking(STRANGE)
        for step in steps:
            if step == "swap":
                other = OTHER if gates.current.gate is ONE else ONE
                gates.replace(other)
            elif step == "ask":
                call = Call(app, body=None)
                await call.__aenter__()
                await soon(call.listening.wait())
                open_ones.append(
                    (call, [body[:7], body[7:]], gates.current.gate.digest)
                )
            elif open_ones:
                number = data.draw(st.integers(0, len(open_ones) - 1))
                call, pieces, digest = open_ones[number]
                call.say(pieces.pop(0), more=bool(pieces))
                if not pieces:
                    await call.done()
                    told.append((digest, call))
                    del open_ones[number]
        for call, _, _ in open_ones:
            call.leave()
            await call.done()
        for digest, call in told:
            assert call.status == (403 if digest == ONE.digest else 200)
            named = call.headers["x-imagegate-decision"]
            under = {
                record.policy_digest
                for record in audit.records
                if record.decision_id == named
            }
            assert under == {digest}
        assert all(b"strange" not in sent for sent in inner.bodies)

    asyncio.run(play())


def test_whoever_reads_while_another_thread_replaces_sees_a_whole_edition() -> None:
    pairs = [(ONE, OTHER), (OTHER, ONE)]
    gates = Gates(ONE, candidate=OTHER)
    over = threading.Event()

    def replace() -> None:
        while not over.is_set():
            for acting, candidate in pairs:
                gates.replace(acting, candidate=candidate)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(20_000):
            edition = gates.current
            assert (edition.gate, edition.candidate) in pairs
    finally:
        over.set()
        thread.join()
