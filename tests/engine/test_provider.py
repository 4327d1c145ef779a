"""A provider's rows answer the questions that one of them can answer alone."""

from __future__ import annotations

from datetime import date

import pytest

from imagegate.engine.provider import (
    Cell,
    Field,
    Model,
    Needs,
    Provider,
    Rule,
    Unstated,
    When,
)


def model(name: str = "m", *, retires: str | None = None) -> Model:
    return Model(
        name=name,
        snapshots=(f"{name}-2026-01-01",),
        aliases=(f"{name}-latest",),
        moving=False,
        known=True,
        retires=retires,
        sizes=None,
        cells={},
    )


def provider(default: str | None) -> Provider:
    return Provider(
        name="openai",
        fields={"model": Field(kind="name", stated_default=default)},
        images_api={},
        rules=(),
        models={"m": model(), "other": model("other")},
    )


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("auto", "auto"),
        (9, 9),
        (None, None),
        ("unknown", Unstated.UNKNOWN),
        ("inherits", Unstated.INHERITS),
    ],
)
def test_a_default_is_a_value_or_says_why_it_is_none(
    stated: str | int | None, expected: object
) -> None:
    """Not knowing a default is told apart from there being none."""
    assert Field(kind="name", stated_default=stated).default == expected


@pytest.mark.parametrize("name", ["m", "m-2026-01-01", "m-latest"])
def test_every_name_of_a_model_leads_to_its_row(name: str) -> None:
    """Snapshots and aliases share the row of the canonical name."""
    found = provider(None).model(name)

    assert found is not None
    assert found.name == "m"


@pytest.mark.parametrize("name", ["M", "m ", "m-2026-01-02", "", "ⓜ"])
def test_a_name_is_never_folded(name: str) -> None:
    """What only resembles a known name is unknown."""
    assert provider(None).model(name) is None


@pytest.mark.parametrize(
    ("stated", "expected"), [("m", "m"), ("unknown", None), (None, None)]
)
def test_the_model_used_when_none_is_named(
    stated: str | None, expected: str | None
) -> None:
    """A provider may not say which."""
    assert provider(stated).default_model == expected


@pytest.mark.parametrize(
    ("retires", "on", "expected"),
    [
        ("2026-10-23", date(2026, 10, 22), False),
        ("2026-10-23", date(2026, 10, 23), True),
        ("2026-10-23", date(2027, 1, 1), True),
        (None, date(2099, 1, 1), False),
    ],
)
def test_a_model_is_retired_from_its_date_on(
    retires: str | None, on: date, *, expected: bool
) -> None:
    """The day of the shutdown is already a day without the model."""
    assert model(retires=retires).retired(on) is expected


def test_a_cell_takes_what_is_not_known_to_be_illegal() -> None:
    """An empty cell takes nothing: the field must be omitted."""
    cell = Cell(legal=("low",), unknown=("max",))

    assert [word for word in ("low", "high", "max") if cell.takes(word)] == [
        "low",
        "max",
    ]
    assert not cell.empty
    assert not Cell(legal=(), unknown=("max",)).empty
    assert Cell(legal=(), unknown=()).empty


@pytest.mark.parametrize(
    ("when", "meant", "spared"),
    [
        (When(), ["x", 0, {}, True, 1.5], []),
        (When(words=("transparent",)), ["transparent"], ["auto", 1, {}, None]),
        (When(above=0), [1, 10**30], [0, -1, "1", True, 1.5, [], None]),
        (When(below=100), [99, -1], [100, 101, "1", False, None]),
    ],
    ids=["always", "words", "above", "below"],
)
def test_a_rule_is_about_the_values_it_names(
    when: When, meant: list[object], spared: list[object]
) -> None:
    """A value of the wrong type is objected to elsewhere, and meant by no number."""
    assert [value for value in (*meant, *spared) if when.matches(value)] == meant


@pytest.mark.parametrize(
    ("minimum", "maximum", "within"),
    [(0, 3, [0, 3]), (2, 3, [3]), (None, None, [-1, 0, 3, 4])],
)
def test_a_range_holds_both_of_its_ends(
    minimum: int | None, maximum: int | None, within: list[int]
) -> None:
    """One that nobody states holds every number."""
    field = Field(kind="integer", minimum=minimum, maximum=maximum)

    assert [number for number in (-1, 0, 3, 4) if field.in_range(number)] == within


def test_a_rule_without_a_condition_is_about_any_value() -> None:
    """The presence of the field is enough."""
    rule = Rule(id="r", says="s", fields=("f",), needs=Needs(field="g", among=("w",)))

    assert rule.when.always


def test_some_parameters_are_of_one_route_only() -> None:
    """And what is no parameter is of neither."""
    fields = {name: Field(kind="text") for name in ("prompt", "mask")}
    found = Provider(
        name="openai",
        fields={},
        images_api=fields,
        rules=(),
        models={},
        only={"mask": "edits"},
    )

    has = {
        (name, route)
        for name in ("prompt", "mask", "action")
        for route in ("generations", "edits")
        if found.has_parameter(name, route)
    }

    assert has == {("prompt", "generations"), ("prompt", "edits"), ("mask", "edits")}
