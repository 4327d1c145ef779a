"""Reading one rule: the block under a setting, or one word and why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import msgspec

from imagegate.engine.catalogue import Catalogue
from imagegate.engine.policy import (
    LISTED,
    SETTINGS,
    STANCES,
    Kind,
    LayerName,
    Line,
    Mode,
    Reaction,
    Setting,
    Use,
    Value,
)
from imagegate.engine.sizes import Size
from imagegate.policyfile.document import Hole, Node, Scalar, Sequence
from imagegate.policyfile.document import Mapping as MappingNode
from imagegate.policyfile.words import Entries, Place, Report, join, nearest, place_of

REACTIONS: Mapping[str, Reaction] = {
    "block": "block",
    "lower": "lower",
    "raise": "raise",
    "clamp": "clamp",
    "strip": "strip",
}
LIMIT_REACTIONS: Mapping[str, tuple[str, ...]] = {
    "tools": ("block",),
    "max_tool_calls": ("block", "lower"),
    "images_api_n": ("block", "lower"),
}
"""Which tool to take out is not for a number to say."""
MODES: Mapping[str, Mode] = {"enforce": "enforce", "observe": "observe"}
CONSTRAINTS: Mapping[str, tuple[Kind, ...]] = {
    "ordered": ("allow", "max", "min"),
    "size": ("allow", "max"),
    "word": ("allow",),
    "number": ("allow", "max", "min"),
}
_META = ("mode", "reason", "owner")


class Meta(msgspec.Struct, frozen=True):
    """What can be said about any rule."""

    mode: Mode | None = None
    reason: str = ""
    owner: str = ""
    loosens: bool = False


class Drafted(msgspec.Struct, frozen=True):
    """A line, and whether its rule said itself what happens otherwise."""

    line: Line
    place: Place
    says_otherwise: bool = False
    says_mode: bool = False


class Layer:
    """The layer whose lines are being read, and the lines read so far."""

    def __init__(
        self, report: Report, catalogue: Catalogue, name: LayerName, prefix: str = ""
    ) -> None:
        self.report = report
        self.catalogue = catalogue
        self.name: LayerName = name
        self.prefix = prefix
        self.drafted: list[Drafted] = []
        self.places: dict[str, Place] = {}

    def id(self, path: str) -> str:
        """Name what stands at a path of this layer."""
        return self.prefix + path

    def add(  # noqa: PLR0913 - a line has that many sides
        self,
        path: str,
        kind: Kind,
        subject: str,
        value: Value | None,
        place: Place,
        *,
        model: str | None = None,
        otherwise: Reaction | None = None,
        meta: Meta | None = None,
    ) -> None:
        """Note a line of this layer, unless its value could not be read."""
        if value is None:
            return
        meta = meta or Meta()
        line = Line(
            id=self.id(path),
            path=path,
            layer=self.name,
            kind=kind,
            subject=subject,
            value=value,
            model=model,
            otherwise=otherwise or "block",
            mode=meta.mode or "enforce",
            loosens=meta.loosens or self.name == "exception",
            reason=meta.reason,
            owner=meta.owner,
        )
        self.drafted.append(
            Drafted(line, place, otherwise is not None, meta.mode is not None)
        )

    def meta_keys(self) -> tuple[str, ...]:
        """Return the remarks a rule can carry in this layer."""
        return (*_META, "loosens") if self.name == "team" else _META

    def meta(self, entries: Entries, path: str) -> Meta:
        """Read what is said about a rule."""
        said = {name: node for name, (_, node) in entries.items()}
        remarks = {
            name: self.report.prose(said[name], join(path, name))
            for name in ("reason", "owner")
            if name in said
        }
        mode = loosens = None
        if "mode" in said:
            mode = self.report.word(said["mode"], join(path, "mode"), MODES)
        if "loosens" in said:
            loosens = self.report.true(said["loosens"], join(path, "loosens"))
        return Meta(
            mode=MODES[mode] if mode else None, loosens=bool(loosens), **remarks
        )


def words_of(catalogue: Catalogue, subject: str) -> tuple[str, ...]:
    """Return every word a provider has for a setting; empty where any will do."""
    words: dict[str, None] = {}
    for provider in catalogue.providers.values():
        field = provider.fields.get(subject)
        words.update(dict.fromkeys(field.words if field else ()))
    return tuple(words)


def read_value(layer: Layer, setting: Setting, node: Node, path: str) -> Value | None:
    """Read one value of a setting."""
    if setting.auto and isinstance(node, Scalar) and node.text == "auto":
        message = (
            "`auto` lets the provider decide, which no rule can hold; "
            "name a value, or say `allow_auto: true`"
        )
        layer.report.add("auto-is-no-value", path, message, place_of(node))
        return None
    if setting.kind == "number":
        return layer.report.number(node, path)
    if setting.kind == "size":
        return layer.report.size(node, path)
    known = setting.order or words_of(layer.catalogue, setting.name)
    named = [word for word in known if not (setting.auto and word == "auto")]
    return layer.report.word(node, path, named or None)


def read_list(
    layer: Layer, node: Node, path: str, read: Callable[[Node, str], Value | None]
) -> Value | None:
    """Read a list of values, each once; their order in the file means nothing."""
    values: list[Value] = []
    for item in layer.report.items(node, path):
        value = read(item, path)
        if value is not None and value in values:
            message = f"`{path}` names this twice; keep one"
            layer.report.add("repeated-item", path, message, place_of(item))
        elif value is not None:
            values.append(value)
    return tuple(sorted(values, key=_rank)) or None  # type: ignore[return-value] # one reader, one type


def _rank(value: Value) -> tuple[int, str]:
    """Sort numbers and sizes from the smallest, words by their letters."""
    if isinstance(value, Size):
        return value.pixels, f"{value.width:05}"
    return (value, "") if isinstance(value, int) else (0, str(value))


def read_rule(
    layer: Layer, setting: Setting, node: Node, path: str, model: str | None = None
) -> None:
    """Read the block of one setting into lines."""
    if setting.kind == "presence":
        read_stance(layer, path, node)
        return
    kinds = (*CONSTRAINTS[setting.kind], "default")
    known = (*kinds, "otherwise", *layer.meta_keys())
    if setting.auto:
        known = (*known, "allow_auto")
    entries = layer.report.mapping(node, layer.id(path), known)
    meta = layer.meta(entries, layer.id(path))
    otherwise = None
    if "otherwise" in entries:
        otherwise = _read_otherwise(layer, setting, entries["otherwise"][1], path)
    for kind in (*kinds, "allow_auto"):
        if kind in entries:
            body = entries[kind][1]
            place = join(path, kind)
            layer.add(
                place,
                kind,
                setting.name,
                read_kind(layer, setting, kind, body, layer.id(place)),
                place_of(body),
                model=model,
                otherwise=otherwise if kind in {"allow", "max", "min"} else None,
                meta=meta,
            )
    _refuse_empty(layer, node, path, (*layer.meta_keys(), "otherwise"))


def _refuse_empty(layer: Layer, node: Node, path: str, idle: Collection[str]) -> None:
    """Refuse a block in which nothing is a rule."""
    if isinstance(node, MappingNode) and all(
        key.text in idle for key, _ in node.entries
    ):
        message = f"`{layer.id(path)}` rules nothing; say `max`, `allow` or `default`"
        layer.report.add("empty-rule", layer.id(path), message, place_of(node))


def read_kind(
    layer: Layer, setting: Setting, kind: Kind, node: Node, path: str
) -> Value | None:
    """Read what one line of a block says."""
    if kind == "allow_auto":
        return layer.report.true(node, path)
    if kind == "allow":
        return read_list(
            layer, node, path, lambda item, at: read_value(layer, setting, item, at)
        )
    return read_value(layer, setting, node, path)


def _read_otherwise(
    layer: Layer, setting: Setting, node: Node, path: str
) -> Reaction | None:
    """Read what is done with a value that a rule forbids."""
    place = layer.id(join(path, "otherwise"))
    layer.places[place] = place_of(node)
    if isinstance(node, MappingNode):
        found = layer.report.mapping(node, place, ("use",), ("use",))
        if "use" not in found:
            return None
        value = read_value(layer, setting, found["use"][1], join(place, "use"))
        return Use(value=value) if isinstance(value, str | int | Size) else None
    word = layer.report.word(node, place, REACTIONS, "or `{ use: VALUE }`")
    return REACTIONS[word] if word else None


def read_stance(layer: Layer, path: str, node: Node, meta: Meta | None = None) -> None:
    """Read a line of one word, in short (`strip`) or with why (`{do: strip}`)."""
    place = layer.id(path)
    if isinstance(node, MappingNode) and meta is None:
        entries = layer.report.mapping(
            node, place, ("do", *layer.meta_keys()), required=("do",)
        )
        meta = layer.meta(entries, place)
        node = entries["do"][1] if "do" in entries else Hole(node.mark)
    value = _read_stance_value(layer, path, node)
    layer.add(path, "do", path, value, place_of(node), meta=meta)


def _read_stance_value(layer: Layer, path: str, node: Node) -> Value | None:
    report, place = layer.report, layer.id(path)
    if path in LISTED and isinstance(node, Sequence):
        return read_list(layer, node, place, report.word) if node.items else "refuse"
    besides = "or a list such as `[a, b]`" if path in LISTED else ""
    return report.word(node, place, STANCES[path], besides)


def read_cap(
    layer: Layer, path: str, subject: str, node: Node, reactions: Collection[str]
) -> None:
    """Read a cap on a count: a bare number is one, and blocks what goes over it."""
    otherwise, meta = None, Meta()
    if isinstance(node, MappingNode):
        keys = ("max", "otherwise", *layer.meta_keys())
        entries = layer.report.mapping(node, layer.id(path), keys, required=("max",))
        meta = layer.meta(entries, layer.id(path))
        if "otherwise" in entries:
            place = layer.id(join(path, "otherwise"))
            word = layer.report.word(entries["otherwise"][1], place, reactions)
            otherwise = REACTIONS[word] if word else None
        node = entries["max"][1] if "max" in entries else Hole(node.mark)
    path = join(path, "max")
    count = read_count(layer, node, path)
    at = place_of(node)
    layer.add(path, "max", subject, count, at, otherwise=otherwise, meta=meta)


def read_count(layer: Layer, node: Node, path: str) -> int | None:
    """Read the most there may be of something that is allowed."""
    money = path.startswith("quotas.cost.")
    read = layer.report.amount if money else layer.report.number
    number = read(node, layer.id(path))
    if number != 0:
        return number
    none = "`surface`" if path.startswith("quotas.requests.") else "`tool: block`"
    least = "more than 0" if money else "at least 1"
    message = f"`{path}` is {least}; to allow none, say {none}"
    layer.report.add("out-of-range", layer.id(path), message, place_of(node))
    return None


def setting_named(layer: Layer, key: Scalar, path: str) -> Setting | None:
    """Look up a setting by its key."""
    if key.text in SETTINGS:
        return SETTINGS[key.text]
    message = f"`{key.text}` is not a setting of the tool; "
    message += nearest(key.text, SETTINGS)
    layer.report.add("unknown-key", path, message, place_of(key))
    return None
