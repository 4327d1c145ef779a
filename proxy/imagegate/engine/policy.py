"""What an operator may say, as values, and what of it holds for one principal.

A policy is a flat set of *lines*. A line's path is where it stands in the file
(`settings.quality.max`) and, with its layer in front, its id
(`teams.design.settings.quality.max`). Merging layers is the same for every path:

- a dated exception replaces all other lines at its path, and acts as they did;
- a team line that loosens replaces the baseline's line at its path;
- everything else holds together: lists intersect, the lowest cap wins.

What acts is merged from the lines that act alone: an observed line loosens nothing.

The order of lines in a file never matters.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from imagegate.engine.sizes import Size

Mode = Literal["enforce", "observe"]
LayerName = Literal["baseline", "team", "exception"]
Kind = Literal["max", "min", "allow", "default", "allow_auto", "do"]
Value = str | int | bool | Size | tuple[str, ...] | tuple[int, ...] | tuple[Size, ...]


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """How one setting of the tool can be ruled.

    Attributes:
        name: The wire's name; a dot steps into a nested object (`svg.model`).
        kind: Which constraints make sense for it.
        order: Weakest first, for the ordered kind. The last word of
            `moderation` is the strict one, so it is capped from below.
        auto: The word `auto`, and saying nothing, let the provider decide; that
            is a choice which no cap can hold.
    """

    name: str
    kind: Literal["ordered", "word", "number", "size", "presence"]
    order: tuple[str, ...] = ()
    auto: bool = False


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            name="quality",
            kind="ordered",
            order=("low", "medium", "high", "xhigh", "max"),
            auto=True,
        ),
        Setting(name="moderation", kind="ordered", order=("low", "auto")),
        Setting(name="size", kind="size", auto=True),
        Setting(name="background", kind="word", auto=True),
        Setting(name="output_format", kind="word"),
        Setting(name="output_compression", kind="number"),
        Setting(name="input_fidelity", kind="ordered", order=("low", "high")),
        Setting(name="partial_images", kind="number"),
        Setting(name="action", kind="word"),
        Setting(
            name="complexity",
            kind="ordered",
            order=("low", "medium", "high"),
            auto=True,
        ),
        Setting(name="frame_count", kind="number"),
        Setting(name="frame_duration_ms", kind="number"),
        Setting(name="svg.model", kind="word"),
        Setting(name="svg.reasoning.effort", kind="ordered", order=EFFORTS),
        Setting(name="input_image_mask", kind="presence"),
    )
}

LIMITS = ("tools", "max_tool_calls", "images_api_n")
"""Counts: tools in one request, tool calls in one answer, images of one call."""

STANCES: Mapping[str, tuple[str, ...]] = {
    "tool": ("allow", "strip", "block"),
    "settings.input_image_mask": ("allow", "strip", "block"),
    "fields.deprecated": ("pass", "strip", "block"),
    "fields.unknown": ("pass", "strip", "block"),
    "fields.unknown_values": ("pass", "block"),
    "state.prompt": ("allow", "refuse"),
    "state.agents": ("allow", "refuse"),
    "state.conversation": ("allow", "seen", "refuse"),
    "state.previous_response": ("allow", "seen", "refuse"),
    "state.item_reference": ("allow", "seen", "refuse"),
    "state.structured_inputs": ("allow", "refuse"),
    "state.multi_agent": ("allow", "refuse"),
    "state.compaction": ("allow", "refuse"),
    "interface.api_versions": ("allow", "refuse"),
    "interface.previews": ("allow", "refuse"),
}
"""The words each one-word line may say, the loosest first."""

LISTED = (
    "state.prompt",
    "state.agents",
    "interface.api_versions",
    "interface.previews",
)
"""Stances that may also be a list of what is allowed."""

SILENT: Mapping[str, str] = {
    "tool": "allow",
    "settings.input_image_mask": "allow",
    "fields.deprecated": "strip",
    "fields.unknown": "block",
    "fields.unknown_values": "block",
}
"""What holds where a policy says nothing; `state` is then refused, and of `interface`
that is allowed which the catalogue knows and finds usual."""


class Use(msgspec.Struct, frozen=True, kw_only=True, tag="use"):
    """Put this value in the place of the one that is not allowed."""

    value: str | int | Size


Reaction = Literal["block", "lower", "raise", "clamp", "strip"] | Use


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a policy says.

    Attributes:
        id: The layer's name and the path; what records and messages cite.
        path: Where the line stands; lines at one path speak of the same thing.
        layer: Which kind of layer says it.
        kind: What the value is: a cap, a list, a default, one word to do.
        subject: The setting, limit or stance it speaks of.
        model: The one image model it holds for; None for every model.
        otherwise: What is done with a value that the line forbids.
        mode: An observed line is decided and recorded, and acts on nothing.
        loosens: Stands in place of the baseline's line at the same path.
    """

    id: str
    path: str
    layer: LayerName
    kind: Kind
    subject: str
    value: Value
    model: str | None = None
    otherwise: Reaction = "block"
    mode: Mode = "enforce"
    loosens: bool = False
    reason: str = ""
    owner: str = ""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks.

    Attributes:
        id: A name fit for records; never a credential.
        attributes: What policies match on: `team`, `key`, claims.
        verified: The identity was proved; only then can anything loosen.
        source: How it was established: `key`, `jwt`, `header`, or what an embedding
            application says.
        proof: By what in particular: the id of a key, an issuer, a peer; never a
            credential.
    """

    id: str = "anonymous"
    attributes: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    verified: bool = False
    source: str = "none"
    proof: str = ""


ANONYMOUS = Principal()


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """Lines that hold for the principals that match."""

    name: str
    match: Mapping[str, tuple[str, ...]]
    lines: tuple[Line, ...]


class Exemption(msgspec.Struct, frozen=True, kw_only=True):
    """A dated, approved exception for the principals that match."""

    id: str
    match: Mapping[str, tuple[str, ...]]
    until: datetime.date
    approved_by: str
    lines: tuple[Line, ...]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One organisation's policy."""

    name: str
    owner: str
    mode: Mode
    lines: tuple[Line, ...]
    locked: tuple[str, ...] = ()
    surface: Mapping[str, str] = msgspec.field(default_factory=dict)
    deployments: Mapping[str, str] = msgspec.field(default_factory=dict)
    teams: tuple[Team, ...] = ()
    exceptions: tuple[Exemption, ...] = ()
    version: int = 1


