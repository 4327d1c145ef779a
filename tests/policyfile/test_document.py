from __future__ import annotations

import pytest

from imagegate.policyfile.document import (
    Hole,
    Mapping,
    Mark,
    Node,
    Scalar,
    Sequence,
    implicit_type,
    quoted,
    read_document,
)


def read(text: str) -> Node | None:
    return read_document(text.encode())[0]


def test_a_tree_has_the_text_and_the_place_of_everything() -> None:
    expected = Mapping(
        [
            (Scalar("a", plain=True, mark=Mark(1, 1)), Sequence([], Mark(1, 4))),
            (
                Scalar("b", plain=False, mark=Mark(2, 1)),
                Mapping(
                    [
                        (
                            Scalar("c", plain=True, mark=Mark(3, 3)),
                            Scalar("no", plain=True, mark=Mark(3, 6)),
                        )
                    ],
                    Mark(3, 3),
                ),
            ),
        ],
        Mark(1, 1),
    )

    assert read("a: []\n'b':\n  c: no\n") == expected


def test_a_byte_order_mark_and_windows_line_ends_change_nothing() -> None:
    text = "a: b\nc:\n  - d\n"

    assert read("\ufeff" + text.replace("\n", "\r\n")) == read(text)


def test_an_alias_leaves_a_hole_where_its_value_would_be() -> None:
    root = read("a: *b\n")

    assert isinstance(root, Mapping)
    assert root.entries[0][1] == Hole(Mark(1, 4))


def test_the_first_of_two_equal_keys_is_kept() -> None:
    root = read("a: b\na: { c: d }\ne: f\n")

    assert isinstance(root, Mapping)
    assert [(key.text, type(value)) for key, value in root.entries] == [
        ("a", Scalar),
        ("e", Scalar),
    ]


def test_the_path_of_a_problem_names_what_it_stands_under() -> None:
    _, problems = read_document(b"a:\n  - { b: *c }\n  - [*d]\n")

    assert [each.path for each in problems] == ["a[0].b", "a"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("yes", "bool"),
        ("Off", "bool"),
        ("y", "str"),
        ("~", "null"),
        ("", "null"),
        ("0x1F", "int"),
        ("1_000", "int"),
        ("16:9", "int"),
        (".inf", "float"),
        ("1e3", "str"),
        ("2027-01-31", "timestamp"),
        ("=", "value"),
        ("1024x1024", "str"),
        ("gpt-image-2", "str"),
    ],
)
def test_a_plain_word_is_what_yaml_makes_of_it(text: str, kind: str) -> None:
    assert implicit_type(Scalar(text, plain=True, mark=Mark(1, 1))) == kind
    assert implicit_type(Scalar(text, plain=False, mark=Mark(1, 1))) == "str"


def test_a_quote_is_short_and_printable() -> None:
    assert quoted("a\nb\x1b[31m") == "a?b?[31m"
    assert quoted("x" * 61) == "x" * 59 + "…"
