"""Patterns mean the same in every Python that the project runs on.

Before 3.11.5, which is to say in Debian 12, a possessive quantifier behind a group
takes back less than it should where the group can match in several ways. A single
character may have one.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "proxy/imagegate"
UNSURE = re.compile(rb"\)(?:[*+?]|\{[\d,]+\})\+|\(\?>")


def said_in(tree: ast.AST) -> list[bytes]:
    """Return the text constants of a module."""
    said = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    texts = [text.encode() for text in said if isinstance(text, str)]
    return texts + [data for data in said if isinstance(data, bytes)]


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem
)
def test_no_group_is_taken_possessively(path: Path) -> None:
    texts = said_in(ast.parse(path.read_text()))
    assert not [text for text in texts if UNSURE.search(text)]


@pytest.mark.parametrize("pattern", [b"(?:a|b)*+", b"(a){2,3}+", b"(?>a|b)", b"(a)?+"])
def test_one_would_be_seen(pattern: bytes) -> None:
    assert UNSURE.search(pattern)


@pytest.mark.parametrize("pattern", [b"[^a]*+(?:b|c)*", b"(a)+ b", b"a?+"])
def test_others_pass(pattern: bytes) -> None:
    assert not UNSURE.search(pattern)
