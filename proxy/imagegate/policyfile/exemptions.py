"""Reading what an exception sets: paths of lines, each with its new value."""

from __future__ import annotations

from imagegate.engine.policy import LIMITS, SETTINGS, STANCES, Kind, Setting
from imagegate.engine.quota import QUOTAS
from imagegate.policyfile.document import Node, quoted
from imagegate.policyfile.rules import (
    CONSTRAINTS,
    Layer,
    Meta,
    read_count,
    read_kind,
    read_list,
    read_stance,
)
from imagegate.policyfile.words import MOST_LISTED, nearest, place_of


def read_set(layer: Layer, node: Node, path: str, meta: Meta) -> None:
    """Read the lines of an exception."""
    wanted = "lines such as `settings.size.max: 1536x1024`"
    entries = layer.report.named(node, path, wanted)
    for name, (key, value) in entries.items():
        if not _read_line(layer, name, value, meta):
            message = f"`{quoted(name)}` is not the path of a line; {_meant(name)}"
            layer.report.add("unknown-path", path, message, place_of(key))


def _meant(name: str) -> str:
    """Say which lines there are where a path stops short of them."""
    if name.partition(".")[0] in {"surface", "deployments"}:
        return "it stands at the top of the file, for everybody"
    below = [path for path in PATHS if f".{name}." in f".{path}"]
    if below and len(below) <= MOST_LISTED:
        return f"known there: {', '.join(f'`{path}`' for path in below)}"
    return nearest(name, PATHS)


def _settable(setting: Setting) -> tuple[Kind, ...]:
    """Return the kinds of line that an exception can set for a setting."""
    kinds = CONSTRAINTS.get(setting.kind)
    return (*kinds, "default") if kinds else ()


PATHS = (
    "models",
    *(f"settings.{x.name}.{kind}" for x in SETTINGS.values() for kind in _settable(x)),
    *(f"limits.{name}.max" for name in LIMITS),
    *(f"quotas.{name}.max" for name in QUOTAS),
    *STANCES,
)


COUNTS = frozenset(
    {("limits", name) for name in LIMITS} | {("quotas", name) for name in QUOTAS}
)


def _read_line(layer: Layer, name: str, node: Node, meta: Meta) -> bool:
    """Read one line; False where the path is that of no line."""
    if name in STANCES:
        read_stance(layer, name, node, meta)
        return True
    if name == "models":
        names = read_list(layer, node, layer.id(name), layer.report.word)
        layer.add(name, "allow", "model", names, place_of(node), meta=meta)
        return True
    rest, _, word = name.rpartition(".")
    scope, _, subject = rest.partition(".")
    if word == "max" and (scope, subject) in COUNTS:
        value = read_count(layer, node, name)
        layer.add(name, "max", subject, value, place_of(node), meta=meta)
        return True
    return _read_setting(layer, name, node, meta)


def _read_setting(layer: Layer, name: str, node: Node, meta: Meta) -> bool:
    """Read a new value for a line of a setting, for all models or for one."""
    rest, _, word = name.rpartition(".")
    model, setting = _subject(rest)
    if setting is None:
        return False
    kind = next((known for known in _settable(setting) if known == word), None)
    if kind is None:
        return False
    layer.add(
        name,
        kind,
        setting.name,
        read_kind(layer, setting, kind, node, layer.id(name)),
        place_of(node),
        model=model,
        meta=meta,
    )
    return True


def _subject(path: str) -> tuple[str | None, Setting | None]:
    """Split `models.MODEL.setting` from the right: both names can have dots."""
    scope, _, rest = path.partition(".")
    if scope == "settings":
        return None, SETTINGS.get(rest)
    for name, setting in SETTINGS.items():
        if scope == "models" and rest.endswith(f".{name}"):
            return rest.removesuffix(f".{name}"), setting
    return None, None
