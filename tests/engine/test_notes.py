"""What is found about a request, until it is a decision."""

from __future__ import annotations

import pytest
from asking import CATALOGUE, TODAY, policy

from imagegate.engine.decision import Block, Forward, Reason, Rewrite, Violation
from imagegate.engine.judge import Asked, judge_tool
from imagegate.engine.notes import Notes
from imagegate.engine.policy import ANONYMOUS
from imagegate.engine.rulebook import Book
from imagegate.engine.scene import Scene, reason_of, vocabulary
from imagegate.engine.value import DELETE

RULES = "settings: { quality: { max: low, default: low, otherwise: lower } }"


@pytest.fixture(name="notes")
def empty() -> Notes:
    """Nothing has been found yet."""
    page = Book(policy(RULES)).page(ANONYMOUS, TODAY)
    scene = Scene(
        catalogue=CATALOGUE,
        provider=CATALOGUE.provider("openai"),
        book=page.acting,
        vocabulary=vocabulary(CATALOGUE),
    )
    return Notes(scene)


def test_nothing_found_lets_the_request_go_on(notes: Notes) -> None:
    """With what is only observed."""
    seen = Violation(
        pointer="", field="", before=None, by=Reason(rule="r"), message="m"
    )

    assert notes.decision((seen,)) == Forward(observed=(seen,))


def test_changes_are_made_together(notes: Notes) -> None:
    """In the body and in the headers."""
    asked = Asked(pointer="/tools/0", carrier="tools", values={"quality": "high"})
    verdict = notes.take(judge_tool(notes.scene, asked))
    notes.change("/tool_choice", "tool_choice", Reason(rule="tool"), "it goes")
    notes.change_header("h", "gpt-image-2", Reason(rule="always.deployment"), "sk-1")

    decision = notes.decision(())

    assert isinstance(decision, Rewrite)
    assert decision.tools == (verdict.tool,)
    assert decision.edits == (
        ("/tools/0/quality", b'"low"'),
        ("/tool_choice", DELETE),
    )
    assert decision.headers == {"h": "gpt-image-2"}
    assert [change.pointer for change in decision.changes] == [
        "/tools/0/quality",
        "/tool_choice",
        "",
    ]
    assert decision.changes[2].before == "a string of 4 characters"
    assert decision.changes[2].after == "gpt-image-2"


def test_a_header_can_go(notes: Notes) -> None:
    """Like a member of the body."""
    notes.change_header("h", None, Reason(rule="tool"), "x")

    decision = notes.decision(())

    assert isinstance(decision, Rewrite)
    assert decision.headers == {"h": None}
    assert decision.changes[0].message == "the header h is left out"


def test_any_refusal_beats_all_changes(notes: Notes) -> None:
    """By a line of the policy, or by what always holds."""
    line = notes.scene.book.rules.at("fields.unknown")[0]
    notes.change("/a", "a", Reason(rule="tool"), "it goes")
    notes.refuse("/b", "b", line, "no", fix="leave it out", was="sk-1")
    notes.refuse_always("/c", "c", "deployment", "never", status=400)

    decision = notes.decision(())

    assert isinstance(decision, Block)
    assert decision.violations == (
        Violation(
            pointer="/b",
            field="b",
            before="a string of 4 characters",
            by=reason_of(line),
            message="no",
            fix="leave it out",
        ),
        Violation(
            pointer="/c",
            field="c",
            before=None,
            by=Reason(rule="always.deployment"),
            message="never",
            status=400,
        ),
    )
