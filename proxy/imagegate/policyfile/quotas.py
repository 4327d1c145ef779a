"""Reading quotas: how many of what, whose, and in which window of time.

`quotas: { images: { team: { month: { max: 5000, otherwise: strip } } } }` is the line
`quotas.images.team.month.max`; what says no more than its number is a number. Of
money it is an amount, in the currency of the price table.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagegate.engine.quota import BY, PER, QUOTAS, WHAT, What
from imagegate.policyfile.document import Node
from imagegate.policyfile.rules import Layer, read_cap
from imagegate.policyfile.words import join

OTHERWISE: Mapping[What, tuple[str, ...]] = {
    "images": ("block", "strip"),
    "requests": ("block",),
    "cost": ("block", "strip"),
}


def read_quotas(layer: Layer, node: Node) -> None:
    """Read the quotas of a layer."""
    report = layer.report
    for what, (_, inner) in report.mapping(node, layer.id("quotas"), WHAT).items():
        path = f"quotas.{what}"
        for by, (_, windows) in report.mapping(inner, layer.id(path), BY).items():
            place = layer.id(join(path, by))
            for per, (_, said) in report.mapping(windows, place, PER).items():
                quota = QUOTAS[f"{what}.{by}.{per}"]
                name = f"quotas.{quota.name}"
                read_cap(layer, name, quota.name, said, OTHERWISE[quota.what])
