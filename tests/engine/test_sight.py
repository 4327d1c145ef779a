"""State at the provider: what is left there, and what of it may be referred to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from asking import AZURE, CATALOGUE, DESIGN, TODAY, body, door, policy, request, tool

from imagegate.engine.decide import Decider
from imagegate.engine.exchange import Exchange
from imagegate.engine.gate import Context, Gate
from imagegate.engine.records import MAX_ENTRIES, DecisionRecord, Settings
from imagegate.engine.request import Request
from imagegate.engine.sight import (
    UNSEEN,
    UNTOLD,
    knows_items,
    left_by,
    passes,
    refers_to,
)

SEEN = "state: { conversation: seen, previous_response: seen, item_reference: seen }\n"
CAP = "settings: { quality: { max: medium, default: medium, otherwise: lower } }\n"
HIGH = "settings: { quality: { max: high, default: high, otherwise: lower } }\n"


def asked(value: Any, at: str = "POST /v1/responses") -> Request:
    match = door(at)
    return Request(match=match, date=TODAY, body=body(value, match))


def record(rules: str, value: Any, at: str = "POST /v1/responses") -> DecisionRecord:
    match = door(at)
    context = Context(decision_id="d", door=match, date=TODAY)
    exchange = Exchange(Gate(policy(rules), CATALOGUE), context)
    found = exchange.request(body(value, match)).record
    assert isinstance(found, DecisionRecord)
    return found


# -- referring ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "names"),
    [
        ({}, ()),
        ({"previous_response_id": "resp_1"}, ("resp_1",)),
        ({"conversation": "conv_1"}, ("conv_1",)),
        ({"conversation": {"id": "conv_1"}}, ("conv_1",)),
        ({"conversation": {"name": "x"}}, ()),
        ({"previous_response_id": "r", "conversation": "c"}, ("c", "r")),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, ("msg_1",)),
        ({"prompt": {"id": "pmpt_1"}}, ()),
    ],
)
def test_ids_are_asked_for_where_they_have_to_be_seen(
    members: dict[str, Any], names: tuple[str, ...]
) -> None:
    found = refers_to(Decider(policy(SEEN), CATALOGUE), asked(request(**members)))

    assert set(found) == set(names)


def test_what_is_allowed_or_refused_anyway_is_not_asked_for() -> None:
    members = {"previous_response_id": "r", "conversation": "c"}
    rules = "state: { conversation: allow, previous_response: refuse }\n"

    assert refers_to(Decider(policy(rules), CATALOGUE), asked(request(**members))) == ()


def test_rules_that_are_only_observed_are_asked_about_too() -> None:
    """Their verdict would be wrong else."""
    head = "version: 1\nname: p\nowner: o\nmode: observe\n"
    decider = Decider(policy(SEEN, head=head), CATALOGUE)

    assert refers_to(decider, asked(request(previous_response_id="r"))) == ("r",)


@pytest.mark.parametrize(
    ("rules", "known"),
    [
        (SEEN, True),
        ("state: { previous_response: seen }\n", False),
        ("state: { item_reference: allow }\n", False),
    ],
)
@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_items_are_known_where_they_have_to_be_seen(
    mode: str, rules: str, *, known: bool
) -> None:
    """Where nobody asks for them, room is spared."""
    head = f"version: 1\nname: p\nowner: o\nmode: {mode}\n"
    decider = Decider(policy(rules, head=head), CATALOGUE)

    assert knows_items(decider, asked(request())) is known


def test_requests_without_a_body_or_of_another_kind_refer_to_nothing() -> None:
    decider = Decider(policy(SEEN), CATALOGUE)
    bodiless = Request(match=door(), date=TODAY)
    items = asked({"items": []}, "POST /v1/conversations")

    assert refers_to(decider, bodiless) == ()
    assert refers_to(decider, items) == ()


# -- leaving ------------------------------------------------------------------------


def test_the_tools_are_left_as_they_were_sent() -> None:
    made = record(CAP, request(tool(quality="high")))

    [left] = left_by(made) or ()
    assert left["quality"] == "medium"


def test_tools_that_were_not_sent_are_not_left() -> None:
    assert left_by(record("tool: strip\n", request(tool()))) == ()


def test_what_was_there_is_left_too_and_once() -> None:
    made = record(CAP, request(tool(quality="low")))
    own = left_by(made)
    assert own is not None
    other = {"quality": "medium"}

    assert left_by(made, [own, [other], [other]]) == (*own, other)


def test_what_nobody_looked_at_leaves_what_nobody_knows() -> None:
    """A door may be opened; what went through it was not judged for that."""
    found = msgspec.structs.replace(record("", request()), inspected=False)

    assert left_by(found) is None
    for rules in ("", CAP, "tool: strip\n", "fields: { unknown_values: pass }\n"):
        decider = Decider(policy(rules), CATALOGUE)
        assert not passes(decider, asked(request()), [UNSEEN])
        assert not passes(decider, asked(request()), [UNTOLD])


ALLOWED = (
    "state: { conversation: allow, previous_response: allow, item_reference: allow, "
    "agents: allow, prompt: [pmpt_1] }\n"
)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"previous_response_id": "r"}, (UNTOLD,)),
        ({"conversation": "c"}, (UNTOLD,)),
        ({"input": [{"type": "item_reference", "id": "i"}]}, (UNTOLD,)),
        ({"prompt": {"id": "pmpt_1"}}, ({"state.prompt": "pmpt_1"},)),
        (
            {"agent_reference": {"name": "writer"}},
            ({"state.agents": "a string of 6 characters"},),
        ),
        ({}, ()),
    ],
)
def test_what_was_allowed_unseen_is_not_known_for_being_gone_on_from(
    members: dict[str, Any], expected: tuple[Settings, ...]
) -> None:
    """Of turns nobody knows anything; what a prompt has is part of its review."""
    assert left_by(record(ALLOWED, request(**members))) == expected


@pytest.mark.parametrize(
    ("rules", "member", "untold"),
    [
        ("fields: { unknown: pass }\n", "strange", True),
        ("fields: { unknown: strip }\n", "strange", False),
        ("fields: { deprecated: pass }\n", "description", True),
        ("", "description", False),
    ],
)
def test_a_tool_is_not_known_of_which_not_all_is_told(
    rules: str, member: str, *, untold: bool
) -> None:
    """Members that no policy knows are counted, and nobody could judge them again."""
    left = left_by(record(rules, request(tool(**{member: "x"})), AZURE))

    assert (UNTOLD in (left or ())) is untold


def test_what_is_behind_the_last_reference_that_is_told_is_not_known() -> None:
    made = record(ALLOWED, request(prompt="pmpt_1", agent="writer"))
    more = msgspec.structs.replace(made, references_count=MAX_ENTRIES + 1)

    assert UNTOLD not in (left_by(made) or ())
    assert UNTOLD in (left_by(more) or ())


@pytest.mark.parametrize(
    ("now", "fine"),
    [
        ("state: { prompt: [pmpt_1, pmpt_2] }\n", True),
        ("state: { prompt: allow }\n", True),
        ("state: { prompt: [pmpt_2] }\n", False),
        ("state: { prompt: refuse }\n", False),
        ("", False),
        (CAP, False),
    ],
)
def test_state_that_a_prompt_was_in_passes_where_the_prompt_does(
    now: str, *, fine: bool
) -> None:
    left = left_by(record(ALLOWED, request(prompt={"id": "pmpt_1", "version": "2"})))
    assert left == ({"state.prompt": "pmpt_1@2"},)

    assert passes(Decider(policy(now), CATALOGUE), asked(request()), left) is fine


def test_too_many_tools_are_not_told_of() -> None:
    """What is not known to the last of it must not be taken for known."""
    made = record(CAP, request())
    many = [{"size": f"{number}x1"} for number in range(MAX_ENTRIES + 1)]

    assert left_by(made, [many]) is None
    assert left_by(msgspec.structs.replace(made, tools_count=99)) is None
    assert left_by(msgspec.structs.replace(made, whole=False)) is None


# -- passing ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("then", "now", "fine"),
    [
        (CAP, CAP, True),
        (CAP, HIGH, True),
        (HIGH, CAP, False),
        (CAP, "tool: block\n", False),
        (CAP, "tool: strip\n", False),
    ],
)
def test_state_passes_under_a_policy_that_is_no_stricter(
    then: str, now: str, *, fine: bool
) -> None:
    left = left_by(record(then, request(tool(quality="high"))))
    assert left is not None

    assert passes(Decider(policy(now), CATALOGUE), asked(request()), left) is fine


def test_state_without_tools_passes() -> None:
    assert passes(Decider(policy("tool: block\n"), CATALOGUE), asked(request()), ())


def test_what_else_a_request_gets_does_not_matter() -> None:
    """The state brings tools; the rest is said by each request anew."""
    rules = CAP + "limits: { max_tool_calls: 2 }\n"
    left = left_by(record(rules, request(tool(quality="low"))))
    assert left is not None

    assert passes(Decider(policy(rules), CATALOGUE), asked(request()), left)


def test_it_is_judged_for_the_one_who_asks() -> None:
    rules = CAP + (
        "teams:\n  design:\n    match: { team: design }\n"
        "    settings: { quality: { max: high, loosens: true } }\n"
    )
    decider = Decider(policy(rules), CATALOGUE)
    tools = ({"quality": "high"},)

    assert not passes(decider, asked(request()), tools)
    designer = msgspec.structs.replace(asked(request()), principal=DESIGN)
    assert passes(decider, designer, ({"quality": "high"},))


@pytest.mark.parametrize(
    ("name", "fine"), [("svg.model", True), ("svg.strange", False), ("strange", False)]
)
def test_members_of_members_find_their_place(name: str, *, fine: bool) -> None:
    """Written flat in a record, they are known only where they belong."""
    decider = Decider(policy("fields: { unknown: block }\n"), CATALOGUE)
    tools: list[Settings] = [{"model": "gpt-image-2.6-sunburst", name: "gpt-5"}]

    assert passes(decider, asked(request()), tools) is fine


def test_a_batch_asks_for_its_file_whatever_the_policy_says_of_state() -> None:
    decider = Decider(policy(), CATALOGUE)
    value = {"input_file_id": "file-1", "endpoint": "/v1/responses"}

    assert refers_to(decider, asked(value, "POST /v1/batches")) == (
        "file-1@/responses",
    )
    assert refers_to(decider, asked({}, "POST /v1/batches")) == ()
