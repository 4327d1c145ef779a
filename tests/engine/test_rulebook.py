"""A policy laid out: the right lines for each model, principal and day."""

from __future__ import annotations

import datetime

import pytest
from asking import DESIGN, TODAY, policy

from imagegate.engine.policy import ANONYMOUS, Policy, Principal
from imagegate.engine.rulebook import Book, Rulebook, Ruled, count_of, count_spelled

RULES = """
models:
  gpt-image-2: { quality: { max: low, default: low } }
  gpt-image-1-mini: { size: { allow_auto: true } }
  gpt-image-2-2026-04-21: {}
  default: gpt-image-1-mini
  otherwise: block
settings:
  quality: { max: medium, default: medium, otherwise: lower }
  size: { max: 1536x1024, default: 1024x1024, otherwise: lower }
  background: { allow: [opaque], default: opaque, allow_auto: true }
limits: { tools: 3 }
teams:
  design:
    match: { team: design }
    limits: { tools: 2 }
    models:
      gpt-image-1-mini: {}
      gpt-image-2: { complexity: { max: low, default: low } }
exceptions:
  - id: E-1
    for: { team: design }
    set: { settings.size.max: 2048x2048 }
    until: 2026-11-30
    approved_by: boss
"""


def page(text: str = RULES, who: Principal = ANONYMOUS) -> Rulebook:
    return Book(policy(text)).page(who, TODAY).acting


def ruled(book: Rulebook, name: str, *models: str) -> Ruled:
    return next(r for r in book.settings(models) if r.setting.name == name)


def ids(found: Ruled) -> list[str]:
    return [line.id for line in found.lines]


def test_a_model_has_its_own_lines_besides_the_general() -> None:
    """Other models have the general ones alone."""
    own = ruled(page(), "quality", "gpt-image-2")
    general = ruled(page(), "quality", "gpt-image-1-mini")

    assert ids(own) == ["settings.quality.max", "models.gpt-image-2.quality.max"]
    assert own.default is not None
    assert own.default.id == "models.gpt-image-2.quality.default"
    assert ids(general) == ids(ruled(page(), "quality")) == ["settings.quality.max"]
    assert general.default is not None
    assert general.default.value == "medium"


def test_a_model_listed_under_two_names_has_the_lines_of_both() -> None:
    """The baseline lists a snapshot, a team the model: what each says holds."""
    names = ("gpt-image-2-2026-04-21", "gpt-image-2")
    book = page(who=DESIGN)

    assert ids(ruled(book, "quality", *names)) == [
        "settings.quality.max",
        "models.gpt-image-2.quality.max",
    ]
    assert ids(ruled(book, "complexity", *names)) == [
        "teams.design.models.gpt-image-2.complexity.max"
    ]


def test_auto_is_allowed_in_general_or_for_one_model() -> None:
    """And for no other."""
    assert ruled(page(), "background", "gpt-image-2").allow_auto
    assert ruled(page(), "size", "gpt-image-1-mini").allow_auto
    assert not ruled(page(), "size", "gpt-image-2").allow_auto
    assert not ruled(page(), "quality").allow_auto


@pytest.mark.parametrize(
    ("own", "model", "open_"),
    [
        ("", "", True),
        ("{ default: low }", "", True),
        ("{ max: low, default: low }", "", False),
        ("{ max: low, default: low, allow_auto: true }", "", True),
        ("{ max: max, loosens: true }", "", True),
        ("", "{ max: low, default: low }", False),
        ("", "{ max: low, default: low, allow_auto: true }", True),
        ("{ max: low, default: low }", "{ allow_auto: true }", False),
    ],
)
def test_auto_is_allowed_where_each_limit_says_so(
    own: str, model: str, *, open_: bool
) -> None:
    """Who tightens has not said that the provider may choose beyond that."""
    text = f"""
models:
  gpt-image-2: {{ {f"quality: {model}" * bool(model)} }}
  default: gpt-image-2
settings: {{ quality: {{ max: high, default: medium, allow_auto: true }} }}
teams:
  design:
    match: {{ team: design }}
    settings: {{ {f"quality: {own}" * bool(own)} }}
"""
    assert ruled(page(text, DESIGN), "quality", "gpt-image-2").allow_auto is open_


def test_no_team_says_for_another_that_the_provider_may_choose() -> None:
    """As with every line that loosens."""
    text = """
settings: { quality: { max: high, default: medium } }
teams:
  design:
    match: { team: design }
    settings: { quality: { max: low, default: low } }
  all:
    match: { team: design }
    settings: { quality: { allow_auto: true, loosens: true } }
"""
    alone = text.replace("match: { team: design }", "match: { team: x }", 1)

    assert not ruled(page(text, DESIGN), "quality").allow_auto
    assert ruled(page(alone, DESIGN), "quality").allow_auto


