"""Decisions and events written down: all that is said, and nothing more."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from imagegate.engine.decision import (
    Block,
    Change,
    Decision,
    Forward,
    JudgedTool,
    Reason,
    Rewrite,
    Violation,
)
from imagegate.engine.echo import Mismatch
from imagegate.engine.events import FinishedItem, ImageEvent, ImageUsage, Payload
from imagegate.engine.records import (
    CandidateRecord,
    DecisionRecord,
    EchoRecord,
    FindingRecord,
    GeneratingRecord,
    ImageRecord,
    MismatchRecord,
    Record,
    ToolRecord,
)
from imagegate.engine.report import (
    candidate_record,
    common,
    decision_again,
    decision_record,
    decision_told,
    echo_record,
    generating_record,
    image_record,
    mismatch_records,
    pattern_of,
    unjudged_record,
    usage,
)

BASE = Record(
    decision_id="d-1",
    policy="standard",
    policy_digest="5e",
    policy_mode="enforce",
    principal_id="anna",
    principal_team=("design",),
    principal_source="key",
    principal_verified=True,
    provider="openai",
    door="responses.create",
    family="openai",
    transport="http",
)
RULE = Reason(
    rule="settings.quality.max", layer="team", reason="costs\n", owner="ai@example.com"
)
OBSERVED = msgspec.structs.replace(RULE, mode="observe")
TOOL = JudgedTool(
    pointer="/input/2/tools/0",
    carrier="additional_tools",
    requested={"quality": "high"},
    effective={"quality": "high", "size": "auto"},
    enforced={"quality": "medium"},
)
CHANGE = Change(
    pointer="/input/2/tools/0/quality",
    field="quality",
    before="high",
    after="medium",
    by=RULE,
    message="`quality` becomes medium",
)
VIOLATION = Violation(
    pointer="/metadata/sk-12345/tools/0",
    field="type",
    before=None,
    by=OBSERVED,
    message="an image tool has no place here",
)


def finding(**other: object) -> FindingRecord:
    """Write the change down, but for some fields."""
    written = FindingRecord(
        pointer="/input/2/tools/0/quality",
        field="quality",
        verdict="change",
        before="high",
        after="medium",
        rule="settings.quality.max",
        layer="team",
        mode="enforce",
        reason="costs",
    )
    return msgspec.structs.replace(written, **other)


REFUSED = finding(
    pointer="/metadata/?/tools/0",
    field="type",
    verdict="refuse",
    before=None,
    after=None,
    mode="observe",
    code="image_policy_violation",
)
WRITTEN_TOOL = ToolRecord(
    pointer="/input/2/tools/0",
    carrier="additional_tools",
    requested={"quality": "high"},
    effective={"quality": "high", "size": "auto"},
    enforced={"quality": "medium"},
)


NAMES = frozenset({"input", "tools", "quality", "type", "metadata", "svg", "model"})


def decided(decision: Decision, **more: Any) -> DecisionRecord:
    """Write a decision of these tests down."""
    layers = more.pop("layers", ())
    told = decision_told(decision, names=NAMES, layers=layers)
    return decision_record(BASE, {**told, **more})


@pytest.mark.parametrize(
    "decision",
    [
        Forward(tools=(TOOL,), inspected=False),
        Rewrite(tools=(TOOL,), changes=(CHANGE,), observed=(VIOLATION,)),
        Block(violations=(VIOLATION,)),
    ],
    ids=["forward", "rewrite", "block"],
)
def test_what_is_written_again_is_what_is_written_anew(decision: Decision) -> None:
    """With nothing of whoever asked before."""
    told = decision_told(decision, names=NAMES, layers=("baseline",))
    told |= {"route": "/v1/responses", "stream": True}
    other = msgspec.structs.replace(
        BASE, decision_id="d-0", principal_id="jo", trace_id="0a", door=None
    )
    mine = {"principal_matched": {"team": ("a",)}, "prompt_hmac": "aa", "bytes_in": 9}
    theirs = {"principal_matched": {}, "user_hmac": "bb", "principal_proof": "k"}
    asked: list[tuple[Record, dict[str, Any]]]
    asked = [(other, theirs), (BASE, mine), (other, theirs)]

    pattern = pattern_of(told)

    for base, more in asked:
        again = decision_again(pattern, base, more)
        assert again == decision_record(base, {**told, **more})


def test_a_rewritten_request() -> None:
    """What was asked, what was sent, and by which rule; observed rules apart."""
    decision = Rewrite(changes=(CHANGE,), tools=(TOOL,), observed=(VIOLATION,))

    assert decided(decision, layers=("teams.design",), bytes_in=99) == DecisionRecord(
        **common(BASE),
        event="imagegate.request_rewritten",
        decision="rewrite",
        layers=("teams.design",),
        tools=(WRITTEN_TOOL,),
        tools_count=1,
        changes=(finding(),),
        changes_count=1,
        observed=(REFUSED,),
        observed_count=1,
        bytes_in=99,
    )


def test_a_blocked_request() -> None:
    """The status is the one that the client gets."""
    assert decided(Block(violations=(VIOLATION,))) == DecisionRecord(
        **common(BASE),
        event="imagegate.request_blocked",
        decision="block",
        violations=(REFUSED,),
        violations_count=1,
        status=403,
    )


@pytest.mark.parametrize(
    ("decision", "told"),
    [
        (
            Rewrite(changes=(CHANGE,)),
            {"decision": "rewrite", "changes": (finding(),), "changes_count": 1},
        ),
        (
            Block(violations=(VIOLATION,)),
            {"decision": "block", "violations": (REFUSED,), "violations_count": 1},
        ),
        (Forward(), {"decision": "forward"}),
        (None, {}),
    ],
)
def test_what_another_policy_would_have_decided(
    decision: Decision | None, told: dict[str, Any]
) -> None:
    """By as much as is told of a decision, and within the same bounds."""
    found = candidate_record("next\n", "5f", decision, names=NAMES)

    assert found == CandidateRecord(policy="next", policy_digest="5f", **told)


def test_what_else_is_told_of_a_request_goes_with_it() -> None:
    """Whether it could be judged or not."""
    told = {"method": "POST", "route": "/v1/responses", "stream": True}
    record = decided(Forward(), **told)
    unread = unjudged_record(
        BASE, "not_utf8", "", 400, names=NAMES, account={"method": "POST"}
    )

    assert (record.method, record.route, record.stream) == tuple(told.values())
    assert unread.method == "POST"


def test_a_tool_that_was_not_sent_says_so() -> None:
    """With all that it came with."""
    told: dict[str, Any] = {
        "sent": False,
        "deprecated": ("name",),
        "unknown": 2,
        "mask": True,
        "unverified": ("complexity",),
        "enforced": {},
    }
    odd = msgspec.structs.replace(TOOL, **told)
    (written,) = decided(Forward(tools=(odd,))).tools

    assert written == msgspec.structs.replace(WRITTEN_TOOL, **told)


def test_a_forwarded_request() -> None:
    """Seen, or let through unseen because the operator says so."""
    expected = DecisionRecord(
        **common(BASE), event="imagegate.request_forwarded", decision="forward"
    )

    assert decided(Forward()) == expected
    assert decided(Forward(inspected=False)) == msgspec.structs.replace(
        expected, inspected=False
    )


def test_a_request_that_could_not_be_judged() -> None:
    """Its place is kept as far as its names are the API's."""
    assert unjudged_record(
        BASE, "duplicate_key", "/metadata/skabcdef", 400, names=NAMES, bytes_in=7
    ) == DecisionRecord(
        **common(BASE),
        event="imagegate.request_malformed",
        decision="block",
        violations=(
            FindingRecord(
                pointer="/metadata/?",
                field="",
                verdict="refuse",
                before=None,
                rule="always.duplicate_key",
                layer="builtin",
                mode="enforce",
                code="duplicate_key",
            ),
        ),
        violations_count=1,
        status=400,
        bytes_in=7,
    )


