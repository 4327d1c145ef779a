"""One image tool while it is judged: what is written, refused and told."""

from __future__ import annotations

from typing import Any

import pytest
from asking import CATALOGUE, TODAY, policy

from imagegate.engine.decision import JudgedTool, Reason
from imagegate.engine.objections import Objection
from imagegate.engine.policy import ANONYMOUS, Line, Mode
from imagegate.engine.rulebook import Book, Rulebook
from imagegate.engine.scene import Scene, reason_of, vocabulary
from imagegate.engine.sheet import Asked, Sheet
from imagegate.engine.sizes import Size
from imagegate.engine.value import DELETE

RULES = Book(policy()).page(ANONYMOUS, TODAY).acting.rules
(LINE,) = RULES.at("fields.unknown")


def sheet(
    deployment: str | None = None, *, always: Mode | None = "enforce", **values: Any
) -> Sheet:
    """Begin a tool that came with these members."""
    scene = Scene(
        catalogue=CATALOGUE,
        provider=CATALOGUE.provider("openai"),
        book=Rulebook(RULES, always=always),
        vocabulary=vocabulary(CATALOGUE),
    )
    asked = Asked(
        pointer="/tools/0", carrier="tools", values=values, deployment=deployment
    )
    return Sheet(scene, asked)


def test_what_came_is_not_touched() -> None:
    """The copy is; an edit says the same for the body."""
    values: dict[str, Any] = {"quality": "high", "svg": {"model": "m"}}
    to = sheet(**values)

    to.write(("quality",), "low", LINE, "it is low")
    to.write(("size",), Size(width=1024, height=1536), LINE, "it is written")
    to.write(("svg", "model"), None, LINE, "it goes")

    assert to.final == {"quality": "low", "size": "1024x1536", "svg": {}}
    assert values == {"quality": "high", "svg": {"model": "m"}}
    assert [*to.edits.values()] == [
        ("/tools/0/quality", b'"low"'),
        ("/tools/0/size", b'"1024x1536"'),
        ("/tools/0/svg/model", DELETE),
    ]
    assert [(x.pointer, x.before, x.after) for x in to.changes.values()] == [
        ("/tools/0/quality", "high", "low"),
        ("/tools/0/size", None, "1024x1536"),
        ("/tools/0/svg/model", "a string of 1 characters", None),
    ]
    assert to.written == {"quality": LINE, "size": LINE, "svg.model": LINE}
    assert {x.by for x in to.changes.values()} == {reason_of(LINE)}


def test_the_later_of_two_changes_counts() -> None:
    """At one place there is one."""
    to = sheet()

    to.write(("quality",), "high", LINE, "first")
    to.write(("quality",), "low", LINE, "then")

    assert [x.message for x in to.changes.values()] == ["then"]
    assert [*to.edits.values()] == [("/tools/0/quality", b'"low"')]


def test_a_list_where_an_object_belongs_goes_with_its_member() -> None:
    """It cannot take one."""
    to = sheet(svg=["x"])

    to.write(("svg", "model"), "gpt-5", LINE, "it is written")

    assert to.final == {"svg": {"model": "gpt-5"}}
    assert [*to.edits.values()] == [("/tools/0/svg", b'{"model":"gpt-5"}')]


@pytest.mark.parametrize(
    ("line", "fix", "allowed", "expected"),
    [
        (LINE, "", ("low", "medium"), "set `quality` to low"),
        (LINE, "leave it out", ("low",), "leave it out"),
        (None, "", (), ""),
    ],
)
def test_a_refusal_says_what_would_pass(
    line: Line | None, fix: str, allowed: tuple[str, ...], expected: str
) -> None:
    """By its own words, or by the first value that would."""
    to = sheet()

    to.refuse(("quality",), "sk-1", line, "no", fix=fix, allowed=allowed)

    (found,) = to.violations
    assert (found.fix, found.allowed) == (expected, allowed)
    assert (found.pointer, found.field) == ("/tools/0/quality", "quality")
    assert found.before == "a string of 4 characters"
    assert found.by == (reason_of(LINE) if line else Reason(rule="always"))


def test_a_name_that_may_be_a_secret_is_not_told() -> None:
    """The edit has it, since the body has."""
    secret: dict[str, Any] = {"sk-1": 1}
    to = sheet(**secret)

    to.write(("sk-1",), None, LINE, "it goes")

    assert [x.pointer for x in to.changes.values()] == ["/tools/0/?"]
    assert [*to.edits.values()] == [("/tools/0/sk-1", DELETE)]


def test_what_always_holds_is_not_refused_where_nothing_acts() -> None:
    """A line still is."""
    to = sheet(always=None)

    to.refuse(("quality",), "x", None, "no")
    to.refuse(("size",), "x", LINE, "no")

    assert [x.field for x in to.violations] == ["size"]


@pytest.mark.parametrize(
    ("remedy", "fix"),
    [
        ("omit", "leave out `svg.model`"),
        (None, "ask for a combination that this model takes"),
    ],
)
def test_what_would_be_illegal_is_refused(remedy: Any, fix: str) -> None:
    """With the rule of the catalogue, and what came."""
    to = sheet(svg={"model": "m"})

    to.object(
        Objection(field="svg.model", rule="svg-needs-svg", message="no", remedy=remedy)
    )

    (found,) = to.violations
    assert found.by == Reason(rule="catalogue.svg-needs-svg")
    assert (found.pointer, found.fix) == ("/tools/0/svg/model", fix)
    assert found.before == "a string of 1 characters"


def test_it_is_told_what_was_asked_what_that_means_and_what_is_left() -> None:
    """A header names the model where the tool does not."""
    to = sheet("gpt-image-2", quality="high", input_image_mask={"file_id": "f"})
    to.write(("quality",), "low", LINE, "it is low")
    to.deprecated.append("name")
    to.unknown += 1
    to.unverified.append("complexity")

    told = to.report()

    mask = {"input_image_mask": "an object of 1 members"}
    assert told == JudgedTool(
        pointer="/tools/0",
        carrier="tools",
        requested={"model": "gpt-image-2", "quality": "high", **mask},
        effective=told.effective,
        enforced={"model": "gpt-image-2", "quality": "low", **mask},
        deprecated=("name",),
        unknown=1,
        mask=True,
        unverified=("complexity",),
    )
    assert told.effective["size"] == "auto"
    assert "input_fidelity" not in told.effective
    assert "complexity" not in told.effective


def test_a_model_that_is_no_name_means_nothing() -> None:
    """What the others mean is then the provider's general word."""
    told = sheet(model=["gpt-image-2"]).report()

    assert told.requested == {"model": "an array of 1 elements"}
    assert told.effective["quality"] == "auto"
