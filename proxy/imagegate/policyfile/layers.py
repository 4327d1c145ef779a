"""Reading the sections that the baseline and the teams have in common."""

from __future__ import annotations

import msgspec

from imagegate.engine.policy import LIMITS, STANCES, Reaction, Use
from imagegate.policyfile.document import Mapping as MappingNode
from imagegate.policyfile.document import Node
from imagegate.policyfile.quotas import read_quotas
from imagegate.policyfile.rules import (
    LIMIT_REACTIONS,
    Layer,
    Meta,
    read_cap,
    read_rule,
    read_stance,
    setting_named,
)
from imagegate.policyfile.words import Entries, join, place_of

LAYERED = (
    "tool",
    "models",
    "settings",
    "fields",
    "limits",
    "quotas",
    "state",
    "interface",
)


def read_layer(layer: Layer, entries: Entries) -> None:
    """Read the sections of a layer, in the order in which they are explained."""
    said = {name: node for name, (_, node) in entries.items()}
    if "tool" in said:
        read_stance(layer, "tool", said["tool"])
    if "models" in said:
        _read_models(layer, said["models"])
    if "settings" in said:
        _read_settings(layer, said["settings"])
    if "limits" in said:
        found = layer.report.mapping(said["limits"], layer.id("limits"), LIMITS)
        for name, (_, node) in found.items():
            read_cap(layer, f"limits.{name}", name, node, LIMIT_REACTIONS[name])
    if "quotas" in said:
        read_quotas(layer, said["quotas"])
    for section in ("fields", "state", "interface"):
        if section in said:
            _read_stances(layer, section, said[section])


def _read_stances(layer: Layer, section: str, node: Node) -> None:
    inside = f"{section}."
    names = [x.removeprefix(inside) for x in STANCES if x.startswith(inside)]
    for name, (_, body) in layer.report.mapping(node, layer.id(section), names).items():
        read_stance(layer, join(section, name), body)


def _read_settings(layer: Layer, node: Node) -> None:
    entries = layer.report.entries(
        node, layer.id("settings"), "lines such as `quality: { max: low }`"
    )
    for name, (key, body) in entries.items():
        path = f"settings.{name}"
        setting = setting_named(layer, key, layer.id(path))
        if setting is not None:
            read_rule(layer, setting, body, path)


def _read_models(layer: Layer, node: Node) -> None:
    """Read the list of image models, and what holds for each alone."""
    path = layer.id("models")
    entries = layer.report.named(
        node, path, "lines such as `gpt-image-2: {}`, one for each model"
    )
    named = [name for name in entries if name not in {"default", "otherwise"}]
    added = [name for name in named if _read_model(layer, name, entries[name][1])]
    otherwise, meta = _read_models_otherwise(layer, entries)
    for name in named:
        layer.places[layer.id(f"models.{name}")] = place_of(entries[name][0])
    # A team that adds models keeps the baseline's; one that adds none narrows.
    listed = added or named
    if listed:
        layer.add(
            "models",
            "allow",
            "model",
            tuple(sorted(listed)),
            place_of(entries[listed[0]][0]),
            otherwise=otherwise,
            meta=msgspec.structs.replace(meta, loosens=bool(added)),
        )
    if "default" in entries:
        body = entries["default"][1]
        value = layer.report.word(body, layer.id("models.default"))
        layer.add(
            "models.default", "default", "model", value, place_of(body), meta=meta
        )
    if isinstance(node, MappingNode) and not set(entries) - {"otherwise"}:
        message = f"`{path}` names no model; list those allowed, or leave it out"
        layer.report.add("empty-list", path, message, place_of(node))


def _read_model(layer: Layer, name: str, node: Node) -> bool:
    """Read what holds for one model; tell whether a team adds the model."""
    loosens = False
    entries = layer.report.entries(
        node,
        layer.id(f"models.{name}"),
        "`{}`, or what holds for this model alone, as `{ quality: { max: low } }`",
    )
    for key, (spelled, body) in entries.items():
        path = f"models.{name}.{key}"
        if key == "loosens" and layer.name == "team":
            loosens = bool(layer.report.true(body, layer.id(path)))
            continue
        setting = setting_named(layer, spelled, layer.id(path))
        if setting is None:
            continue
        if setting.kind == "presence":
            message = f"`{key}` cannot differ by model; rule it under `settings`"
            layer.report.add("unknown-key", layer.id(path), message, place_of(spelled))
        else:
            read_rule(layer, setting, body, path, model=name)
    return loosens


def _read_models_otherwise(
    layer: Layer, entries: Entries
) -> tuple[Reaction | None, Meta]:
    """Read what is done with a model that is not in the list."""
    if "otherwise" not in entries:
        return None, Meta()
    node = entries["otherwise"][1]
    path = layer.id("models.otherwise")
    layer.places[path] = place_of(node)
    if not isinstance(node, MappingNode):
        word = layer.report.word(node, path, ("block",), "or `{ use: MODEL }`")
        return ("block" if word else None), Meta()
    keys = ("use", "do", "mode", "reason", "owner")
    found = layer.report.mapping(node, path, keys)
    meta = layer.meta(found, path)
    if ("use" in found) == ("do" in found):
        message = "say one of `use: MODEL` and `do: block`, not both or neither"
        layer.report.add("missing-key", path, message, place_of(node))
        return None, meta
    if "do" in found:
        layer.report.word(found["do"][1], join(path, "do"), ("block",))
        return "block", meta
    model = layer.report.word(found["use"][1], join(path, "use"))
    return (Use(value=model) if model else None), meta
