"""Reading quotas: how many of what, whose, and in which window of time.

`quotas: { images: { team: { month: { max: 5000, otherwise: strip } } } }` is the line
`quotas.images.team.month.max`; what says no more than its number is a number.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagegate.engine.policy import Reaction
from imagegate.engine.quota import BY, PER, QUOTAS, WHAT, Quota, What
from imagegate.policyfile.document import Hole, Node
from imagegate.policyfile.document import Mapping as MappingNode
from imagegate.policyfile.rules import REACTIONS, Layer, Meta
from imagegate.policyfile.words import join, place_of

OTHERWISE: Mapping[What, tuple[str, ...]] = {
    "images": ("block", "strip"),
    "requests": ("block",),
}


def read_quotas(layer: Layer, node: Node) -> None:
    """Read the quotas of a layer."""
    report = layer.report
    for what, (_, inner) in report.mapping(node, layer.id("quotas"), WHAT).items():
        path = f"quotas.{what}"
        for by, (_, windows) in report.mapping(inner, layer.id(path), BY).items():
            place = layer.id(join(path, by))
            for per, (_, said) in report.mapping(windows, place, PER).items():
                _read_quota(layer, QUOTAS[f"{what}.{by}.{per}"], said)


def _read_quota(layer: Layer, quota: Quota, node: Node) -> None:
    """Read one: a bare number is a cap, and blocks what goes over it."""
    path = f"quotas.{quota.name}"
    otherwise: Reaction | None = None
    meta = Meta()
    if isinstance(node, MappingNode):
        keys = ("max", "otherwise", *layer.meta_keys())
        entries = layer.report.mapping(node, layer.id(path), keys, required=("max",))
        meta = layer.meta(entries, layer.id(path))
        if "otherwise" in entries:
            place = layer.id(join(path, "otherwise"))
            body = entries["otherwise"][1]
            word = layer.report.word(body, place, OTHERWISE[quota.what])
            otherwise = REACTIONS[word] if word else None
        node = entries["max"][1] if "max" in entries else Hole(node.mark)
    layer.add(
        join(path, "max"),
        "max",
        quota.name,
        _read_most(layer, quota, node, join(path, "max")),
        place_of(node),
        otherwise=otherwise,
        meta=meta,
    )


def _read_most(layer: Layer, quota: Quota, node: Node, path: str) -> int | None:
    number = layer.report.number(node, layer.id(path))
    if number != 0:
        return number
    none = "`tool: block`" if quota.what == "images" else "`surface`"
    message = f"`{path}` is at least 1; to allow none, say {none}"
    layer.report.add("out-of-range", layer.id(path), message, place_of(node))
    return None
