"""Items as they are kept: runs that are written again, and open ones between."""

from __future__ import annotations

import pytest
from msgspec import Raw

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.items import MAX_SPECIAL, Item, Items
from imagegate.engine.value import DELETE, Changes, Edit, Piece, Pieces, Value

TEXT = b'[{"a":1}, {"b":2},{"c":3}]'
TOOLS = {"type": Raw(b'"x"'), "tools": Raw(b'[{"type":"y"}]')}


def items() -> Items:
    """Make an array of no items yet."""
    return Items(parent=Value(b"{"), key="input")


def written(found: Items, *edits: Edit) -> bytes:
    """Write items, with edits by their index."""
    out: list[Piece] = []
    found.write(out, Changes.of(edits) if edits else None)
    return bytes(Pieces(out))


def test_stretches_that_follow_each_other_are_one() -> None:
    """With what stands between them."""
    found = items()
    assert written(found) == b"[]"

    found.keep(TEXT, 1, 8)
    found.keep(TEXT, 10, 17)
    out: list[Piece] = []
    found.write(out)
    assert list(map(bytes, out)) == [b"[", b'{"a":1}, {"b":2}', b"]"]
    assert (found.opened, found.pointer, found.kind) == (True, "/input", "array")


def test_other_runs_come_between_stretches() -> None:
    """Copies, items that are spelled again, and open ones."""
    found = items()
    found.keep(TEXT, 1, 8)
    found.copy(b'{"x":0},{"y":0}')
    found.keep(TEXT, 10, 17)
    found.spell([{"p": Raw(b"1"), 'q"': Raw(b"2")}])
    found.keep(TEXT, 18, 25)
    found.spell([{"r": Raw(b"1")}, {"s": Raw(b"2")}])
    found.spell([])
    found.suspect(8, dict(TOOLS))
    found.keep(TEXT, 1, 8)

    assert written(found) == (
        b'[{"a":1},{"x":0},{"y":0},{"b":2},{"p":1,"q\\"":2},{"c":3},{"r":1},{"s":2},'
        b'{"type":"x","tools":[{"type":"y"}]},{"a":1}]'
    )


def test_open_items_can_be_edited_and_removed() -> None:
    """Others cannot, and the whole array can."""
    found = items()
    found.suspect(0, dict(TOOLS))
    found.keep(TEXT, 1, 8)
    found.suspect(2, dict(TOOLS))

    assert list(found.special) == ["0", "2"]
    after = written(found, ("/2/tools/0/n", b"1"), ("/0", DELETE))
    assert after == b'[{"a":1},{"type":"x","tools":[{"type":"y","n":1}]}]'
    assert written(found, ("", b'"x"')) == b'"x"'
    only = items()
    only.suspect(0, dict(TOOLS))
    assert written(only, ("/0", DELETE)) == b"[]"
    with pytest.raises(LookupError):
        written(found, ("/1/role", b'"system"'))


def test_only_so_many_are_kept_open() -> None:
    """They are kept in memory as objects, unlike the others."""
    found = items()
    for index in range(MAX_SPECIAL):
        found.suspect(index, TOOLS)

    with pytest.raises(MalformedRequest, match="too many"):
        found.suspect(MAX_SPECIAL, TOOLS)


def test_items_are_noted_with_what_they_refer_to() -> None:
    """An identifier matters where an item is a reference."""
    found = items()
    found.note(0, {"type": Raw(b'"x"'), "id": Raw(b'"a"')})
    found.note(1, {"type": Raw(b'"item_reference"'), "id": Raw(b'"b"')})
    found.note(2, {"id": Raw(rb'"\u0063"')})
    found.note(3, {"type": Raw(b"null"), "id": Raw(b"null")})

    assert found.notable == [
        Item(pointer="/input/0", type="x"),
        Item(pointer="/input/1", type="item_reference", id="b"),
        Item(pointer="/input/2", type=None, id="c"),
        Item(pointer="/input/3", type=None),
    ]


@pytest.mark.parametrize(
    ("key", "raw"),
    [
        ("type", b"1"),
        ("type", b'["x"]'),
        ("id", b"{}"),
        ("type", b'"%b"' % (b"x" * 2_000)),
        ("id", b'"%b"' % (b"x" * 2_000)),
    ],
    ids=lambda value: ascii(value)[:9],
)
def test_names_are_short_strings(key: str, raw: bytes) -> None:
    """Looking at a long one takes long, and nobody has one."""
    with pytest.raises(MalformedRequest) as caught:
        items().note(0, {key: Raw(raw)})

    assert (caught.value.code, caught.value.pointer) == (
        "wrong_shape",
        f"/input/0/{key}",
    )


@pytest.mark.parametrize(
    ("kind", "compacts"),
    [
        ("compaction", True),
        ("compaction_summary", True),
        ("context_compaction", True),
        ("Compaction", True),
        ("message", False),
        (None, False),
    ],
)
def test_history_that_was_made_compact_has_many_names(
    kind: str | None, *, compacts: bool
) -> None:
    assert Item(pointer="/input/0", type=kind).compacts is compacts
