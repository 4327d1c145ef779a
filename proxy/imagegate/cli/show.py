"""`imagegate show`: what a policy says, as a table with the id of each rule."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from rich.text import Text

from imagegate.cli.exits import Exit
from imagegate.cli.policies import usable_policy
from imagegate.cli.screen import print_json, print_table, print_text
from imagegate.engine.policy import (
    STANCES,
    Layers,
    Line,
    Policy,
    Reaction,
    Rules,
    Use,
    Value,
    canonical,
    digest,
    merge,
)
from imagegate.engine.quota import QUOTAS
from imagegate.engine.rulebook import count_spelled
from imagegate.engine.sizes import Size
from imagegate.engine.surface import GROUPS

HEADS = ("RULE", "SAYS", "OTHERWISE", "MODE", "REASON")
_ORDER = (
    "tool",
    "models",
    "settings",
    "limits",
    "quotas",
    "fields",
    "state",
    "interface",
)
_SAID = {
    "max": "at most {}",
    "min": "at least {}",
    "allow": "{}",
    "do": "{}",
    "default": "{} when not said",
    "allow_auto": "auto may stay",
}


def run(name: str, *, as_json: bool) -> Exit:
    """Print a policy and return the exit code."""
    policy = usable_policy(name)
    today = datetime.datetime.now(tz=datetime.UTC).date()
    if as_json:
        # What the digest is of: whoever keeps this needs no program to compare them.
        said = msgspec.Raw(canonical(policy))
        print_json({"sha256": digest(policy), "policy": said})
        return Exit.FINE
    base = merge(policy, Layers())
    title = f"{policy.name} · {policy.mode} · {policy.owner} · {digest(policy)[:12]}"
    print_table(HEADS, _rows(base, policy), title=title, remarks=True)
    for team in policy.teams:
        rules = merge(policy, Layers(teams=(team,), loosening=True))
        title = f"team {team.name}: {_who(team.match)}"
        _print_layer(policy, title, _changed(rules, base))
    for item in policy.exceptions:
        rules = merge(policy, Layers(exceptions=(item,), loosening=True))
        ended = item.until < today
        title = (
            f"exception {item.id}: {_who(item.match)}, "
            f"{'ended on' if ended else 'until'} {item.until}, "
            f"approved by {item.approved_by}"
        )
        _print_layer(policy, title, [] if ended else _changed(rules, base))
    return Exit.FINE


def _who(match: Mapping[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{name} {' or '.join(words)}" for name, words in match.items())


def _changed(rules: Rules, base: Rules) -> list[tuple[Line, ...]]:
    """Return only what is different for those that a layer matches."""
    return [lines for path, lines in rules.lines.items() if lines != base.at(path)]


def _print_layer(
    policy: Policy, title: str, changed: Sequence[tuple[Line, ...]]
) -> None:
    print_text("", Text(title, style="bold"))
    if changed:
        print_table(HEADS, _line_rows(changed, policy), remarks=True)
    else:
        print_text("has no effect")


def _rows(rules: Rules, policy: Policy) -> Iterable[tuple[str, ...]]:
    yield from _line_rows(rules.lines.values(), policy)
    for name, group in GROUPS.items():
        stance = policy.surface.get(name)
        if stance is not None:
            why = group.why if stance == "refuse" else ""
            yield (f"surface.{name}", stance, "", "", why)


def _line_rows(
    found: Iterable[tuple[Line, ...]], policy: Policy
) -> Iterable[tuple[str, ...]]:
    lines = [line for lines in found for line in lines]
    for line in sorted(lines, key=_place):
        yield (
            line.id,
            _SAID[line.kind].format(_value(line)),
            _reaction(line.otherwise) if line.kind in ("max", "min", "allow") else "",
            line.mode if line.mode != policy.mode else "",
            line.reason,
        )


def _place(line: Line) -> tuple[int, int, str]:
    section = _ORDER.index(line.path.partition(".")[0])
    stance = list(STANCES).index(line.path) if line.path in STANCES else -1
    return section, stance, line.path


def _value(line: Line) -> str:
    return count_spelled(line) if line.subject in QUOTAS else _spelled(line.value)


def _spelled(value: Value) -> str:
    """Spell a value as the file does, but for the brackets of a list."""
    if isinstance(value, tuple):
        return ", ".join(_spelled(item) for item in value)
    return value.text if isinstance(value, Size) else str(value)


def _reaction(otherwise: Reaction) -> str:
    """Spell what is done with a value that is not allowed."""
    if isinstance(otherwise, Use):
        return f"use {_spelled(otherwise.value)}"
    return otherwise
