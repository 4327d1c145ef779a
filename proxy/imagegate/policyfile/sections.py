"""Reading a whole file into layers of lines, each with its place.

Shape only: whether the lines make sense together is `meaning`'s question.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping

import msgspec

from imagegate.engine.catalogue import Catalogue
from imagegate.engine.policy import Mode
from imagegate.engine.surface import GROUPS
from imagegate.policyfile.document import Mapping as MappingNode
from imagegate.policyfile.document import Node, Sequence
from imagegate.policyfile.exemptions import read_set
from imagegate.policyfile.layers import LAYERED, read_layer
from imagegate.policyfile.rules import MODES, Drafted, Layer, Meta
from imagegate.policyfile.words import Entries, Place, Report, join, place_of

REQUIRED = ("version", "name", "owner", "mode")
TOP = (*REQUIRED, *LAYERED, "locked", "surface", "deployments", "teams", "exceptions")
EXCEPTION = ("id", "for", "set", "until", "approved_by")


class TeamDraft(msgspec.Struct, frozen=True):
    """A team as it was read."""

    name: str
    match: Mapping[str, tuple[str, ...]]
    lines: list[Drafted]


class ExceptionDraft(msgspec.Struct, frozen=True):
    """An exception as it was read."""

    id: str
    match: Mapping[str, tuple[str, ...]]
    until: datetime.date
    approved_by: str
    lines: list[Drafted]
    place: Place


class Draft(msgspec.Struct):
    """A policy file as it was read, with the place of everything."""

    name: str = ""
    owner: str = ""
    mode: Mode = "enforce"
    lines: list[Drafted] = msgspec.field(default_factory=list)
    places: dict[str, Place] = msgspec.field(default_factory=dict)
    locked: list[tuple[str, Place]] = msgspec.field(default_factory=list)
    surface: dict[str, str] = msgspec.field(default_factory=dict)
    deployments: dict[str, tuple[str, Place]] = msgspec.field(default_factory=dict)
    teams: list[TeamDraft] = msgspec.field(default_factory=list)
    exceptions: list[ExceptionDraft] = msgspec.field(default_factory=list)


class Reader:
    """Reads a tree into a draft; one use."""

    def __init__(self, report: Report, catalogue: Catalogue) -> None:
        self.report = report
        self.catalogue = catalogue
        self.draft = Draft()

    def read(self, root: Node) -> Draft:
        """Read the whole file."""
        entries = self.report.mapping(root, "", TOP, REQUIRED)
        readers: Mapping[str, Callable[[Node], None]] = {
            "version": self._version,
            "name": self._name,
            "owner": self._owner,
            "mode": self._mode,
            "locked": self._locked,
            "surface": self._surface,
            "deployments": self._deployments,
            "teams": self._teams,
            "exceptions": self._exceptions,
        }
        for name, reader in readers.items():
            if name in entries:
                reader(entries[name][1])
        baseline = Layer(self.report, self.catalogue, "baseline")
        read_layer(baseline, entries)
        self.draft.lines = baseline.drafted
        self.draft.places |= baseline.places
        return self.draft

    def _version(self, node: Node) -> None:
        if self.report.number(node, "version") not in {1, None}:
            message = "this program reads version 1 of the format; say `version: 1`"
            self.report.add("unknown-version", "version", message, place_of(node))

    def _name(self, node: Node) -> None:
        self.draft.name = self.report.name(node, "name") or ""

    def _owner(self, node: Node) -> None:
        self.draft.owner = self.report.prose(node, "owner")

    def _mode(self, node: Node) -> None:
        mode = self.report.word(node, "mode", MODES)
        self.draft.mode = MODES[mode or "enforce"]

    def _locked(self, node: Node) -> None:
        seen = set()
        for item in self.report.items(node, "locked"):
            path = self.report.word(item, "locked")
            if path in seen:
                message = "`locked` names this twice; keep one"
                self.report.add("repeated-item", "locked", message, place_of(item))
            elif path is not None:
                self.draft.locked.append((path, place_of(item)))
            seen.add(path)

    def _surface(self, node: Node) -> None:
        places: dict[str, Place] = {}
        for name, (_, value) in self.report.mapping(node, "surface", GROUPS).items():
            path = f"surface.{name}"
            stance = self.report.word(value, path, GROUPS[name].stances)
            if stance is not None:
                self.draft.surface[name] = stance
                places[name] = place_of(value)
        self._batches(places.get("batches"))

    def _batches(self, place: Place | None) -> None:
        """Warn where files and batches are not judged together."""
        stances = [self.draft.surface.get(name, "") for name in ("batches", "files")]
        batches, files = (stance == "enforce" for stance in stances)
        message = ""
        if batches and not files:
            message = (
                "a batch runs files that were judged: say `files: enforce` as well"
            )
        elif files and stances[0] == "pass":
            message = "batches that pass run files that nobody judged: say `enforce`"
        if message and place is not None:
            self.report.add(
                "batches-apart", "surface.batches", message, place, severity="warning"
            )

    def _deployments(self, node: Node) -> None:
        wanted = "lines of `deployment: model`"
        entries = self.report.named(node, "deployments", wanted)
        for name, (_, value) in entries.items():
            model = self.report.word(value, f"deployments.{name}")
            if model is not None:
                self.draft.deployments[name] = (model, place_of(value))

    def _teams(self, node: Node) -> None:
        wanted = "lines of `team: { match: …, … }`"
        for name, (key, body) in self.report.named(node, "teams", wanted).items():
            path = f"teams.{name}"
            self.report.name(key, "teams")
            entries = self.report.mapping(
                body, path, ("match", *LAYERED), required=("match",), above=TOP
            )
            match = self._match(entries, "match", path)
            layer = Layer(self.report, self.catalogue, "team", prefix=f"{path}.")
            read_layer(layer, entries)
            self.draft.places |= layer.places
            if match:
                self.draft.teams.append(TeamDraft(name, match, layer.drafted))

    def _match(
        self, entries: Entries, key: str, path: str
    ) -> dict[str, tuple[str, ...]]:
        """Read which principals are meant; nobody is not an answer."""
        if key not in entries:
            return {}
        node, place = entries[key][1], join(path, key)
        wanted = "who is meant, such as `{ team: design }`"
        match: dict[str, tuple[str, ...]] = {}
        for name, (_, value) in self.report.named(node, place, wanted).items():
            match[name] = self._words(value, join(place, name))
        if isinstance(node, MappingNode) and not node.entries:
            message = f"`{place}` means everyone; say {wanted}"
            self.report.add("matches-everyone", place, message, place_of(node))
        return match

    def _words(self, node: Node, path: str) -> tuple[str, ...]:
        if isinstance(node, MappingNode):
            wanted = "one word, or a list of which one is enough"
            self.report.expected(node, path, "expected-word", wanted)
            return ()
        nodes = self.report.items(node, path) if isinstance(node, Sequence) else [node]
        return tuple(sorted({*filter(None, (self._meant(n, path) for n in nodes))}))

    def _meant(self, node: Node, path: str) -> str | None:
        word = self.report.word(node, path)
        sign = next((sign for sign in "*!" if sign in word), "") if word else ""
        if sign:
            message = (
                f"`{path}` means who has exactly `{word}`: a `{sign}` stands for "
                "itself; list each value that is meant"
            )
            self.report.add(
                "match-literal", path, message, place_of(node), severity="warning"
            )
        return word

    def _exceptions(self, node: Node) -> None:
        for number, item in enumerate(self.report.items(node, "exceptions")):
            self._exception(item, f"exceptions[{number}]")

    def _exception(self, node: Node, path: str) -> None:
        """Read one exception as far as it goes: a missing key hides no problem."""
        known = (*EXCEPTION, "reason", "owner")
        entries = self.report.mapping(node, path, known, required=EXCEPTION)
        said = {name: value for name, (_, value) in entries.items()}
        name = until = None
        approved_by = ""
        if "id" in said:
            name = self.report.name(said["id"], join(path, "id"))
        if "until" in said:
            until = self.report.date(said["until"], join(path, "until"))
        if "approved_by" in said:
            approved_by = self.report.prose(
                said["approved_by"], join(path, "approved_by")
            )
        match = self._match(entries, "for", path)
        where = f"exceptions.{name}" if name else path
        layer = Layer(self.report, self.catalogue, "exception", prefix=f"{where}.")
        meta = layer.meta(entries, path)
        if "set" in said:
            self._set(layer, said["set"], join(where, "set"), meta)
        if name and until and match:
            self.draft.exceptions.append(
                ExceptionDraft(
                    id=name,
                    match=match,
                    until=until,
                    approved_by=approved_by,
                    lines=layer.drafted,
                    place=place_of(said["id"]),
                )
            )

    def _set(self, layer: Layer, node: Node, path: str, meta: Meta) -> None:
        if isinstance(node, MappingNode) and not node.entries:
            message = f"`{path}` sets nothing; name a line, or remove the exception"
            self.report.add("empty-rule", path, message, place_of(node))
        read_set(layer, node, path, meta)
