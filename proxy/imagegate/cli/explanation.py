"""A decision as a developer reads it: setting by setting, then what goes on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from rich.text import Text

from imagegate.cli.screen import console, counted, print_table, print_text
from imagegate.engine.decision import (
    Block,
    Change,
    Decision,
    Forward,
    JudgedTool,
    Rewrite,
    Shown,
    Violation,
)
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.policy import Policy, digest
from imagegate.engine.refusal import Refusal, refuse
from imagegate.engine.surface import Lost
from imagegate.engine.value import pointer_to_param
from imagegate.policycases.compare import param_of
from imagegate.policycases.question import Answer, Question

_DECISION_ID = "explained"
_STYLES = {"forward": "green", "rewrite": "yellow", "block": "red"}
_SETTING_HEADS = ("SETTING", "REQUESTED", "EFFECTIVE", "ENFORCED", "RULE", "WHY")
_PLACE_HEADS = ("PLACE", "BEFORE", "AFTER", "RULE", "WHY")
_READABLE = 40
"""Narrower than this, sentences get a table of their own."""
_LONG = 120
"""Longer strings of a body are cut where it is shown."""
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)

Said = Change | Violation


def described(policy: Policy, question: Question, answer: Answer) -> dict[str, Any]:
    """Put everything into one document."""
    outcome = answer.outcome
    refusal = _refusal(answer)
    malformed = outcome if isinstance(outcome, MalformedRequest) else None
    return {
        "decision": word_of(answer),
        "policy": {"name": policy.name, "mode": policy.mode, "sha256": digest(policy)},
        "door": answer.door.door.name if answer.door else None,
        "provider": answer.door.family.provider if answer.door else None,
        "principal": question.principal,
        "date": question.date,
        "tools": getattr(outcome, "tools", ()),
        "changes": getattr(outcome, "changes", ()),
        "violations": getattr(outcome, "violations", ()),
        "observed": getattr(outcome, "observed", ()),
        "malformed": malformed
        and {
            "code": malformed.code,
            "place": malformed.pointer,
            "message": malformed.message,
        },
        "headers": getattr(outcome, "headers", {}),
        "body": _sent(answer),
        "refusal": refusal
        and {
            "status": refusal.status,
            "headers": dict(refusal.headers),
            "body": msgspec.Raw(refusal.body),
        },
    }


def print_answer(policy: Policy, question: Question, answer: Answer) -> None:
    """Print it all for a person."""
    _print_verdict(policy, question, answer)
    outcome = answer.outcome
    if isinstance(outcome, Forward | Rewrite | Block):
        _print_decision(outcome)
    refusal = _refusal(answer)
    if refusal is not None:
        _print_refusal(answer, refusal)
    elif answer.sent:
        _print_sent(question, answer)


def word_of(answer: Answer) -> str:
    """Name the decision; what cannot be judged is refused like what may not pass."""
    outcome = answer.outcome
    return _WORDS.get(type(outcome), "block")


_WORDS: Mapping[type, str] = {Forward: "forward", Rewrite: "rewrite", Block: "block"}


def _refusal(answer: Answer) -> Refusal | None:
    outcome = answer.outcome
    if isinstance(outcome, Forward | Rewrite):
        return None
    return refuse(outcome, decision_id=_DECISION_ID)


# -- the verdict ----------------------------------------------------------------


def _print_verdict(policy: Policy, question: Question, answer: Answer) -> None:
    word, door = word_of(answer), answer.door
    who = question.principal
    proved = "" if who.verified or not who.attributes else ", not verified"
    where = f"{door.door.name} at {door.family.provider}" if door else question.path
    line = f" · {policy.name} ({policy.mode}) · {where} · {who.id}{proved}"
    first = Text.assemble((word, f"bold {_STYLES[word]}"), line)
    print_text(first, _verdict(question, answer))


def _verdict(question: Question, answer: Answer) -> str:
    match answer.outcome:
        case MalformedRequest() as found:
            place = pointer_to_param(found.pointer) or found.pointer
            at = f" at {place}" if place else ""
            said = f"It cannot be judged: {found.code}{at}: {found.message}."
        case Lost() as found:
            said = f"It has no door: {found.code}: {found.message}."
        case Block(violations=found):
            said = f"Nothing goes on: {counted(len(found), 'thing')} refused."
        case Rewrite(changes=found):
            said = f"It goes on with {counted(len(found), 'change')}."
        case Forward(inspected=False):
            said = "It goes on unseen: the policy leaves this door open."
        case Forward() if answer.sent == question.data:
            said = "It goes on byte for byte as it came."
        case _:
            said = "It goes on as it came, without white space between its tokens."
    return said


# -- the tables -----------------------------------------------------------------


def _print_decision(decision: Decision) -> None:
    said: Sequence[Said] = ()
    if isinstance(decision, Rewrite):
        said = decision.changes
    elif isinstance(decision, Block):
        said = decision.violations
    left = list(said)
    tools = [tool for tool in decision.tools if tool.sent]
    for tool in tools:
        prefix = f"{tool.pointer}/"
        own = {x.field: x for x in said if x.pointer.startswith(prefix)}
        left = [item for item in left if item not in own.values()]
        name = pointer_to_param(tool.pointer) or "the request"
        rows = _settings(tool, own, enforced=not isinstance(decision, Block))
        _table(f"\n{name} ({tool.carrier})", _SETTING_HEADS, rows)
    heading = "\nelsewhere in the request" if tools else ""
    if left:
        _table(heading or "\nin the request", _PLACE_HEADS, map(_place_row, left))
    if decision.observed:
        rows = map(_place_row, decision.observed)
        _table("\nobserved only, nothing is done about it", _PLACE_HEADS, rows)


def _settings(
    tool: JudgedTool, said: Mapping[str, Said], *, enforced: bool
) -> Iterator[tuple[str, ...]]:
    """Yield a row for each setting that was asked for, changed or refused."""
    holds = tool.enforced if enforced else {}
    for name in dict.fromkeys((*tool.requested, *holds, *said)):
        item = said.get(name)
        before = tool.requested.get(name)
        requested = item.before if item is not None and before is None else before
        yield (
            name,
            _spelled(requested),
            _spelled(tool.effective.get(name, requested)),
            _after(item) if item is not None else _spelled(holds.get(name)),
            item.by.rule if item is not None else "",
            _why(item) if item is not None else "",
        )


def _place_row(item: Said) -> tuple[str, ...]:
    return (
        param_of(item) or "the route",
        _spelled(item.before),
        _after(item),
        item.by.rule,
        _why(item),
    )


def _after(item: Said) -> str:
    if isinstance(item, Violation):
        return "refused"
    return "left out" if item.after is None else _spelled(item.after)


def _spelled(value: Shown) -> str:
    return "-" if value is None else str(value)


def _why(item: Said) -> str:
    fix = f"; {item.fix}" if isinstance(item, Violation) and item.fix else ""
    reason = f" ({item.by.reason})" if item.by.reason else ""
    return f"{item.message}{fix}{reason}"


def _table(title: str, heads: Sequence[str], found: Iterable[tuple[str, ...]]) -> None:
    """Print rows with their sentences beside them, or below where it is narrow."""
    rows = list(found)
    columns = list(zip(heads, *rows, strict=True))[:-1]
    needed = sum(3 + max(map(len, column)) for column in columns)
    if needed + _READABLE <= console().width:
        print_table(heads, rows, title=title)
        return
    print_table(heads[:-2], [row[:-2] for row in rows], title=title)
    reasons = dict.fromkeys(row[-2:] for row in rows if row[-1])
    if reasons:
        print_text("")
        print_table(heads[-2:], reasons)


# -- what goes on, or back ------------------------------------------------------


def _print_sent(question: Question, answer: Answer) -> None:
    if isinstance(answer.outcome, Forward) and answer.sent == question.data:
        return
    headers = getattr(answer.outcome, "headers", {})
    print_text(
        Text("\nwhat goes on", style="bold"),
        *(f"{name}: {value}" for name, value in headers.items()),
        *map(_readable, _texts(answer)),
    )


def _texts(answer: Answer) -> list[bytes]:
    """Return the JSON texts that go on: of a batch file the lines."""
    sent = answer.sent or b""
    return sent.splitlines() if _is_file(answer) else [sent]


def _is_file(answer: Answer) -> bool:
    return answer.door is not None and answer.door.door.reading == "file"


def _sent(answer: Answer) -> object:
    """Return what goes on; of a batch file a list, and nothing of one unseen."""
    if not answer.sent:
        return None
    found = [*map(msgspec.Raw, _texts(answer))]
    if not _is_file(answer):
        return found[0]
    return found if getattr(answer.outcome, "inspected", True) else None


def _print_refusal(answer: Answer, refusal: Refusal) -> None:
    print_text(Text("\nwhat the client gets", style="bold"))
    if answer.door is not None and answer.door.door.method == "WEBSOCKET":
        print_text(_readable(refusal.message()))
        return
    print_text(
        f"HTTP {refusal.status}",
        *(f"{name}: {value}" for name, value in refusal.headers),
        "\n" + _readable(refusal.body, cut=False),
    )


def _readable(body: bytes, *, cut: bool = True) -> str:
    """Lay a body out; the middle of images and long texts is left out."""
    laid_out = msgspec.json.format(body, indent=2)
    if cut:
        laid_out = _STRING.sub(_shortened, laid_out)
    return laid_out.decode()


def _shortened(found: re.Match[bytes]) -> bytes:
    text = found[0]
    if len(text) <= _LONG:
        return text
    head = text[: _LONG // 3].decode("utf-8", "ignore")
    return f'{head}…" ({len(text) - 2} bytes)'.encode()
