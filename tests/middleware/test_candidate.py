"""A policy that is asked beside the one that acts, and never acts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from driving import (
    GATE,
    TOOL,
    Call,
    Inner,
    Notebook,
    asking,
    gate,
    governed,
    request,
)
from hypothesis import given
from hypothesis import strategies as st
from talking import Provider, accepted, connected

from imagegate.engine.decide import Decider
from imagegate.engine.gate import Gate
from imagegate.engine.records import CandidateRecord, DecisionRecord
from imagegate.gates import Gates
from imagegate.middleware import PolicyMiddleware
from imagegate.seen import MemorySeen, SightLost

pytestmark = pytest.mark.anyio
STRICT = gate("limits: { tools: 1 }\nfields: { unknown: strip }")
HIGH = {**TOOL, "quality": "high"}
STRANGE = {**TOOL, "strange": 1}


async def told(
    audit: Notebook, body: bytes, candidate: Gate, by: Gate = GATE, **more: Any
) -> CandidateRecord:
    """Ask, and return what is told of the candidate."""
    gates = Gates(by, candidate=candidate)
    await Call(governed(Inner(), audit, by=gates, **more), body=[body]).whole()
    assert audit.decision.candidate is not None
    return audit.decision.candidate


async def test_what_it_would_have_decided_is_on_record_and_not_done(
    audit: Notebook,
) -> None:
    inner = Inner()
    gates = Gates(GATE, candidate=STRICT)

    call = await Call(
        governed(inner, audit, by=gates), body=[asking(TOOL, TOOL)]
    ).whole()

    found = audit.decision.candidate
    assert call.status == 200
    assert inner.bodies == [asking(TOOL, TOOL)]
    assert audit.decision.decision == "forward"
    assert found is not None
    assert (found.decision, found.differs) == ("block", True)
    assert [each.rule for each in found.violations] == ["limits.tools.max"]
    assert found.policy_digest == STRICT.digest
    assert found.duration_ms is not None


async def test_what_the_policy_refuses_is_decided_all_the_same(audit: Notebook) -> None:
    found = await told(audit, asking(STRANGE), STRICT)

    assert audit.decision.decision == "block"
    assert (found.decision, found.differs) == ("rewrite", True)


@pytest.mark.parametrize("body", [b"{", asking(TOOL)[:-1], b""])
async def test_what_nobody_can_judge_is_no_difference(
    audit: Notebook, body: bytes
) -> None:
    found = await told(audit, body, STRICT)

    assert audit.decision.event == "imagegate.request_malformed"
    assert (found.decision, found.differs) == ("block", False)


async def test_a_route_that_nobody_knows_is_no_difference(audit: Notebook) -> None:
    gates = Gates(GATE, candidate=STRICT)
    scope = request(path="/v1/unheard-of")

    await Call(governed(Inner(), audit, by=gates), scope).whole()

    assert audit.decision.candidate is not None
    assert audit.decision.candidate.differs is False


async def test_without_one_nothing_is_told(audit: Notebook) -> None:
    await Call(governed(Inner(), audit)).whole()

    assert audit.decision.candidate is None


async def test_whatever_goes_wrong_in_it_holds_nothing_up(
    audit: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    class Failing(Decider):
        def decide(self, _: Any) -> Any:
            raise RecursionError("canary")

    broken = gate("limits: { tools: 1 }")
    broken.decider.__class__ = Failing
    found = await told(audit, asking(HIGH), broken)

    assert audit.decision.decision == "rewrite"
    assert (found.decision, found.differs, found.undecided) == (None, None, "failed")
    said = capsys.readouterr().err
    assert '"imagegate.candidate_failed"' in said
    assert "canary" not in said


class Forgetful(MemorySeen):
    """Counts who asks, and may be lost."""

    def __init__(self, *, lost: bool = False) -> None:
        super().__init__()
        self.lost = lost
        self.asked = 0

    async def find(self, *arguments: Any) -> Any:
        self.asked += 1
        if self.lost:
            raise SightLost("gone")
        return await super().find(*arguments)


SEEN = gate("state: { previous_response: seen }")
ALLOW = gate("state: { previous_response: allow }")
IMAGE_ONCE = b'{"id":"resp_1","object":"response","status":"completed","output":[]}'


@pytest.mark.parametrize(
    ("lost", "decision"), [(False, "forward"), (True, "block")], ids=["kept", "lost"]
)
async def test_what_it_wants_to_have_been_seen_is_looked_up_for_it(
    lost: bool,  # noqa: FBT001 - a parameter of the test
    decision: str,
) -> None:
    seen = Forgetful()
    gates = Gates(ALLOW, candidate=SEEN)
    first, second = Notebook(), Notebook()
    app = governed(Inner(IMAGE_ONCE), first, by=gates, seen=seen)
    await Call(app, body=[asking(TOOL)]).whole()
    seen.lost = lost
    app = governed(Inner(IMAGE_ONCE), second, by=gates, seen=seen)

    body = asking(TOOL, previous_response_id="resp_1")
    call = await Call(app, body=[body]).whole()

    assert call.status == 200
    assert seen.asked == 1
    assert second.decision.candidate is not None
    assert second.decision.candidate.decision == decision


async def test_each_message_of_a_websocket_has_its_own(audit: Notebook) -> None:
    provider, gates = Provider(), Gates(GATE, candidate=STRICT)
    async with connected(audit, provider, by=gates) as client:
        await accepted(client)
        client.ask(TOOL, TOOL)
        heard = await provider.hears()
        client.write("not json")
        refused = await client.refused()
        gates.replace(GATE, candidate=None)
        client.ask(STRANGE)
        await client.refused()
        client.hang_up()
        await client.done()

    decided = [each for each in audit.records if isinstance(each, DecisionRecord)]
    handshake, create, broken, alone = (each.candidate for each in decided)
    assert len(heard["tools"]) == 2
    assert refused[0] == "invalid_json"
    assert handshake is not None
    assert handshake.differs is False
    assert create is not None
    assert (create.decision, create.differs) == ("block", True)
    assert broken is not None
    assert (broken.decision, broken.differs) == ("block", False)
    assert alone is None


@given(
    st.sampled_from([GATE, STRICT, SEEN]),
    st.lists(st.sampled_from([TOOL, HIGH, STRANGE]), max_size=3),
)
def test_it_changes_nothing_for_anybody(candidate: Gate, tools: list[Any]) -> None:
    async def outcome(gates: Gates) -> tuple[Any, ...]:
        audit, inner = Notebook(), Inner()
        app = PolicyMiddleware(inner, gate=gates, audit=audit)
        call = await Call(app, body=[asking(*tools)]).whole()
        decision = audit.decision
        seen = decision.decision, decision.changes, decision.violations
        return call.status, inner.bodies, seen, audit.events

    async def play() -> None:
        alone = await outcome(Gates(GATE))
        assert await outcome(Gates(GATE, candidate=candidate)) == alone

    asyncio.run(play())
