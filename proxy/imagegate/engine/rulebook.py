"""The rules of a policy, laid out for deciding: merged once, looked up often."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator, Mapping

import msgspec

from imagegate.engine.policy import (
    LISTED,
    SETTINGS,
    Layers,
    Line,
    Mode,
    Policy,
    Principal,
    Rules,
    Setting,
    Value,
    layers_for,
    merge,
    most_particular,
)
from imagegate.engine.quota import QUOTAS, Quota


class Ruled(msgspec.Struct, frozen=True):
    """One setting, and the lines that speak of it for one model."""

    setting: Setting
    lines: tuple[Line, ...]
    default: Line | None
    allow_auto: bool

    @property
    def ruled(self) -> bool:
        """Whether anything is said about the setting."""
        return bool(self.lines) or self.default is not None


class Rulebook:
    """What holds for one kind of principal; what it says never changes.

    Attributes:
        rules: The lines.
        always: The mode of what holds whatever the lines say; None where it does
            not act, because nothing does.
        listed: The ids of prompts and agents that lines name.
        quotas: The tightest line of each quota.
    """

    def __init__(self, rules: Rules, *, always: Mode | None = "enforce") -> None:
        self.rules = rules
        self.always = always
        self.models = rules.at("models")
        self.default_model = most_particular(rules.at("models.default"))
        self.unknown_values = rules.stance("fields.unknown_values")
        self.listed = frozenset(_listed(rules))
        self.quotas: Mapping[Quota, Line] = {
            quota: min(lines, key=lambda line: count_of(line.value))
            for quota in QUOTAS.values()
            if (lines := rules.at(f"quotas.{quota.name}.max"))
        }
        self._own = {line.model for lines in rules.lines.values() for line in lines}
        self._settings: dict[tuple[str, ...], tuple[Ruled, ...]] = {}

    def settings(self, models: tuple[str, ...]) -> tuple[Ruled, ...]:
        """Return the settings in the order of deciding, for one image model.

        The format comes first: it says which of the others have a place.

        Args:
            models: The names by which layers of the policy list the model.
        """
        own = tuple(model for model in models if model in self._own)
        found = self._settings.get(own)
        if found is None:
            found = self._settings[own] = self._laid_out(own)
        return found

    def limit(self, name: str) -> Line | None:
        """Return the tightest line for a count."""
        lines = self.rules.at(f"limits.{name}.max")
        return min(lines, key=lambda line: count_of(line.value), default=None)

    def _laid_out(self, models: tuple[str, ...]) -> tuple[Ruled, ...]:
        ordered = sorted(SETTINGS.values(), key=lambda s: s.name != "output_format")
        return tuple(
            self._ruled(setting, models)
            for setting in ordered
            if setting.kind != "presence"
        )

    def _ruled(self, setting: Setting, models: tuple[str, ...]) -> Ruled:
        rules, name = self.rules, setting.name
        found = (rules.constraints(name, model) for model in (None, *models))
        lines = tuple(dict.fromkeys(itertools.chain.from_iterable(found)))
        defaults = (rules.default(name, model) for model in (None, *models))
        blocks = (f"settings.{name}", *(f"models.{model}.{name}" for model in models))
        open_ = [line for each in blocks for line in rules.at(f"{each}.allow_auto")]
        return Ruled(
            setting=setting,
            lines=lines,
            default=most_particular(line for line in defaults if line is not None),
            allow_auto=bool(open_)
            and all(any(_leaves_open(each, line) for each in open_) for line in lines),
        )


def _leaves_open(said: Line, limit: Line) -> bool:
    """Tell whether a word that the provider may choose is said of a limit as well.

    What is said of every model is not said of one that has a limit of its own, and
    what the baseline says not of a team that tightens it: neither says so itself.
    """
    own = limit.layer == "team" and not limit.loosens
    mine = said.id.removesuffix(said.path) == limit.id.removesuffix(limit.path)
    return (mine or not own) and (said.model is not None or limit.model is None)


class Book:
    """A policy laid out: the acting rules and, where lines are observed, all."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._pages: dict[tuple[bool, tuple[str, ...]], Page] = {}
        # One request asks many times.
        self._last: tuple[Principal, datetime.date, Page] | None = None

    def page(self, principal: Principal, date: datetime.date) -> Page:
        """Return what holds for a principal on a date.

        The pages are as many as the combinations of layers that ever matched.
        """
        last = self._last
        if last is not None and last[0] is principal and last[1] == date:
            return last[2]
        layers = layers_for(self.policy, principal, date)
        key = (layers.loosening, layers.names)
        found = self._pages.get(key)
        if found is None:
            found = self._pages[key] = _page(self.policy, layers)
        self._last = principal, date, found
        return found


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The acting rules, and all rules where some are only observed."""

    acting: Rulebook
    watched: Rulebook | None = None


def _page(policy: Policy, layers: Layers) -> Page:
    rules, acting = merge(policy, layers), merge(policy, layers, acting=True)
    lines = [line for lines in rules.lines.values() for line in lines]
    # What always holds is as strict as the policy: where one line acts, a disguise
    # must not be the way around it.
    acts = policy.mode == "enforce" or any(acting.lines.values())
    observed = not acts or any(line.mode == "observe" for line in lines)
    return Page(
        acting=Rulebook(acting, always="enforce" if acts else None),
        watched=Rulebook(rules, always="enforce" if acts else "observe")
        if observed
        else None,
    )


def _listed(rules: Rules) -> Iterator[str]:
    for path in LISTED:
        for line in rules.at(path) if path.startswith("state.") else ():
            if isinstance(line.value, tuple):
                yield from map(str, line.value)


def count_of(value: Value) -> int:
    """Return a line's number."""
    return value if isinstance(value, int) else 0


def count_spelled(line: Line) -> str:
    """Spell a line's number as its file does: an amount of money is one."""
    quota, number = QUOTAS.get(line.subject), count_of(line.value)
    return str(number) if quota is None else quota.spell(number)
