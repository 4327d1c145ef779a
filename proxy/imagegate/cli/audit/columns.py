"""The fields of records as columns of a table, derived from the records' own types."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
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
)
from imagegate.engine.records import (
    CompletionRecord,
    DecisionRecord,
    EchoRecord,
    GeneratingRecord,
    ImageRecord,
)

KINDS: Final[tuple[type[msgspec.Struct], ...]] = (
    DecisionRecord,
    GeneratingRecord,
    ImageRecord,
    EchoRecord,
    CompletionRecord,
    OpenedRecord,
    ClosedRecord,
    CheckpointRecord,
    GapRecord,
    RecoveredRecord,
    RetiredRecord,
    RefusalsCounted,
)
_STAMPED: Final = {"time": "TIMESTAMP", "instance": "VARCHAR", "seq": "BIGINT"}
_TYPES: Final = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN"}


def columns() -> Mapping[str, str]:
    """Return the type of every field; `JSON` where records differ or nest."""
    found: dict[str, set[str]] = {}
    for kind in KINDS:
        for name, hint in typing.get_type_hints(kind).items():
            found.setdefault(name, set()).add(_column(hint))
    return _STAMPED | {
        name: kinds.pop() if len(kinds) == 1 else "JSON"
        for name, kinds in found.items()
    }


def _column(hint: Any) -> str:  # noqa: ANN401 - a type, of whatever form
    """Return the type of a column that holds such a value."""
    if typing.get_origin(hint) is tuple and typing.get_args(hint)[0] is str:
        return "VARCHAR[]"
    named = {_TYPES.get(each, "JSON") for each in _alternatives(hint)}
    return named.pop() if len(named) == 1 else "JSON"


def _alternatives(hint: Any) -> Iterator[Any]:  # noqa: ANN401 - the same
    """Yield the plain types of a union or of literals, without None."""
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        for each in typing.get_args(hint):
            yield from _alternatives(each)
    elif origin is typing.Literal:
        yield from {type(value) for value in typing.get_args(hint)}
    elif hint is not types.NoneType:
        yield hint