def canonical(policy: Policy) -> bytes:
    """Spell a policy in its one canonical form, whatever its file looked like."""
    in_order = msgspec.structs.replace(
        policy,
        lines=_by_id(policy.lines),
        locked=tuple(sorted(policy.locked)),
        teams=tuple(
            msgspec.structs.replace(team, lines=_by_id(team.lines))
            for team in sorted(policy.teams, key=lambda team: team.name)
        ),
        exceptions=tuple(
            msgspec.structs.replace(item, lines=_by_id(item.lines))
            for item in sorted(policy.exceptions, key=lambda item: item.id)
        ),
    )
    return msgspec.json.encode(in_order, order="deterministic")


def digest(policy: Policy) -> str:
    """Name a policy's content: SHA-256 of the canonical form, in hex."""
    return hashlib.sha256(canonical(policy)).hexdigest()


def _by_id(lines: Iterable[Line]) -> tuple[Line, ...]:
    return tuple(sorted(lines, key=lambda line: line.id))


def matches(match: Mapping[str, tuple[str, ...]], principal: Principal) -> bool:
    """Tell whether a principal has one of the wanted values of every attribute."""
    return all(
        not set(wanted).isdisjoint(principal.attributes.get(name, ()))
        for name, wanted in match.items()
    )


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one principal on one day: the lines in force at each path."""

    lines: Mapping[str, tuple[Line, ...]]
    layers: tuple[str, ...] = ()

    def at(self, path: str) -> tuple[Line, ...]:
        """Return the lines in force at a path."""
        return self.lines.get(path, ())

    def constraints(self, subject: str, model: str | None = None) -> tuple[Line, ...]:
        """Return the lines that limit a setting, for a model its own too."""
        paths = [f"settings.{subject}."]
        if model is not None:
            paths.append(f"models.{model}.{subject}.")
        return tuple(
            line
            for prefix in paths
            for kind in ("allow", "max", "min")
            for line in self.at(prefix + kind)
        )

    def default(self, subject: str, model: str | None = None) -> Line | None:
        """Return the line whose value an unset setting takes.

        The most particular one speaks: an exception before a team, a team before
        the baseline, and within a layer the model's own before the general.
        """
        own = self.at(f"models.{model}.{subject}.default") if model else ()
        return most_particular((*own, *self.at(f"settings.{subject}.default")))

    def stance(self, path: str) -> tuple[str | tuple[str, ...], Line | None]:
        """Return the strictest word that the lines at a path say.

        Lists of ids intersect; a list is stricter than `allow` and looser than
        a refusal. Where no line acts, the loosest word holds: silence in a file
        is made into lines when it is read.
        """
        lines = self.at(path)
        order = STANCES[path]
        words = [line for line in lines if isinstance(line.value, str)]
        lists = [line for line in lines if isinstance(line.value, tuple)]
        worst = max(words, key=lambda line: _rank(order, line), default=None)
        if lists and (worst is None or worst.value == order[0]):
            common = set.intersection(*(_ids(line) for line in lists))
            return tuple(sorted(common)), lists[0]
        return (str(worst.value), worst) if worst else (order[0], None)


def _rank(order: tuple[str, ...], line: Line) -> int:
    return order.index(str(line.value))


def _ids(line: Line) -> set[str]:
    return (
        {str(item) for item in line.value} if isinstance(line.value, tuple) else set()
    )


RANK: Mapping[LayerName, int] = {"baseline": 0, "team": 1, "exception": 2}


def most_particular(lines: Iterable[Line]) -> Line | None:
    """Pick the line that speaks for the fewest: by layer, then model, then id."""
    return max(
        lines,
        key=lambda line: (RANK[line.layer], line.model is not None, line.id),
        default=None,
    )


class Layers(msgspec.Struct, frozen=True, kw_only=True):
    """The layers above the baseline that hold for one principal on one day."""

    teams: tuple[Team, ...] = ()
    exceptions: tuple[Exemption, ...] = ()
    loosening: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Name the layers as records do."""
        return (
            *(f"teams.{team.name}" for team in self.teams),
            *(f"exceptions.{item.id}" for item in self.exceptions),
        )


