"""What may be said about a value, and with which status a refusal is answered."""

from __future__ import annotations

import msgspec
import pytest

from imagegate.engine.decision import (
    Block,
    Change,
    Forward,
    JudgedTool,
    Reason,
    Rewrite,
    Together,
    Violation,
    shown,
)
from imagegate.engine.sizes import Size
from imagegate.engine.value import Number

WORDS = frozenset({"low", "gpt-image-2"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("low", "low"),
        ("gpt-image-2", "gpt-image-2"),
        ("1536x1024", "1536x1024"),
        (Size(width=1536, height=1024), "1536x1024"),
        (7, 7),
        (-7, -7),
        ((1 << 53) - 1, (1 << 53) - 1),
        (1 << 53, "a very large number"),
        (-(1 << 53), "a very large number"),
        (True, "true"),
        (False, "false"),
        ("", "a string of 0 characters"),
        ("LOW", "a string of 3 characters"),
        ("sk-proj-123", "a string of 11 characters"),
        ("1536X1024", "a string of 9 characters"),
        ({"low": 1}, "an object of 1 members"),
        (["low", 2], "an array of 2 elements"),
        (Number("1.0"), "a number that is not whole"),
        (1.5, "a number that is not whole"),
    ],
)
def test_only_words_numbers_and_sizes_are_shown(
    value: object, expected: str | int | None
) -> None:
    """Anything else may be a secret; its type and length are no secret."""
    assert shown(value, WORDS) == expected


def test_with_a_key_equal_secrets_can_be_found() -> None:
    """The hash tells equal values apart from others, and depends on the key."""
    one, same = shown("sk-1", WORDS, b"k"), shown("sk-1", WORDS, b"k")
    other, elsewhere = shown("sk-2", WORDS, b"k"), shown("sk-1", WORDS, b"K")

    assert one == same
    assert len({one, other, elsewhere}) == 3
    assert shown("low", WORDS, b"k") == "low"


def test_a_half_character_can_be_hashed() -> None:
    """No string brings the record down."""
    assert "hmac" in str(shown("\ud800", WORDS, b"k"))


@pytest.mark.parametrize("statuses", [[403], [400, 403], [403, 404]])
def test_a_block_answers_with_the_status_of_its_first_violation(
    statuses: list[int],
) -> None:
    """One answer, however many reasons."""
    by = Reason(rule="always.tool_type")
    violations = tuple(
        Violation(pointer="", field="", before=None, by=by, message="no", status=status)
        for status in statuses
    )

    assert Block(violations=violations).status == statuses[0]


def test_decisions_are_told_apart_when_they_are_written() -> None:
    """Each is tagged by its word."""
    written = [
        msgspec.to_builtins(each)["decision"]
        for each in (Forward(), Rewrite(changes=()), Block(violations=()))
    ]

    assert written == ["forward", "rewrite", "block"]


TOOL = JudgedTool(pointer="/a", carrier="", requested={}, effective={}, enforced={})
CHANGE = Change(
    pointer="/a", field="", before=1, after=2, by=Reason(rule="r"), message=""
)
VIOLATION = Violation(pointer="/b", field="", before=1, by=Reason(rule="r"), message="")


def test_of_several_decisions_one_is_made() -> None:
    """Any refusal beats all changes, and all that was found is told."""
    forward = Forward(tools=(TOOL,), observed=(CHANGE,))
    rewrite = Rewrite(
        changes=(CHANGE,), edits=(("/a", b"2"),), headers={"h": None}, tools=(TOOL,)
    )
    block = Block(violations=(VIOLATION,), observed=(VIOLATION,))

    assert Together().decision() == Forward()
    assert Together(forward, forward).decision() == Forward(
        tools=(TOOL, TOOL), observed=(CHANGE, CHANGE)
    )
    assert Together(forward, rewrite, rewrite).decision() == Rewrite(
        changes=(CHANGE, CHANGE),
        edits=(("/a", b"2"), ("/a", b"2")),
        headers={"h": None},
        tools=(TOOL, TOOL, TOOL),
        observed=(CHANGE,),
    )
    assert Together(rewrite, block, block).decision() == Block(
        violations=(VIOLATION, VIOLATION),
        tools=(TOOL,),
        observed=(VIOLATION, VIOLATION),
    )


def test_how_much_there_is_to_tell_is_known_on_the_way() -> None:
    """A file of many lines is given up before all of them are told."""
    rewrite = Rewrite(changes=(CHANGE,), tools=(TOOL,), observed=(VIOLATION,))
    both = Together(rewrite, Block(violations=(VIOLATION, VIOLATION)))

    assert (both.told, both.refused) == (5, 2)
    assert (Together().told, Together().refused) == (0, 0)
