"""What can be ordered: the words of `metadata.simulator`."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from imagegate.simulator.refusal import Refusal, refusal

COMMAND = "simulator"


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a request is answered. Words are parted by spaces: `status=429 gzip`.

    The answer as a whole: `status` answers this error, with `code` in place of its
    usual one; `head_delay_ms` waits before the head; `silent` never answers;
    `header.NAME=VALUE` adds a header; `gzip` encodes the body.

    The body on the wire: `delay_ms` waits before each event; `chunk` sends so many
    bytes at once (1 drips), `chunk_delay_ms` apart; `truncate` ends the connection
    after so many bytes; `hang` sends no more after so many bytes, and keeps it open.

    The story: `error_at` puts an error in place of event number N, then
    `response.failed`, and `flat_error` gives it the documented form rather than the
    observed one; `fail_at` puts only `response.failed`; `images` calls the tool so
    many times; `deltas` tells the text in so many pieces; `extra_partial` adds a
    partial image that is the final one; `no_completed` and `status_generating` are
    Azure's habits, which it has in any case; `empty_output` leaves the output of
    `response.completed` empty; `polls` says how often a background response is asked
    for until it is done; `bits` is the weight of images, from 0 (tiny) to 8.

    The batch: `delay_ms` waits before each line; `stall_at` waits at line N (counted
    from 0) until the batch is cancelled; `expire_at` lets it expire there.

    Lies: `echo.FIELD=VALUE` changes the image tool in the echo, `item.FIELD=VALUE`
    the finished image item; without a value the field is left out. `hide_items`
    keeps tools that came in input items, or from storage, out of the echo.
    """

    status: int | None = None
    code: str | None = None
    head_delay_ms: int = 0
    silent: bool = False
    header: dict[str, str] = {}
    gzip: bool = False

    delay_ms: int = 0
    chunk: int = 0
    chunk_delay_ms: int = 0
    truncate: int | None = None
    hang: int | None = None

    error_at: int | None = None
    flat_error: bool = False
    fail_at: int | None = None
    images: int = 1
    deltas: int = 0
    extra_partial: bool = False
    no_completed: bool = False
    status_generating: bool = False
    empty_output: bool = False
    polls: int = 2
    bits: int | None = None

    stall_at: int | None = None
    expire_at: int | None = None

    echo: dict[str, str] = {}
    item: dict[str, str] = {}
    hide_items: bool = False


def read_behaviour(*commands: str) -> Behaviour:
    """Return what was ordered; of several commands the later wins, word by word."""
    fields: dict[str, Any] = {}
    for word in " ".join(commands).split():
        name, _, value = word.partition("=")
        field, _, key = name.partition(".")
        if key:
            fields.setdefault(field, {})[key] = value
        else:
            fields[field] = value if "=" in word else "true"
    try:
        return msgspec.convert(fields, Behaviour, strict=False)
    except msgspec.ValidationError as error:
        raise _not_understood(error) from error


def command_in(body: dict[str, Any]) -> str:
    """Return the command that a request carries, or none."""
    metadata = body.get("metadata")
    command = metadata.get(COMMAND) if isinstance(metadata, dict) else None
    return command if isinstance(command, str) else ""


def overlay(fields: dict[str, Any], lies: dict[str, str]) -> dict[str, Any]:
    """Return the fields with some of them changed or left out."""
    changed = fields | {name: _value(text) for name, text in lies.items()}
    return {name: value for name, value in changed.items() if lies.get(name) != ""}


def _value(text: str) -> Any:  # noqa: ANN401 - JSON at the edge
    try:
        return json.loads(text)
    except ValueError:
        return text


def _not_understood(error: msgspec.ValidationError) -> Refusal:
    return refusal(
        f"the simulator does not understand this: {error}",
        param=f"metadata.{COMMAND}",
        code="simulator_command",
    )
