"""What a name of a person, a team or an attribute may be."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 200
"""Characters; records keep as many."""
MOST_VALUES: Final = 500
"""Of one attribute. More are refused, not cut: what is cut off may be what binds."""


def is_label(text: str) -> bool:
    """Tell whether a text is fit for records and policies."""
    return 0 < len(text) <= LONGEST and text.isprintable() and text == text.strip()
