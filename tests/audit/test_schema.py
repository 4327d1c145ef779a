"""The published schema is up to date, and every line keeps to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from journals import events, journal, lines, of, orphan, wait_for
from making import COMMON, QUICK, completion, decision, generating, refusal

from imagegate.audit.chain import Line, entry_of, first_head, link
from imagegate.audit.events import GapRecord, RefusalsCounted, SinkRecord
from imagegate.audit.schema import ENVELOPE, PUBLISHED, RECORDS, rendered
from imagegate.engine.records import (
    EchoRecord,
    ImageRecord,
    MismatchRecord,
    Record,
)

SCHEMA = json.loads(PUBLISHED.read_bytes())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_published_schema_is_up_to_date() -> None:
    """Otherwise: `python -m imagegate.audit.schema`."""
    assert PUBLISHED.read_bytes() == rendered()


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_no_record_has_a_field_that_the_sink_stamps(record: type[Record]) -> None:
    assert not set(record.__struct_fields__) & set(ENVELOPE)


def kinds(base: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    below = {each for kind in base.__subclasses__() for each in kinds(kind)}
    return below or {base}


def test_every_kind_of_record_is_in_the_schema() -> None:
    ours = {
        kind
        for kind in kinds(Record) | kinds(SinkRecord)
        if kind.__module__.startswith("imagegate.")
    }

    assert ours == set(RECORDS)


MISMATCH = MismatchRecord(field="quality", observed="high", sent="low", rule="x")
SAMPLES = [
    decision("a"),
    refusal("a"),
    generating("a"),
    completion("a", usage_image_gen={"total_tokens": 3}),
    ImageRecord(
        decision_id="a",
        type="response.output_item.done",
        sequence_number=None,
        output_index=0,
        item_id="ig_1",
        response_id=None,
        made=True,
        mismatches=(MISMATCH,),
        **COMMON,
    ),
    EchoRecord(
        decision_id="a",
        type="response.created",
        sequence_number=0,
        response_id="resp_1",
        action="cut",
        contradictions=(MISMATCH,),
        contradictions_count=1,
        **COMMON,
    ),
    GapRecord(lost=3, since="2026-11-21T00:00:00.000000Z", reason="full"),
    RefusalsCounted(since="", until="", refused={"invalid_json": 3}),
]


@pytest.mark.parametrize("record", SAMPLES, ids=lambda record: type(record).__name__)
def test_a_record_of_each_kind_keeps_to_the_schema(record: Record) -> None:
    [line], _ = link(first_head("0" * 16), "0" * 16, [entry_of(record)])

    VALIDATOR.validate(json.loads(line))
    msgspec.json.decode(line, type=Line)


@pytest.mark.anyio
async def test_every_line_of_a_journal_keeps_to_the_schema(tmp_path: Path) -> None:
    orphan(tmp_path)
    options = msgspec.structs.replace(
        QUICK, rotate_bytes=3000, keep_bytes=9000, checkpoint_records=5
    )
    async with journal(tmp_path, options=options) as audit:
        for number in range(20):
            await audit.write([decision(f"d{number}"), generating(f"d{number}")])
        wait_for(lambda: of(tmp_path, "audit_retired"))
        found = lines(tmp_path)
    found += lines(tmp_path)

    assert set(events(tmp_path)) >= {
        "audit_opened",
        "audit_closed",
        "exchange_finished",
    }
    for line in found:
        VALIDATOR.validate(line)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a cat"},
        {"prev": "0"},
        {"seq": -1},
        {"decision": "allow"},
        {"event": "imagegate.something"},
    ],
    ids=str,
)
def test_what_is_not_in_the_schema_is_refused(change: dict[str, Any]) -> None:
    [line], _ = link(first_head("0" * 16), "0" * 16, [entry_of(decision("a"))])

    assert not VALIDATOR.is_valid(json.loads(line) | change)
