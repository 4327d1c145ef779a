"""Decisions and events, written down: from what was found to what is kept.

This is the only way from a value that others made into a record, so it is here
that every string is bounded and every list has an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, Literal

import msgspec

from imagegate.engine.decision import (
    Block,
    Change,
    Decision,
    Forward,
    JudgedTool,
    Rewrite,
    Violation,
)
from imagegate.engine.echo import Mismatch
from imagegate.engine.events import FinishedItem, ImageEvent, ImageUsage
from imagegate.engine.records import (
    MAX_ENTRIES,
    CandidateRecord,
    DecisionRecord,
    EchoRecord,
    FindingRecord,
    GeneratingRecord,
    ImageRecord,
    MismatchRecord,
    Record,
    Settings,
    ToolRecord,
    ident,
    label,
    place,
    word,
)

_NOBODY: Final = Record(
    decision_id="",
    policy="",
    policy_digest="",
    policy_mode="enforce",
    principal_id="",
    principal_source="",
    principal_verified=False,
    transport="http",
)
_BASE64: Final = (3, 4)  # bytes in so many characters
_WORDS: Final[Mapping[type, Literal["forward", "rewrite", "block"]]] = {
    Forward: "forward",
    Rewrite: "rewrite",
    Block: "block",
}


def common(record: Record) -> dict[str, Any]:
    """Return what all records of an exchange share, to begin each with."""
    shared = msgspec.structs.asdict(record)
    del shared["event"]
    return shared


def decision_record(base: Record, told: Mapping[str, Any]) -> DecisionRecord:
    """Write a decision down.

    Args:
        base: What all records share.
        told: What is told of the decision, and of the request.
    """
    return DecisionRecord(**{**common(base), **told})


def pattern_of(told: Mapping[str, Any]) -> DecisionRecord:
    """Write a decision down that nobody has asked for yet."""
    return decision_record(_NOBODY, told)


def decision_again(
    pattern: DecisionRecord, base: Record, told: Mapping[str, Any]
) -> DecisionRecord:
    """Write a decision down that was written before.

    Args:
        pattern: As `pattern_of` gave it; of its own it has what was decided.
        base: What all records share.
        told: What else is told of this request, or of who asks.
    """
    return msgspec.structs.replace(pattern, **{**common(base), **told})


def decision_told(
    decision: Decision, *, names: AbstractSet[str], layers: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what the record tells of a decision.

    Args:
        decision: The decision.
        names: Those that members have by the API's documents; any other may be a
            secret that somebody pasted into the wrong place.
        layers: The layers that held besides the baseline.
    """
    changes: Sequence[Change] = ()
    violations: Sequence[Violation] = ()
    done: dict[str, Any] = {
        "event": "imagegate.request_forwarded",
        "decision": "forward",
    }
    match decision:
        case Rewrite():
            changes = decision.changes
            done = {"event": "imagegate.request_rewritten", "decision": "rewrite"}
        case Block():
            violations = decision.violations
            done = {"event": "imagegate.request_blocked", "decision": "block"}
            done["status"] = decision.status
        case _:
            done["inspected"] = decision.inspected
    return {
        **done,
        "layers": tuple(label(name) for name in layers[:MAX_ENTRIES]),
        "tools": tuple(_tool(tool, names) for tool in decision.tools[:MAX_ENTRIES]),
        "tools_count": len(decision.tools),
        "changes": _findings(changes, names),
        "changes_count": len(changes),
        "violations": _findings(violations, names),
        "violations_count": len(violations),
        "observed": _findings(decision.observed, names),
        "observed_count": len(decision.observed),
    }


def candidate_record(  # noqa: PLR0913 - what is known of it
    policy: str,
    digest: str,
    decision: Decision | None = None,
    *,
    names: AbstractSet[str] = frozenset(),
    differs: bool | None = None,
    undecided: Literal["failed", "unread"] | None = None,
) -> CandidateRecord:
    """Write down what another policy would have decided.

    Args:
        policy: Its name.
        digest: Its digest.
        decision: The decision, if there is one.
        names: As for `decision_record`.
        differs: Whether something else would have gone on.
        undecided: Why there is none.
    """
    changes = decision.changes if isinstance(decision, Rewrite) else ()
    violations = decision.violations if isinstance(decision, Block) else ()
    return CandidateRecord(
        policy=label(policy),
        policy_digest=digest,
        decision=None if decision is None else _WORDS[type(decision)],
        differs=differs,
        undecided=undecided,
        changes=_findings(changes, names),
        changes_count=len(changes),
        violations=_findings(violations, names),
        violations_count=len(violations),
    )


