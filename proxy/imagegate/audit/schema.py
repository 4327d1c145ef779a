"""The JSON Schema of every line of a journal, derived from the records' own types.

`schema.json` beside this file is what is published; after a change of the records
`python -m imagegate.audit.schema` writes it anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from imagegate.audit.events import (
    CheckpointRecord,
    ClosedRecord,
    GapRecord,
    OpenedRecord,
    RecoveredRecord,
    RefusalsCounted,
    RetiredRecord,
    UnknownCompletion,
    Written,
)
from imagegate.engine.records import (
    CompletionRecord,
    DecisionRecord,
    EchoRecord,
    GeneratingRecord,
    ImageRecord,
)

PUBLISHED: Final = Path(__file__).with_name("schema.json")
RECORDS: Final[tuple[type[Written], ...]] = (
    DecisionRecord,
    GeneratingRecord,
    ImageRecord,
    EchoRecord,
    CompletionRecord,
    UnknownCompletion,
    OpenedRecord,
    ClosedRecord,
    CheckpointRecord,
    GapRecord,
    RecoveredRecord,
    RetiredRecord,
    RefusalsCounted,
)
"""All that a line can be."""
_HASH: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
ENVELOPE: Final[dict[str, Any]] = {
    "time": {
        "type": "string",
        "format": "date-time",
        "pattern": "Z$",
        "description": "When it came to the sink; UTC, microseconds.",
    },
    "instance": {
        "type": "string",
        "pattern": "^[0-9a-f]{16}$",
        "description": "The start of a process; each has a chain of its own.",
    },
    "seq": {
        "type": "integer",
        "minimum": 0,
        "description": "Counts the lines of the instance, without a gap.",
    },
    "prev": {
        **_HASH,
        "description": "SHA-256 of the line before; of the first line, the genesis.",
    },
}
"""The fields that the sink puts before those of a record."""


def schema() -> dict[str, Any]:
    """Return the schema: a line is exactly one of the records, with the envelope."""
    _, parts = msgspec.json.schema_components(RECORDS, ref_template="#/$defs/{name}")
    names = [record.__name__ for record in RECORDS]
    for part in parts.values():
        part["additionalProperties"] = False
        part["description"] = part.get("description", "").partition("\n")[0]
    for name in names:
        part = parts[name]
        part["properties"] = {**ENVELOPE, **part["properties"]}
        required = [*ENVELOPE, "event", *part.get("required", [])]
        part["required"] = list(dict.fromkeys(required))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of an imagegate audit journal",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in names],
        "$defs": parts,
    }


def rendered() -> bytes:
    """Return the schema as it is published."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n"


if __name__ == "__main__":
    PUBLISHED.write_bytes(rendered())
