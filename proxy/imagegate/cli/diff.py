"""`imagegate diff`: what a change of policy means, for everybody and every request."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
from rich.progress import track
from rich.text import Text

from imagegate import shipped
from imagegate.cli.exits import Exit
from imagegate.cli.policies import usable_policy
from imagegate.cli.screen import console, counted, print_json, print_table, print_text
from imagegate.engine.policy import Policy, digest
from imagegate.policycases.question import Provider
from imagegate.policydiff import Comparison, Finding, Way, compare, enforced
from imagegate.policydiff.kinds import STRANGER, Kind

_HEADS = ("WHAT", "FOR", "ASKED", "BEFORE", "NOW", "RULES")
_TITLES: Final[dict[Way, tuple[str, str]]] = {
    "looser": ("looser: more goes on, or what goes on costs more", "red"),
    "tighter": ("tighter: less goes on, or what goes on costs less", "green"),
    "different": ("different: neither more nor less", "yellow"),
}
_VERDICTS: Final[dict[frozenset[Way], str]] = {
    frozenset({"looser"}): "The newer one is looser, and nowhere tighter.",
    frozenset({"tighter"}): "The newer one is tighter, and nowhere looser.",
    frozenset({"different"}): "The newer one is otherwise, but no looser or tighter.",
    frozenset({"looser", "different"}): (
        "The newer one is looser in some places, otherwise in others, nowhere tighter."
    ),
    frozenset({"tighter", "different"}): (
        "The newer one is tighter in some places, otherwise in others, nowhere looser."
    ),
}
_BOTH: Final = "The newer one is looser in some places, and tighter in others."
_NOT_SAID: Final = "nothing"
_LONGEST: Final = 40
_SHOWN: Final = 3
"""So many rows tell of one thing; JSON has all."""

_Row = tuple[str, ...]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command was given besides two policies.

    Attributes:
        acting: Take what is observed for enforced.
        failing: The ways of being otherwise that fail.
    """

    provider: Provider | None = None
    date: datetime.date
    acting: bool = False
    failing: Sequence[Way] = ()


def run(old_name: str, new_name: str, options: Options, *, as_json: bool) -> Exit:
    """Hold two policies beside each other, and return the exit code."""
    old, new = (usable_policy(name) for name in (old_name, new_name))
    if options.acting:
        old, new = enforced(old), enforced(new)
    found = compare(
        old,
        new,
        shipped.catalogue(),
        date=options.date,
        providers=_providers(options.provider, old, new),
        watch=_with_a_bar,
    )
    if as_json:
        print_json(_document(old, new, found))
    else:
        _print(old, new, found, acting=options.acting)
    return Exit.FAILED if found.ways().intersection(options.failing) else Exit.FINE


def _providers(wanted: Provider | None, old: Policy, new: Policy) -> list[Provider]:
    """Ask at Azure too where one of the policies knows its deployments."""
    if wanted is not None:
        return [wanted]
    return ["openai", "azure"] if old.deployments or new.deployments else ["openai"]


def _with_a_bar(asked: list[Kind]) -> Iterable[Kind]:
    screen = console(stderr=True)
    return track(
        asked,
        "deciding",
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )


def _document(old: Policy, new: Policy, found: Comparison) -> dict[str, object]:
    return {
        "old": {"name": old.name, "mode": old.mode, "sha256": digest(old)},
        "new": {"name": new.name, "mode": new.mode, "sha256": digest(new)},
        "asked": found.asked,
        "who": found.who,
        "pairs_left_out": found.left_out,
        "ways": sorted(found.ways()),
        "findings": [
            {
                **msgspec.structs.asdict(each.difference),
                "rules": each.rules,
                "who": each.who,
                "providers": each.providers,
                "models": each.models,
                "smallest_request": each.witness,
            }
            for each in found.findings
        ],
    }


def _print(old: Policy, new: Policy, found: Comparison, *, acting: bool) -> None:
    each = counted(found.asked, "request")
    people = "everybody" if len(found.who) == 1 else f"{len(found.who)} kinds of people"
    print_text(
        f"{_named(old)} → {_named(new)} · {each} for {people}",
        Text(_verdict(old, new, found), style="bold"),
    )
    for way, (title, style) in _TITLES.items():
        rows = list(_rows(found, way))
        if rows:
            print_text("", Text(title, style=style))
            print_table(_HEADS, rows)
    for remark in _remarks(old, new, found, acting=acting):
        print_text("", remark)


def _named(policy: Policy) -> str:
    return f"{policy.name} ({policy.mode}, {digest(policy)[:12]})"


def _verdict(old: Policy, new: Policy, found: Comparison) -> str:
    if digest(old) == digest(new):
        return "They say the same."
    if not found.findings:
        return "They are written otherwise, and do the same with every request."
    return _VERDICTS.get(found.ways(), _BOTH)


def _rows(found: Comparison, way: Way) -> Iterator[_Row]:
    """Put together what is said of one thing and the same people, and keep it short."""
    about: dict[tuple[str, str], list[Finding]] = {}
    for each in found.findings:
        if each.difference.way == way:
            key = (each.difference.place, _whom(each, found))
            about.setdefault(key, []).append(each)
    for (place, whom), findings in about.items():
        rows = list(_merged(findings))
        yield from ((place, whom, *row) for row in rows[:_SHOWN])
        if len(rows) > _SHOWN:
            yield place, whom, f"and {len(rows) - _SHOWN} more", "", "", ""


def _merged(findings: Iterable[Finding]) -> Iterator[tuple[str, str, str, str]]:
    """Make one row of what comes to the same for several values."""
    rows: dict[tuple[str, str], tuple[dict[str, None], dict[str, None]]] = {}
    for each in findings:
        said = each.difference
        key = (_short(said.before), _short(said.now))
        asked, rules = rows.setdefault(key, ({}, {}))
        asked[_NOT_SAID if said.asked is None else _short(said.asked)] = None
        rules |= dict.fromkeys(each.rules)
    for (before, now), (asked, rules) in rows.items():
        yield _joined(asked), before, now, _joined(rules)


def _whom(finding: Finding, found: Comparison) -> str:
    """Say for whom something is so, where it is not so for everybody."""
    people = "" if finding.who == found.who else "; ".join(finding.who)
    models = set(finding.models)
    every = models and models.issuperset(set(found.models) - {STRANGER})
    named = "any model that is named" if every else ", ".join(finding.models)
    return " · ".join(filter(None, (people, ", ".join(finding.providers), named)))


def _joined(words: Iterable[str]) -> str:
    said = list(words)
    return "" if said == [_NOT_SAID] else ", ".join(said)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _remarks(
    old: Policy, new: Policy, found: Comparison, *, acting: bool
) -> Iterator[str]:
    if not acting and any(enforced(policy) != policy for policy in (old, new)):
        yield (
            "What a policy only observes changes nothing here: "
            "--enforced compares them as if all of it acted."
        )
    if found.left_out:
        pairs = counted(found.left_out, "pair")
        yield f"Not tried, for they are too many: {pairs} of teams and exceptions."
