"""What a case expects against what was decided, as sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from imagegate.engine.decision import (
    Block,
    Change,
    Forward,
    Rewrite,
    Shown,
    Violation,
)
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.surface import Lost
from imagegate.engine.value import pointer_to_param
from imagegate.policycases.case import Case, Refused, compact
from imagegate.policycases.question import Answer, Outcome

_SHOWN = 60


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided, in the words that cases use."""

    decision: str
    changes: Mapping[str, Shown] = msgspec.field(default_factory=dict)
    violations: tuple[Refused, ...] = ()
    rules: frozenset[str] = frozenset()
    observed: frozenset[str] = frozenset()
    said: str = ""


def found_in(outcome: Outcome) -> Found:
    """Put a decision, or what kept one from being made, into those words."""
    match outcome:
        case MalformedRequest():
            return _refused(outcome.code, outcome.message, outcome.pointer)
        case Lost():
            return _refused(outcome.code, outcome.message)
        case Forward():
            found = Found(decision="forward")
        case Rewrite(changes=changes):
            found = Found(
                decision="rewrite",
                changes={param_of(change): change.after for change in changes},
                rules=frozenset(change.by.rule for change in changes),
                said=_sentences(changes),
            )
        case _:
            found = _blocked(outcome)
    observed = frozenset(item.by.rule for item in outcome.observed)
    said = found.said
    if not said and outcome.observed:
        said = f"it is only observed: {_sentences(outcome.observed)}"
    return msgspec.structs.replace(found, observed=observed, said=said)


def _blocked(block: Block) -> Found:
    violations = block.violations
    return Found(
        decision="block",
        violations=tuple(
            Refused(param=param_of(each), rule=each.by.rule, code=each.code)
            for each in violations
        ),
        rules=frozenset(each.by.rule for each in violations),
        said=_sentences(violations),
    )


def _refused(code: str, message: str, pointer: str = "") -> Found:
    refused = Refused(param=pointer_to_param(pointer), code=code)
    return Found(decision="block", violations=(refused,), said=f"{code}: {message}")


def param_of(item: Change | Violation) -> str:
    """Name a place as the API's errors do; what is not in the body by its name."""
    return pointer_to_param(item.pointer) or item.field


def _sentences(items: Iterable[Change | Violation]) -> str:
    return "; ".join(f"{item.message} ({item.by.rule})" for item in items)


def differences(case: Case, answer: Answer) -> tuple[str, ...]:
    """Say how an answer differs from what a case expects; nothing when it fits."""
    found = found_in(answer.outcome)
    if found.decision != case.decision:
        why = f": {found.said}" if found.said else ""
        return (f"expected {case.decision}, got {found.decision}{why}",)
    return tuple(_all(case, answer, found))


def _all(case: Case, answer: Answer, found: Found) -> Iterator[str]:
    expected = case.expected
    if expected.changes is not None:
        yield from _changes(expected.changes, found.changes)
    if expected.rules is not None:
        yield from _ids("rules", expected.rules, found.rules)
    if expected.violations is not None:
        yield from _violations(expected.violations, found.violations)
    if expected.observed is not None:
        yield from _ids("observed", expected.observed, found.observed)
    wanted = bytes(expected.sent)
    if answer.sent is None:
        yield from ("sent: nothing goes on",) if wanted else ()
    elif wanted:
        yield from _sent("sent", compact(expected.sent), answer.sent)
    elif case.decision == "forward":
        yield from _sent("changed on the way", case.question.data, answer.sent)


def _changes(
    expected: Mapping[str, object], found: Mapping[str, Shown]
) -> Iterator[str]:
    for place in sorted({*expected, *found}):
        wanted = _spelled(expected, place)
        got = _spelled(found, place)
        if wanted != got:
            yield f"{place}: expected {wanted}, got {got}"


def _spelled(values: Mapping[str, object], place: str) -> str:
    if place not in values:
        return "no change"
    value = values[place]
    return "it to go" if value is None else msgspec.json.encode(value).decode()


def _ids(what: str, expected: Iterable[str], found: frozenset[str]) -> Iterator[str]:
    wanted = frozenset(expected)
    if wanted != found:
        yield f"{what}: expected {_listed(wanted)}, got {_listed(found)}"


def _listed(ids: Iterable[str]) -> str:
    return ", ".join(sorted(ids)) or "none"


def _violations(
    expected: tuple[Refused, ...], found: tuple[Refused, ...]
) -> Iterator[str]:
    left = list(found)
    for wanted in expected:
        fitting = next((each for each in left if _fits(wanted, each)), None)
        if fitting is None:
            yield f"violations: {_refusal(wanted)} is missing"
        else:
            left.remove(fitting)
    for each in left:
        yield f"violations: {_refusal(each)} is not expected"


def _fits(wanted: Refused, found: Refused) -> bool:
    pairs = (
        (getattr(wanted, name), getattr(found, name))
        for name in Refused.__struct_fields__
    )
    return all(want is None or want == got for want, got in pairs)


def _refusal(refused: Refused) -> str:
    return msgspec.json.encode(refused).decode()


def _sent(what: str, expected: bytes, found: bytes) -> Iterator[str]:
    """Show two bodies from shortly before the first difference."""
    if expected == found:
        return
    pairs = enumerate(zip(expected, found, strict=False))
    shorter = min(len(expected), len(found))
    at = next((index for index, (one, other) in pairs if one != other), shorter)
    start = max(at - _SHOWN // 2, 0)
    wanted, got = (
        body[start : start + _SHOWN].decode("utf-8", "replace")
        for body in (expected, found)
    )
    yield f"{what}, from byte {at}: expected …{wanted}…, got …{got}…"
