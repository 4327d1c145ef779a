"""`imagegate doors`: every way to an image, and what a policy does there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from imagegate.cli.doors.carriers import fate_of
from imagegate.cli.doors.spec import carriers_in, read_spec
from imagegate.cli.exits import Exit
from imagegate.cli.policies import usable_policy
from imagegate.cli.screen import print_json, print_table, print_text
from imagegate.engine.surface import (
    DOORS,
    FAMILIES,
    GROUPS,
    IMAGE_DEPLOYMENT_HEADER,
    Door,
    stance_of,
)

_STANCES = {"enforce": "enforced", "pass": "passes unseen", "refuse": "refused"}
_BODIES = {
    "responses": ("/model", "/tool_choice", "/prompt", "/input"),
    "items": ("/items",),
    "agent": ("/definition",),
    "images": ("the whole body",),
}
_NAMING = frozenset({"responses", "items", "images"})
"""What is read at doors where a header can name the image deployment."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One door under a policy.

    Attributes:
        routes: Its path in each of its spellings.
        looked_at: Where in its body tools are looked for.
        why: What a refusal says.
    """

    door: str
    group: str
    method: str
    routes: tuple[str, ...]
    stance: str
    looked_at: tuple[str, ...]
    why: str


def run(name: str, *, spec: Path | None, as_json: bool) -> Exit:
    """Print the doors, or the carriers of an interface, and return the exit code."""
    policy = usable_policy(name)
    if spec is not None:
        return _hold(spec, policy.surface, as_json=as_json)
    rows = list(_rows(policy.surface))
    if as_json:
        print_json(rows)
        return Exit.FINE
    print_table(
        ("DOOR", "ROUTE", "SPELLINGS", "", "LOOKED AT", "WHY"),
        map(_cells, _folded(rows)),
        title=f"{policy.name} ({policy.mode}): a route that is not here is refused",
        remarks=True,
    )
    return Exit.FINE


def _rows(surface: Mapping[str, str]) -> Iterator[Row]:
    for door in DOORS:
        stance = stance_of(door, surface)
        yield Row(
            door=door.name,
            group=door.group,
            method=door.method,
            routes=tuple(FAMILIES[name].base + door.route for name in door.families),
            stance=stance,
            looked_at=_looked_at(door) if stance == "enforce" else (),
            why=GROUPS[door.group].why if stance == "refuse" else "",
        )


def _looked_at(door: Door) -> tuple[str, ...]:
    """Return what is judged at a door, the places of its body first."""
    places = (*door.places, *_BODIES.get(door.reading, ()), *_besides(door))
    return tuple(dict.fromkeys(places))


def _besides(door: Door) -> Iterator[str]:
    """Yield what is judged besides the body."""
    providers = {FAMILIES[name].provider for name in door.families}
    if door.reading in _NAMING and "azure" in providers:
        yield f"header {IMAGE_DEPLOYMENT_HEADER}"
    yield "versions and previews"


def _folded(rows: Sequence[Row]) -> Iterator[Row]:
    """Make one row of the doors of a group with which nothing particular is done."""
    for (group, stance), found in itertools.groupby(
        rows, key=lambda row: (row.group, row.stance)
    ):
        doors = list(found)
        if stance == "enforce" or len(doors) == 1:
            yield from doors
        else:
            first, *others = doors
            route = f"{first.routes[0]} (and {len(others)} more)"
            routes = (route, *first.routes[1:])
            yield msgspec.structs.replace(first, door=f"{group}.*", routes=routes)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.door,
        f"{row.method} {row.routes[0]}",
        str(len(row.routes)),
        _STANCES[row.stance],
        " ".join(row.looked_at),
        row.why,
    )


def _hold(spec: Path, surface: Mapping[str, str], *, as_json: bool) -> Exit:
    """Hold an interface's description against the table of doors."""
    fates = [fate_of(each, surface) for each in carriers_in(read_spec(spec))]
    known = all(fate.fine for fate in fates)
    if as_json:
        print_json(fates)
    elif fates:
        rows = [(f"{f.method} {f.path}", f.pointer or "/", f.what) for f in fates]
        print_table(("ROUTE", "CAN CARRY THE TOOL AT", "WHAT HAPPENS"), rows)
    else:
        print_text(f"{spec}: nothing in it can carry the tool")
    return Exit.FINE if known else Exit.FAILED
