"""What an examination finds: how much it weighs, and what would be better."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Weight = Literal["broken", "danger", "open", "advice", "fine"]
WEIGHTS: Final[tuple[Weight, ...]] = ("broken", "danger", "open", "advice", "fine")
"""The heaviest first: it will not serve or not enforce; it may fail or leak; somebody
decided that it stays open; it could be better; it was looked at and is well.
"""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    Attributes:
        weight: How bad it is.
        area: What it is about: `settings`, `policy`, `provider openai`, …
        found: What is so. It holds no key, and nothing that a provider said at length.
        better: What to do; empty where nothing is to be done.
    """

    weight: Weight
    area: str
    found: str
    better: str = ""


def in_order(findings: list[Finding]) -> list[Finding]:
    """Sort by weight; what weighs the same stays as it was found."""
    return sorted(findings, key=lambda each: WEIGHTS.index(each.weight))