def test_the_format_is_decided_first_and_a_mask_has_no_value() -> None:
    """The format says which of the others have a place."""
    names = [found.setting.name for found in page().settings(())]

    assert names[0] == "output_format"
    assert "input_image_mask" not in names
    assert len(names) == len(set(names)) == 14


def test_a_setting_is_ruled_by_a_line_or_a_default() -> None:
    """Silence is no rule."""
    book = page("settings: { action: { default: generate } }")

    assert ruled(book, "action").ruled
    assert not ruled(book, "quality").ruled


def test_the_settings_are_laid_out_once() -> None:
    """Names that no line speaks of are not remembered."""
    book = page()

    assert book.settings(("gpt-image-2",)) is book.settings(("gpt-image-2", "x"))
    assert book.settings(("y",)) is book.settings(())


@pytest.mark.parametrize(("who", "expected"), [(ANONYMOUS, 3), (DESIGN, 2)])
def test_the_tightest_limit_counts(who: Principal, expected: int) -> None:
    """Of several layers that count the same."""
    limit = page(who=who).limit("tools")

    assert limit is not None
    assert count_of(limit.value) == expected
    assert page().limit("max_tool_calls") is None


def test_what_is_no_number_counts_nothing() -> None:
    """Such a line would allow nothing at all."""
    assert count_of("many") == 0


def test_pages_differ_by_layers_and_are_remembered() -> None:
    """One for each combination of layers that ever matched."""
    book = Book(policy(RULES))
    later = datetime.date(2026, 12, 1)
    claimed = Principal(attributes={"team": ("design",)})

    assert book.page(ANONYMOUS, TODAY) is book.page(Principal(id="x"), later)
    assert book.page(DESIGN, TODAY) is not book.page(DESIGN, later)
    assert book.page(DESIGN, later) is not book.page(claimed, later)
    sizes = ruled(book.page(DESIGN, TODAY).acting, "size").lines
    assert [line.id for line in sizes] == ["exceptions.E-1.settings.size.max"]


def test_observed_lines_are_on_a_page_of_their_own() -> None:
    """What acts knows nothing of them; without any there is no second page."""
    text = "settings: { quality: { max: low, default: low, mode: observe } }"
    found = Book(policy(text)).page(ANONYMOUS, TODAY)

    assert not ruled(found.acting, "quality").ruled
    assert found.watched is not None
    assert ruled(found.watched, "quality").ruled
    assert Book(policy(RULES)).page(ANONYMOUS, TODAY).watched is None


HEAD = "version: 1\nname: p\nowner: o\nmode: observe\n"


@pytest.mark.parametrize(
    ("head", "text", "acting", "watched"),
    [
        (HEAD, "", None, "observe"),
        (HEAD, "tool: { do: block, mode: enforce }", "enforce", "enforce"),
        (HEAD.replace("observe", "enforce"), "", "enforce", None),
        (
            HEAD.replace("observe", "enforce"),
            "tool: { do: block, mode: observe }",
            "enforce",
            "enforce",
        ),
    ],
)
def test_what_always_holds_acts_where_anything_does(
    head: str, text: str, acting: str | None, watched: str | None
) -> None:
    """A disguise must not be the way around the one line that acts."""
    found = Book(policy(text, head=head)).page(ANONYMOUS, TODAY)

    assert found.acting.always == acting
    assert (found.watched and found.watched.always) == watched


def test_a_policy_without_a_line_that_acts_has_a_second_page() -> None:
    """Or nobody would say what it observes."""
    bare = Policy(name="p", owner="o", mode="observe", lines=())

    assert Book(bare).page(ANONYMOUS, TODAY).watched is not None


def test_a_team_that_tries_a_looser_cap_loosens_nothing() -> None:
    """What acts is the baseline's line, until the team's is enforced."""
    text = """
    settings: { quality: { max: low, default: low, otherwise: lower } }
    teams:
      design:
        match: { team: design }
        settings: { quality: { max: high, loosens: true, mode: observe } }
    """
    found = Book(policy(text)).page(DESIGN, TODAY)

    assert ids(ruled(found.acting, "quality")) == ["settings.quality.max"]
    assert found.watched is not None
    assert ids(ruled(found.watched, "quality")) == ["teams.design.settings.quality.max"]


def test_a_number_is_spelled_as_its_file_does() -> None:
    found = page("limits: { tools: 2 }\nquotas: { cost: { team: { day: 4.50 } } }")
    limit = found.limit("tools")
    assert limit is not None

    assert count_spelled(limit) == "2"
    assert [count_spelled(line) for line in found.quotas.values()] == ["4.5"]


def test_ids_that_lines_name_are_at_hand() -> None:
    """Of prompts and agents; a word names none."""
    assert page("state: { agents: [b, a@3], prompt: [p] }").listed == {"a@3", "b", "p"}
    assert page("state: { agents: allow }").listed == frozenset()
