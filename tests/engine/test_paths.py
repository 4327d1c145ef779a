"""Stepping into a decoded tool: names, never dotted texts."""

from __future__ import annotations

from typing import Any

import pytest

from imagegate.engine.paths import Path, copy, get, put, remove


@pytest.mark.parametrize(
    ("values", "path", "expected"),
    [
        ({"size": "1x1"}, ("size",), "1x1"),
        ({"svg": {"model": "m"}}, ("svg", "model"), "m"),
        ({"svg.model": "m"}, ("svg", "model"), None),
        ({"svg": {"model": "m"}}, ("svg.model",), None),
        ({"svg": "m"}, ("svg", "model"), None),
        ({"svg": None}, ("svg", "model"), None),
        ({"svg": ["m"]}, ("svg", "model"), None),
        ({}, ("svg", "reasoning", "effort"), None),
        (
            {"svg": {"reasoning": {"effort": "low"}}},
            ("svg", "reasoning"),
            {"effort": "low"},
        ),
    ],
)
def test_a_value_is_found_step_by_step(
    values: dict[str, Any], path: Path, expected: object
) -> None:
    """A dotted key is a key, and nothing is found inside a value that is no object."""
    assert get(values, path) == expected


@pytest.mark.parametrize(
    ("values", "path", "expected"),
    [
        ({}, ("size",), {"size": 1}),
        ({"size": 2, "n": 3}, ("size",), {"size": 1, "n": 3}),
        ({}, ("svg", "model"), {"svg": {"model": 1}}),
        ({"svg": {"a": 2}}, ("svg", "model"), {"svg": {"a": 2, "model": 1}}),
        ({"svg": "m"}, ("svg", "model"), {"svg": {"model": 1}}),
        ({"svg": ["m"]}, ("svg", "model"), {"svg": {"model": 1}}),
        ({"svg.model": 2}, ("svg", "model"), {"svg.model": 2, "svg": {"model": 1}}),
    ],
)
def test_a_value_is_put_with_the_objects_on_the_way(
    values: dict[str, Any], path: Path, expected: object
) -> None:
    """What stands in the way and is no object is replaced by one."""
    put(values, path, 1)

    assert values == expected


@pytest.mark.parametrize(
    ("values", "path", "expected"),
    [
        ({"size": 1, "n": 2}, ("size",), {"n": 2}),
        ({"svg": {"model": 1, "a": 2}}, ("svg", "model"), {"svg": {"a": 2}}),
        ({"svg": {"a": 2}}, ("svg", "model"), {"svg": {"a": 2}}),
        ({"svg": "m"}, ("svg", "model"), {"svg": "m"}),
        ({"svg": "m"}, ("svg", "reasoning", "effort"), {"svg": "m"}),
        ({}, ("svg", "model"), {}),
        ({"svg.model": 1}, ("svg", "model"), {"svg.model": 1}),
    ],
)
def test_a_value_is_taken_away_if_it_is_there(
    values: dict[str, Any], path: Path, expected: object
) -> None:
    """Nothing else goes with it."""
    remove(values, path)

    assert values == expected


def test_a_copy_shares_no_object() -> None:
    """Changing one leaves the other as it was; lists are never stepped into."""
    values: dict[str, Any] = {"svg": {"reasoning": {"effort": "low"}}, "a": [1]}
    twin = copy(values)
    put(twin, ("svg", "reasoning", "effort"), "high")

    assert values == {"svg": {"reasoning": {"effort": "low"}}, "a": [1]}
    assert twin == {"svg": {"reasoning": {"effort": "high"}}, "a": [1]}