def unjudged_record(  # noqa: PLR0913 - what is known of it
    base: Record,
    code: str,
    pointer: str,
    status: int,
    *,
    names: AbstractSet[str],
    account: Mapping[str, Any] | None = None,
    bytes_in: int | None = None,
) -> DecisionRecord:
    """Write down that a request could not be judged, and so was refused."""
    finding = FindingRecord(
        pointer=place(pointer, names),
        field="",
        verdict="refuse",
        before=None,
        rule=f"always.{code}",
        layer="builtin",
        mode="enforce",
        code=code,
    )
    return DecisionRecord(
        **common(base),
        **(account or {}),
        event="imagegate.request_malformed",
        decision="block",
        violations=(finding,),
        violations_count=1,
        status=status,
        bytes_in=bytes_in,
    )


def generating_record(
    base: Record,
    event: ImageEvent,
    response_id: str | None,
    settings: Sequence[Settings],
    settings_from: Literal["request", "echo", "unknown"],
) -> GeneratingRecord:
    """Write down that an image is being made."""
    return GeneratingRecord(
        **common(base),
        **_place_of(event),
        response_id=ident(response_id),
        settings=tuple(settings[:MAX_ENTRIES]),
        settings_from=settings_from,
    )


def image_record(
    base: Record,
    item: FinishedItem,
    response_id: str | None,
    values: dict[str, Any],
    mismatches: Sequence[Mismatch],
) -> ImageRecord:
    """Write down what became of an image call.

    Args:
        base: What all records share.
        item: The call.
        response_id: The answer it belongs to.
        values: The item's settings, fit to be shown.
        mismatches: Where they are not what was enforced.
    """
    image = item.image
    many, few = _BASE64
    return ImageRecord(
        **common(base),
        **_place_of(item),
        **values,
        response_id=ident(response_id),
        made=item.has_result,
        status=word(item.status),
        action=word(item.action),
        media=image.media if image else None,
        dimensions=image.dimensions if image else None,
        image_bytes=image.length * many // few if image else None,
        error_code=word(item.error_code),
        mismatches=mismatch_records(mismatches),
        usage_image_gen=usage(item.usage),
    )


def echo_record(
    base: Record,
    place: dict[str, Any],
    action: Literal["cut", "cancel", "recorded"],
    contradictions: Sequence[Mismatch],
) -> EchoRecord:
    """Write down that an echo contradicts the policy.

    Args:
        base: What all records share.
        place: Where it was echoed: `type`, `sequence_number`, `response_id`.
        action: What is done about it.
        contradictions: What it says.
    """
    return EchoRecord(
        **common(base),
        **place,
        action=action,
        contradictions=mismatch_records(contradictions),
        contradictions_count=len(contradictions),
    )


def usage(tokens: ImageUsage | None) -> dict[str, int]:
    """Keep the numbers that are known."""
    if tokens is None:
        return {}
    counted = msgspec.structs.asdict(tokens)
    return {name: count for name, count in counted.items() if count is not None}


def mismatch_records(found: Sequence[Mismatch]) -> tuple[MismatchRecord, ...]:
    """Write down values that are not what they should be."""
    return tuple(_mismatch(item) for item in found[:MAX_ENTRIES])


def _mismatch(item: Mismatch) -> MismatchRecord:
    said: dict[str, str] = {}
    if item.by is not None:
        by = item.by
        said = {"rule": by.rule, "layer": by.layer, "mode": by.mode}
        said["reason"] = label(by.reason)
    return MismatchRecord(
        at=item.at, field=item.field, observed=item.observed, sent=item.sent, **said
    )


def _place_of(event: ImageEvent | FinishedItem) -> dict[str, Any]:
    return {
        "type": event.type,
        "sequence_number": event.sequence_number,
        "output_index": event.output_index,
        "item_id": ident(event.item_id),
    }


def _tool(tool: JudgedTool, names: AbstractSet[str]) -> ToolRecord:
    return ToolRecord(
        pointer=place(tool.pointer, names),
        carrier=tool.carrier,
        requested=tool.requested,
        effective=tool.effective,
        enforced=tool.enforced,
        sent=tool.sent,
        deprecated=tool.deprecated,
        unknown=tool.unknown,
        mask=tool.mask,
        unverified=tool.unverified,
    )


def _findings(
    said: Iterable[Change | Violation], names: AbstractSet[str]
) -> tuple[FindingRecord, ...]:
    return tuple(_finding(item, names) for item in list(said)[:MAX_ENTRIES])


def _finding(item: Change | Violation, names: AbstractSet[str]) -> FindingRecord:
    changed = isinstance(item, Change)
    steps = item.field.split(".")
    return FindingRecord(
        pointer=place(item.pointer, names),
        field=".".join(step if not step or step in names else "?" for step in steps),
        verdict="change" if changed else "refuse",
        before=item.before,
        after=item.after if isinstance(item, Change) else None,
        rule=item.by.rule,
        layer=item.by.layer,
        mode=item.by.mode,
        reason=label(item.by.reason),
        code=None if isinstance(item, Change) else item.code,
    )
