"""What is found about a request, until it is a decision."""

from __future__ import annotations

import pytest
from asking import CATALOGUE, TODAY, policy

from imagegate.engine.decision import Block, Forward, Reason, Rewrite, Violation
from imagegate.engine.judge import judge_tool
from imagegate.engine.notes import Notes
from imagegate.engine.policy import ANONYMOUS, Mode
from imagegate.engine.rulebook import Book, Rulebook
from imagegate.engine.scene import Scene, reason_of, vocabulary
from imagegate.engine.sheet import Asked
from imagegate.engine.value import DELETE

RULES = "settings: { quality: { max: low, default: low, otherwise: lower } }"


@pytest.fixture(name="notes")
def enforced() -> Notes:
    """Nothing has been found yet."""
    return empty("enforce")


def empty(always: Mode | None) -> Notes:
    page = Book(policy(RULES)).page(ANONYMOUS, TODAY)
    scene = Scene(
        catalogue=CATALOGUE,
        provider=CATALOGUE.provider("openai"),
        book=Rulebook(page.acting.rules, always=always),
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
    (line,) = notes.scene.book.rules.at("fields.unknown")
    notes.change("/tool_choice", "tool_choice", line, "it goes")
    notes.change_header("h", "gpt-image-2", line, "sk-1")

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


def test_a_tool_that_is_not_sent_is_told_of(notes: Notes) -> None:
    """With what was asked of it, and nothing of what is enforced."""
    asked = Asked(pointer="/tools/0", carrier="tools", values={"quality": "high"})

    notes.tell(judge_tool(notes.scene, asked))

    (told,) = notes.decision(()).tools
    assert (told.requested, told.enforced) == ({"quality": "high"}, {})
    assert not told.sent
    assert (notes.changes, notes.edits) == ([], [])


def test_a_header_can_go(notes: Notes) -> None:
    """Like a member of the body."""
    notes.change_header("h", None, None, "x")

    decision = notes.decision(())

    assert isinstance(decision, Rewrite)
    assert decision.headers == {"h": None}
    assert decision.changes[0].message == "the header h is left out"
    assert decision.changes[0].by == Reason(rule="always.deployment")


def test_any_refusal_beats_all_changes(notes: Notes) -> None:
    """By a line of the policy, or by what always holds."""
    line = notes.scene.book.rules.at("fields.unknown")[0]
    notes.change("/a", "a", line, "it goes")
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


def test_where_nothing_acts_only_the_unreadable_is_refused() -> None:
    """What no line says is then only observed."""
    notes = empty(None)
    notes.change_header("h", "x", None, "y")
    notes.refuse("/b", "b", None, "no")
    notes.refuse_always("/c", "c", "carrier", "no")

    assert notes.decision(()) == Forward()

    notes.refuse_always("/d", "d", "message_type", "never", unreadable=True)

    assert [(x.pointer, x.by.mode) for x in notes.violations] == [("/d", "enforce")]