@pytest.mark.parametrize(
    ("field", "kept"),
    [
        ("svg.model", "svg.model"),
        ("skabcdef", "?"),
        ("svg.skabcdef", "svg.?"),
        ("", ""),
    ],
)
def test_a_field_that_a_client_made_up_is_not_repeated(field: str, kept: str) -> None:
    """Plain letters can be a secret too."""
    odd = msgspec.structs.replace(CHANGE, field=field)

    assert decided(Rewrite(changes=(odd,))).changes[0].field == kept


def test_lists_have_an_end_and_a_count() -> None:
    """A request with a hundred thousand odd members makes one short record."""
    changes, tools = (CHANGE,) * 1_000, (TOOL,) * 1_000

    record = decided(Rewrite(changes=changes, tools=tools))

    assert (len(record.changes), record.changes_count) == (32, 1_000)
    assert (len(record.tools), record.tools_count) == (32, 1_000)


def test_an_image_that_is_being_made() -> None:
    """In the words of the wire."""
    event = ImageEvent(
        type="response.image_generation_call.generating",
        sequence_number=4,
        output_index=0,
        item_id="ig_1 \n",
    )
    settings = [{"quality": "medium"}]

    assert generating_record(
        BASE, event, "resp_1", settings, "request"
    ) == GeneratingRecord(
        **common(BASE),
        type="response.image_generation_call.generating",
        sequence_number=4,
        output_index=0,
        item_id="ig_1",
        response_id="resp_1",
        settings=({"quality": "medium"},),
        settings_from="request",
    )


