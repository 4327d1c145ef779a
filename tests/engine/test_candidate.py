"""What another policy would have decided, told beside what was decided."""

from __future__ import annotations

from typing import Any

import pytest
from asking import CATALOGUE, TODAY, body, door, policy, tool
from asking import request as asks
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.candidate import decided_beside, failed_beside, refused_beside
from imagegate.engine.gate import Context, Gate
from imagegate.engine.records import CandidateRecord

LOW = "settings: { quality: { max: low, default: low, otherwise: lower } }\n"
MEDIUM = LOW.replace("low,", "medium,")
HIGH = "settings: { quality: { max: high, default: high, otherwise: lower } }\n"
NONE = "settings: { quality: { allow: [low], default: low, otherwise: block } }\n"


def gate(text: str = "") -> Gate:
    return Gate(policy(text), CATALOGUE)


def beside(one: Gate, other: Gate, value: Any, target: str = "") -> CandidateRecord:
    """Decide by one, and then by the other."""
    match = door(target or "POST /v1/responses")
    context = Context(decision_id="d", door=match, date=TODAY)
    asked = context.asks(match, None if value is None else body(value, match))
    return decided_beside(other, asked, one.decider.decide(asked))


@pytest.mark.parametrize(
    ("one", "other", "quality", "decision", "differs"),
    [
        (LOW, LOW, "low", "forward", False),
        (LOW, HIGH, "low", "forward", False),
        (LOW, HIGH, "high", "forward", True),
        (LOW, MEDIUM, "high", "rewrite", True),
        (LOW, MEDIUM, "low", "forward", False),
        (LOW, NONE, "high", "block", True),
        (NONE, LOW, "high", "rewrite", True),
        (NONE, NONE, "high", "block", False),
        (
            NONE,
            NONE.replace(" low", " medium").replace("[low", "[medium"),
            "high",
            "block",
            False,
        ),
    ],
)
def test_it_differs_where_something_else_would_have_gone_on(
    one: str, other: str, quality: str, decision: str, *, differs: bool
) -> None:
    """For another reason is no other decision."""
    found = beside(gate(one), gate(other), asks(tool(quality=quality)))

    assert (found.decision, found.differs, found.undecided) == (decision, differs, None)


def test_it_says_what_it_would_have_done_and_by_which_rule() -> None:
    """By as much as is told of the policy that acts."""
    other = gate(LOW)

    changed = beside(gate(HIGH), other, asks(tool(quality="high")))
    refused = beside(gate(HIGH), gate(NONE), asks(tool(quality="high")))

    change = next(each for each in changed.changes if each.field == "quality")
    assert (change.before, change.after) == ("high", "low")
    assert change.rule == "settings.quality.max"
    assert changed.changes_count == len(changed.changes)
    assert (changed.policy, changed.policy_digest) == ("p", other.digest)
    assert [each.rule for each in refused.violations] == ["settings.quality.allow"]
    assert refused.violations_count == 1


def test_a_request_without_images_is_forwarded_by_both() -> None:
    """And that is told as well."""
    found = beside(gate(LOW), gate(HIGH), {"model": "gpt-5", "input": "x"})

    assert (found.decision, found.differs) == ("forward", False)


def test_a_body_that_nobody_read_is_not_guessed_at() -> None:
    """The policy in force does not look at it, and the candidate would."""
    opened, target = gate("surface: { images_api: pass }\n"), "POST /v1/images/edits"

    found = beside(opened, gate(), None, target)
    same = beside(opened, opened, None, target)

    assert (found.decision, found.differs, found.undecided) == (None, None, "unread")
    assert (same.decision, same.differs) == ("forward", False)


def test_a_handshake_has_no_body_to_read() -> None:
    """Its messages are decided about one by one."""
    refusing = gate("surface: { websocket: refuse }\n")

    found = beside(gate(), refusing, None, "WEBSOCKET /v1/responses")

    assert (found.decision, found.differs) == ("block", True)


def test_what_nobody_can_judge_is_refused_by_every_policy() -> None:
    """So it is no difference."""
    other = gate(LOW)

    assert refused_beside(other) == CandidateRecord(
        policy="p", policy_digest=other.digest, decision="block", differs=False
    )


def test_one_that_failed_says_so() -> None:
    """And not what it would have decided."""
    other = gate(LOW)

    assert failed_beside(other) == CandidateRecord(
        policy="p", policy_digest=other.digest, undecided="failed"
    )


@given(
    st.sampled_from([LOW, HIGH, NONE, ""]),
    st.sampled_from([LOW, HIGH, NONE, ""]),
    st.lists(st.sampled_from(["low", "medium", "high", "auto", None]), max_size=3),
)
def test_it_is_what_that_policy_decides_when_it_acts(
    one: str, other: str, qualities: list[str | None]
) -> None:
    """And a policy never differs from itself."""
    value = asks(*(tool(**({"quality": each} if each else {})) for each in qualities))
    first, second = gate(one), gate(other)
    match = door()
    asked = Context(decision_id="d", door=match, date=TODAY).asks(match, body(value))

    found = decided_beside(second, asked, first.decider.decide(asked))
    turned = decided_beside(first, asked, second.decider.decide(asked))
    itself = decided_beside(second, asked, second.decider.decide(asked))

    acting = type(second.decider.decide(asked)).__name__.lower()
    assert found.decision == itself.decision == acting
    assert itself.differs is False
    assert found.differs == turned.differs
