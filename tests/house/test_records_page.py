"""The page of the records names every field there is, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from imagegate.audit.schema import ENVELOPE
from imagegate.engine import records
from imagegate.engine.records import Record

PAGE = Path(__file__).resolve().parents[2] / "deploy/records.md"
TYPES = {
    name: found
    for name, found in vars(records).items()
    if isinstance(found, type) and issubclass(found, msgspec.Struct)
}
ROW = re.compile(r"\| `(\w+)` \| .+ \| .+ \| .+ \| .+ \|")


def sections() -> dict[str, str]:
    """Take the page apart at the headings that name a type."""
    text = PAGE.read_text()
    parts = re.split(r"^##+ (.*)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def fields_in(text: str) -> list[str]:
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    found = [ROW.fullmatch(row) for row in rows]
    assert all(found), [row for row, fits in zip(rows, found, strict=True) if not fits]
    return [fits[1] for fits in found if fits]


def own_fields(kind: type[msgspec.Struct]) -> list[str]:
    """Return the fields of a type, without those that every record has."""
    fields = list(kind.__struct_fields__)
    shared = Record.__struct_fields__ if issubclass(kind, Record) else ()
    return fields if kind is Record else [x for x in fields if x not in shared]


@pytest.mark.parametrize("name", TYPES)
def test_every_field_of_a_type_is_on_the_page_and_nothing_else(name: str) -> None:
    (text,) = [
        body for head, body in sections().items() if head.endswith(f"(`{name}`)")
    ]

    assert fields_in(text) == own_fields(TYPES[name])


def test_what_the_sink_puts_before_a_record_is_on_the_page() -> None:
    assert fields_in(sections()["Every line"]) == list(ENVELOPE)


def test_no_other_table_stands_there() -> None:
    named = {head for head, body in sections().items() if fields_in(body)}

    assert len(named) == len(TYPES) + 1


def test_every_event_is_named() -> None:
    text = PAGE.read_text()
    events = set(re.findall(r"imagegate\.\w+", Path(records.__file__).read_text()))

    assert {e for e in events if not e.startswith("imagegate.engine")} <= set(
        re.findall(r"imagegate\.\w+", text)
    )
