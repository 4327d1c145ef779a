"""Changes by their places, and the pieces that a body is written in."""

from __future__ import annotations

import pytest
from msgspec import Raw

from imagegate.engine.edits import DELETE, Changes, Pieces, spell_key, split


def test_changes_are_gathered_by_their_places() -> None:
    """Of two at one place the later counts."""
    changes = Changes.of([("/a/b", b"1"), ("/a/c", DELETE), ("/a/b", b"2")])

    assert changes.here is None
    below = changes.below["a"].below
    assert (below["b"].here, below["c"].here) == (b"2", DELETE)


@pytest.mark.parametrize(
    ("changes", "created"),
    [
        ([("/a", b"1")], b'{"a":1}'),
        ([("/a", b"1"), ("/b", b"2")], b'{"a":1,"b":2}'),
        ([("/a/b/c", b"1"), ("/a/d", DELETE)], b'{"a":{"b":{"c":1}}}'),
        ([("/a", DELETE)], None),
        ([("/a/b", DELETE)], None),
        ([("", b"1")], b"1"),
    ],
)
def test_objects_are_made_where_there_was_none(
    changes: list[tuple[str, bytes]], created: bytes | None
) -> None:
    """As far as there is something to put into them."""
    assert Changes.of(changes).created() == created


def test_large_pieces_are_sent_as_they_lie() -> None:
    """Small ones are joined."""
    big = b"x" * 70_000
    pieces = Pieces([b"a", memoryview(b"b"), big, b"c", Raw(big), memoryview(big)])

    assert list(map(bytes, pieces.parts)) == [b"ab", big, b"c", big, big]
    assert [type(part) for part in pieces.parts[1::2]] == [memoryview] * 2
    assert len(pieces) == 3 + 3 * len(big)
    assert bytes(pieces) == b"ab" + big + b"c" + big + big


def test_small_bodies_are_one_piece() -> None:
    """And nothing is none."""
    assert Pieces([b"a", Raw(b"b")]).parts == (b"ab",)
    assert Pieces([]).parts == ()


def test_keys_are_spelled_with_what_stands_around_them() -> None:
    """A comma and a colon."""
    assert spell_key("a b") == b',"a b":'
    assert spell_key('a"é') == ',"a\\"é":'.encode()


def test_pointers_are_taken_apart() -> None:
    """With their two escapes."""
    assert split("") == []
    assert split("/a/0") == ["a", "0"]
    assert split("/a~1b/~01") == ["a/b", "~1"]
