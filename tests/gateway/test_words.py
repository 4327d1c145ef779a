"""Rooms that do not import each other speak of the same things by the same words."""

from __future__ import annotations

from imagegate.middleware import line, passage
from imagegate.server import polite
from imagegate.upstream import deadlines, outcome


def test_extensions_have_one_name_in_every_room() -> None:
    """Each works without the others' too, and so nothing else would tell."""
    assert polite.DEPARTURE == line.DEPARTURE == deadlines.DEPARTURE
    assert polite.UNTAKEN == deadlines.UNTAKEN
    assert (passage.OUTCOME, passage.VIEWS) == (outcome.OUTCOME, outcome.VIEWS)