MISMATCH = Mismatch(
    at="tools[0]", field="quality", observed="high", sent="medium", by=RULE
)
WRITTEN = MismatchRecord(
    at="tools[0]",
    field="quality",
    observed="high",
    sent="medium",
    rule="settings.quality.max",
    layer="team",
    mode="enforce",
    reason="costs",
)


def test_a_finished_image() -> None:
    """Its size in bytes is told from the base64, which is not decoded."""
    item = FinishedItem(
        type="response.output_item.done",
        sequence_number=7,
        output_index=0,
        item_id="ig_1",
        status="generating",
        action="generate",
        image=Payload(length=4_000, media="png", dimensions="1024x1024"),
        usage=ImageUsage(input_tokens=3, output_tokens=None),
    )

    assert image_record(
        BASE, item, "resp_1", {"quality": "high"}, [MISMATCH]
    ) == ImageRecord(
        **common(BASE),
        type="response.output_item.done",
        sequence_number=7,
        output_index=0,
        item_id="ig_1",
        response_id="resp_1",
        made=True,
        status="generating",
        action="generate",
        quality="high",
        media="png",
        dimensions="1024x1024",
        image_bytes=3_000,
        mismatches=(WRITTEN,),
        usage_image_gen={"input_tokens": 3},
    )


def test_an_image_that_was_not_made() -> None:
    """Nothing is known of it but why; prose in place of a code is not kept."""
    item = FinishedItem(type="images", error_code="no cats, please")

    assert image_record(BASE, item, None, {}, []) == ImageRecord(
        **common(BASE),
        type="images",
        sequence_number=None,
        output_index=None,
        item_id=None,
        response_id=None,
        made=False,
        error_code="other",
    )


def test_a_contradicted_echo() -> None:
    """A value that breaks no rule names none."""
    only = msgspec.structs.replace(MISMATCH, by=None)
    place = {"type": "response.created", "sequence_number": 0, "response_id": "r"}

    assert echo_record(BASE, place, "cut", [MISMATCH, only]) == EchoRecord(
        **common(BASE),
        type="response.created",
        sequence_number=0,
        response_id="r",
        action="cut",
        contradictions=(
            WRITTEN,
            msgspec.structs.replace(WRITTEN, rule="", layer="", mode="", reason=""),
        ),
        contradictions_count=2,
    )
    assert len(mismatch_records([MISMATCH] * 100)) == 32


def test_unknown_usage_is_no_zero() -> None:
    """A number that was not told is not there."""
    assert usage(None) == {}
    assert usage(ImageUsage(output_tokens=0)) == {"output_tokens": 0}