def layers_for(policy: Policy, principal: Principal, date: datetime.date) -> Layers:
    """Find the layers that hold; an exception only for a proved identity."""
    return Layers(
        teams=tuple(team for team in policy.teams if matches(team.match, principal)),
        exceptions=tuple(
            item
            for item in policy.exceptions
            if principal.verified
            and date <= item.until
            and matches(item.match, principal)
        ),
        loosening=principal.verified,
    )


def merge(policy: Policy, layers: Layers, *, acting: bool = False) -> Rules:
    """Merge the baseline with the layers above it.

    Args:
        policy: The baseline, and what is locked in it.
        layers: Those that hold.
        acting: Leave out what is only observed, before anything is replaced by it.
    """
    found: dict[str, list[Line]] = {}
    sources = [policy.lines, *(team.lines for team in layers.teams)]
    sources += [item.lines for item in layers.exceptions]
    for line in itertools.chain.from_iterable(sources):
        if layers.loosening or not line.loosens:
            found.setdefault(line.path, []).append(line)
    return Rules(
        lines={path: _in_force(lines, acting=acting) for path, lines in found.items()},
        layers=layers.names,
    )


def resolve(policy: Policy, principal: Principal, date: datetime.date) -> Rules:
    """Merge the layers of a policy that hold for a principal on a date."""
    return merge(policy, layers_for(policy, principal, date))


def _in_force(lines: list[Line], *, acting: bool) -> tuple[Line, ...]:
    """Keep the lines at one path that hold together (see the module's text)."""
    exceptions = [line for line in lines if line.layer == "exception"]
    others = [line for line in lines if line.layer != "exception"]
    if exceptions and others:
        mode: Mode = "enforce" if any(map(_acts, others)) else "observe"
        exceptions = [msgspec.structs.replace(line, mode=mode) for line in exceptions]
    if acting:
        exceptions, others = (
            list(filter(_acts, exceptions)),
            list(filter(_acts, others)),
        )
    if exceptions:
        return _by_id(exceptions)
    if any(line.loosens for line in others):
        return _by_id(line for line in others if line.layer == "team")
    return _by_id(others)


def _acts(line: Line) -> bool:
    return line.mode == "enforce"
