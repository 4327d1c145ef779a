"""The chain: how records become lines that vouch for each other.

A line is one flat JSON object. The sink puts four fields before those of the record:

    time      RFC 3339, UTC, microseconds
    instance  the start of a process; each has a chain of its own
    seq       counts the lines of the instance, without a gap, over all its files
    prev      SHA-256 of the line before, without its newline; of line 0 the genesis

Nothing here is secret: whoever may write the files may compute a whole new chain.
What that cannot change is a copy of a hash elsewhere: a checkpoint.
"""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec

from imagegate.audit.events import FORMAT, Written

_BILLION = 1_000_000_000


class Head(msgspec.Struct, frozen=True, gc=False):
    """Where a chain goes on: the number of the next line and the hash before it."""

    seq: int
    hash: str


class Entry(msgspec.Struct, frozen=True):
    """A record on its way into a line, encoded once."""

    time: str
    body: bytes
    record: Written


class Line(msgspec.Struct, frozen=True, gc=False):
    """What a reader of the chain needs of a line."""

    time: str
    instance: str
    seq: int
    prev: str
    event: str
    decision_id: str | None = None


read_line = msgspec.json.Decoder(Line).decode
"""Read a line; raises one of `NO_LINE` if it is none."""
NO_LINE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder raises on bytes that anybody may have put into a file."""


def new_instance() -> str:
    """Name the start of a process."""
    return secrets.token_hex(8)


def genesis(instance: str) -> str:
    """Return what the chain of an instance begins with."""
    return sha256(f"imagegate audit {FORMAT} {instance}".encode()).hexdigest()


def first_head(instance: str) -> Head:
    """Return the place of the first line."""
    return Head(0, genesis(instance))


def hash_of(line: bytes) -> str:
    """Return the hash of a line, with or without its newline."""
    return sha256(line.removesuffix(b"\n")).hexdigest()


def stamp(nanoseconds: int | None = None) -> str:
    """Spell a time, now if none is given."""
    now = time.time_ns() if nanoseconds is None else nanoseconds
    seconds, rest = divmod(now, _BILLION)
    return f"{_whole(seconds)}.{rest // 1000:06d}Z"


@functools.lru_cache(maxsize=4)
def _whole(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


_encoder = msgspec.json.Encoder()


def encode(value: object) -> bytes:
    """Encode a value. A lone surrogate must not be the end of a record."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _encoder.encode(_repaired(msgspec.to_builtins(value)))


def entry_of(record: Written, at: str | None = None) -> Entry:
    """Encode a record that comes now, or came at another time."""
    return Entry(at or stamp(), encode(record), record)


def entries_of(records: Iterable[Written]) -> list[Entry]:
    """Encode records that come at the same time."""
    now = stamp()
    return [Entry(now, encode(record), record) for record in records]


def _repaired(value: Any) -> Any:  # noqa: ANN401 - JSON
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case dict():
            return {_repaired(key): _repaired(each) for key, each in value.items()}
        case list() | tuple():
            return [_repaired(each) for each in value]
    return value


def link(
    head: Head, instance: str, entries: Sequence[Entry]
) -> tuple[list[bytes], list[Head]]:
    """Make lines that go on from `head`, and say where the chain is after each."""
    lines, heads = [], []
    seq, prev = head.seq, head.hash
    for entry in entries:
        before = (
            f'{{"time":"{entry.time}","instance":"{instance}",'
            f'"seq":{seq},"prev":"{prev}",'
        )
        # Each body is an object with at least `schema`, so a comma fits behind ours.
        line = before.encode() + entry.body[1:]
        seq, prev = seq + 1, sha256(line).hexdigest()
        lines.append(line + b"\n")
        heads.append(Head(seq, prev))
    return lines, heads
