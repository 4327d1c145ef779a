"""From runs to ratios, and from ratios to a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Rounds = Mapping[str, Sequence[float]]
"""A figure of each target, round by round."""
BASE, OTHER = "nginx", "LiteLLM"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        name: What was done.
        unit: Of the figures.
        rounds: The figures.
        bar: What the ratio may be; of a row with no ratio, the figure.
        against: What the ratio to LiteLLM may be.
        absolute: The figure itself has the bar, not its ratio to nginx.
    """

    name: str
    unit: str
    rounds: Rounds
    bar: float
    against: float | None = None
    absolute: bool = False


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The median of some rounds, and how far they are apart."""

    middle: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{_short(self.middle)} [{_short(self.least)}..{_short(self.most)}]"


def ratio(row: Row, name: str, to: str) -> Spread | None:
    """Hold one target against another, round by round."""
    if name not in row.rounds or to not in row.rounds:
        return None
    pairs = zip(row.rounds[name], row.rounds[to], strict=True)
    found = [one / other for one, other in pairs if other > 0]
    return spread(found) if found else None


def spread(found: Sequence[float]) -> Spread:
    return Spread(middle=median(found), least=min(found), most=max(found))


def holds(row: Row, name: str) -> bool:
    """Tell whether a target is under the bar."""
    found = spread(row.rounds[name]) if row.absolute else ratio(row, name, BASE)
    return found is not None and found.middle <= row.bar


def table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Write a table in Markdown: nginx in figures, the others as ratios to it."""
    with_other = any(OTHER in row.rounds for row in rows)
    heads = ["", BASE, *(f"{name} / {BASE}" for name in names), "bar"]
    heads += [f"{name} / {OTHER}" for name in names] if with_other else []
    lines = [heads, ["---"] * len(heads)]
    lines += [_cells(row, names, with_other=with_other) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row, names: Sequence[str], *, with_other: bool) -> list[str]:
    base = (
        f"{_short(median(row.rounds[BASE]))} {row.unit}" if BASE in row.rounds else ""
    )
    bar = f"≤ {_short(row.bar)}" + (f" {row.unit}" if row.absolute else "")
    cells = [row.name, base, *(_against_base(row, name) for name in names), bar]
    return cells + [_against_other(row, name) for name in names if with_other]


def _against_base(row: Row, name: str) -> str:
    found = spread(row.rounds[name]) if row.absolute else ratio(row, name, BASE)
    if found is None:
        return ""
    said = f"{found} {row.unit}" if row.absolute else str(found)
    return said + ("" if holds(row, name) else " (over)")


def _against_other(row: Row, name: str) -> str:
    found = ratio(row, OTHER, name)
    if found is None or row.absolute:
        return ""
    if row.against is None:
        return f"1/{found.middle:.0f}"
    over = "" if found.middle >= 1 / row.against else " (over)"
    return f"1/{found.middle:.0f} (bar 1/{1 / row.against:.0f}){over}"


def _short(value: float) -> str:
    """Spell a number with three figures."""
    digits = next((n for n, least in enumerate((100, 10, 1)) if value >= least), 3)
    return f"{value:.{digits}f}"
