"""What every check of a policy's meaning looks things up in."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable, Iterator

import msgspec

from imagegate.engine.catalogue import Catalogue, legal_words
from imagegate.engine.errors import Severity
from imagegate.engine.policy import SETTINGS, Kind, Line, Policy, Setting, Value
from imagegate.engine.prices import Prices
from imagegate.engine.provider import Model, Provider
from imagegate.engine.quota import QUOTAS
from imagegate.engine.rulebook import count_spelled
from imagegate.engine.settle import Scalar, possible
from imagegate.engine.sizes import Size, why_illegal
from imagegate.policyfile.rules import Drafted, words_of
from imagegate.policyfile.sections import Draft
from imagegate.policyfile.words import Report

LIMITING: tuple[Kind, ...] = ("allow", "max", "min")
Row = tuple[Provider, Model]


class Block(msgspec.Struct, frozen=True):
    """The lines of one rule: what one block of the file says."""

    path: str
    id: str
    subject: str
    model: str | None
    lines: tuple[Line, ...]

    def one(self, kind: Kind) -> Line | None:
        """Return the block's line of a kind."""
        return next((line for line in self.lines if line.kind == kind), None)

    @property
    def limits(self) -> tuple[Line, ...]:
        """The lines that forbid something."""
        return tuple(line for line in self.lines if line.kind in LIMITING)


class Context:
    """One policy, the places it was written at, and what is known about models."""

    def __init__(  # noqa: PLR0913, PLR0917 - what is known
        self,
        report: Report,
        catalogue: Catalogue,
        draft: Draft,
        policy: Policy,
        today: datetime.date,
        prices: Prices | None = None,
    ) -> None:
        self.report = report
        self.catalogue = catalogue
        self.draft = draft
        self.policy = policy
        self.today = today
        self.prices = prices
        self.unread = [problem.path for problem in report.problems]
        self.drafted: dict[str, Drafted] = {
            item.line.id: item
            for item in itertools.chain(
                draft.lines,
                *(team.lines for team in draft.teams),
                *(item.lines for item in draft.exceptions),
            )
        }
        self.baseline = {line.path: line for line in policy.lines}
        self.teams = [line for team in policy.teams for line in team.lines]
        self.exempt = [line for item in policy.exceptions for line in item.lines]
        self._words = {name: words_of(catalogue, name) for name in SETTINGS}
        self.wrong: set[str] = set()
        self._rows: dict[str | None, tuple[Row, ...]] = {}

    def add(
        self,
        problem: str,
        line: Line,
        message: str,
        *,
        at: str = "",
        severity: Severity = "error",
    ) -> None:
        """Report a problem of a line, at its place or at that of a part of it."""
        place = self.draft.places.get(at)
        if place is None and line.id in self.drafted:
            place = self.drafted[line.id].place
        if severity == "error":
            self.wrong.add(line.id)
        self.report.add(problem, line.id, message, place, severity=severity)

    def doubtful(self, lines: Iterable[Line]) -> bool:
        """Tell whether any line is wrong already; what follows from it is no news."""
        return any(line.id in self.wrong or self.misread(line.id) for line in lines)

    def misread(self, id_: str) -> bool:
        """Tell whether something here could not be read; it says nothing yet."""
        return any(under(path, id_) for path in self.unread)

    def says_otherwise(self, line: Line) -> bool:
        """Tell whether a line's rule says itself what happens otherwise."""
        return line.id in self.drafted and self.drafted[line.id].says_otherwise

    def find(self, name: str) -> tuple[Row, ...]:
        """Return what each provider's row says about a model."""
        found = (
            (provider, provider.model(name))
            for provider in self.catalogue.providers.values()
        )
        return tuple((provider, row) for provider, row in found if row is not None)

    def rows(self, model: str | None) -> tuple[Row, ...]:
        """Return the rows a rule can be about: of its model, or of all allowed."""
        if model not in self._rows:
            wanted = {model} if model else self.allowed()
            self._rows[model] = tuple(
                row for name in sorted(wanted) for row in self.find(name)
            )
        return self._rows[model]

    def allowed(self) -> set[str]:
        """Return the models that any layer allows; all that are known if none says."""
        if "models" not in self.baseline:
            providers = self.catalogue.providers.values()
            return {name for provider in providers for name in provider.models}
        lines = (*self.policy.lines, *self.teams, *self.exempt)
        lists = (names(line) for line in lines if line.path == "models")
        return set(itertools.chain.from_iterable(lists))

    @property
    def gif(self) -> bool:
        """Whether images are GIF unless asked otherwise: frames may be small."""
        said = [
            self.baseline[path].value
            for path in (
                "settings.output_format.default",
                "settings.output_format.allow",
            )
            if path in self.baseline
        ]
        return bool(said) and said[0] in {"gif", ("gif",)}

    def takes(self, row: Row, subject: str, value: Scalar) -> bool:
        """Tell whether a model is not known to refuse a value."""
        provider, model = row
        if isinstance(value, Size):
            return why_illegal(value, model.sizes, gif=self.gif) is None
        words = provider.fields[subject].words
        return not words or value in legal_words(provider, model, subject)

    def some_takes(self, model: str | None, subject: str, value: Scalar) -> bool:
        """Tell whether any model that a rule can be about takes a value."""
        rows = self.rows(model)
        return not rows or any(self.takes(row, subject, value) for row in rows)

    def words(self, setting: Setting, lines: Iterable[Line]) -> tuple[str, ...]:
        """Return the words of a setting; where any will do, those that are named."""
        return self._words[setting.name] or tuple(
            str(word) for line in lines for word in values_of(line.value)
        )

    def possible(self, subject: str, lines: tuple[Line, ...]) -> bool:
        """Tell whether the lines leave any value of a setting."""
        setting = SETTINGS[subject]
        return possible(setting, lines, self.words(setting, lines))


def blocks(lines: Iterable[Line]) -> list[Block]:
    """Group the lines of settings by the block of the file they stand in."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        if line.subject in SETTINGS and line.kind != "do":
            found.setdefault(block_of(line.id), []).append(line)
    return [
        Block(
            path=block_of(group[0].path),
            id=name,
            subject=group[0].subject,
            model=group[0].model,
            lines=tuple(group),
        )
        for name, group in found.items()
    ]


def block_of(id_: str) -> str:
    """Return the path or id of the block that a line stands in."""
    return id_.rpartition(".")[0]


def under(path: str, section: str) -> bool:
    """Tell whether a path is a section's or below it."""
    return path == section or path.startswith(f"{section}.")


def names(line: Line) -> tuple[str, ...]:
    """Return the words of a line that is a list."""
    return tuple(map(str, values_of(line.value)))


def scalar(value: Value) -> Scalar:
    """Return a value that is known to be one."""
    return value if isinstance(value, str | int | Size) else ""


def values_of(value: Value) -> tuple[Scalar, ...]:
    """Return the values of a line, of which most have one."""
    return value if isinstance(value, tuple) else (value,)


def numbers(value: Value) -> Iterator[int]:
    """Yield the numbers among the values of a line."""
    return (item for item in values_of(value) if type(item) is int)


def spoken(lines: Iterable[Line]) -> str:
    """Spell limits as the file does."""
    return " and ".join(f"`{line.kind}: {_said(line)}`" for line in lines)


def _said(line: Line) -> str:
    return count_spelled(line) if line.subject in QUOTAS else spelled(line.value)


def spelled(value: Value) -> str:
    """Spell a value as the file does."""
    if isinstance(value, tuple):
        return f"[{', '.join(spelled(item) for item in value)}]"
    return value.text if isinstance(value, Size) else str(value)
