"""Where tools are judged: a verdict is remembered, and means the same."""

from __future__ import annotations

import pytest
from asking import AZURE, CATALOGUE, DESIGN, ask, policy, request, tool

from imagegate.engine import bench as module
from imagegate.engine.decide import Decider

CAP = "settings: { quality: { max: medium, default: low, otherwise: lower } }\n"
HIGH = tool(quality="high")
FUNCTION = {"type": "function", "name": "f", "parameters": {"tools": {}}}


def test_a_verdict_is_remembered_and_means_the_same() -> None:
    """For the same tool in the same place; another place is another verdict."""
    decider = Decider(policy(CAP), CATALOGUE)
    first, again = ask(decider, request(HIGH)), ask(decider, request(HIGH))
    moved = ask(decider, request(FUNCTION, HIGH))

    assert first == again
    assert moved.pointers == ["/tools/1/quality"]


def test_no_more_verdicts_are_remembered_than_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that sends a new tool each time fills no memory."""
    monkeypatch.setattr(module, "MAX_VERDICTS", 2)
    decider = Decider(policy(CAP), CATALOGUE)
    for number in range(5):
        assert ask(decider, request(tool(partial_images=number % 4))).word == "rewrite"
    large = tool(input_image_mask={"image_url": "x" * 5_000})
    assert ask(decider, request(large)).word == "rewrite"
    (bench,) = decider._benches.values()

    assert len(bench._verdicts) <= 2


def test_the_same_tool_is_judged_anew_for_somebody_else() -> None:
    """Teams, providers and days have verdicts of their own."""
    rules = policy(
        CAP
        + """
teams:
  design:
    match: { team: design }
    settings: { quality: { max: high, loosens: true } }
"""
    )
    decider = Decider(rules, CATALOGUE)

    assert ask(decider, request(HIGH)).tool["quality"] == "medium"
    assert ask(decider, request(HIGH), principal=DESIGN).word == "forward"
    assert ask(decider, request(HIGH), at=AZURE).tool["quality"] == "medium"
