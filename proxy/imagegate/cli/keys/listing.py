"""`imagegate keys list`."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from imagegate.cli.exits import Exit
from imagegate.cli.screen import complain, print_json, print_table
from imagegate.identity import Key, KeysError
from imagegate.identity.keyfile import read_keys

_HEADS = ("name", "id", "team", "attributes", "created", "expires", "state", "ends in")


def run(file: Path, *, as_json: bool) -> Exit:
    """List the keys of a file, in the order in which they were added."""
    try:
        keys = read_keys(file).all
    except OSError as error:
        complain(f"{file} cannot be read: {error.strerror}")
        return Exit.USAGE
    except KeysError as error:
        for problem in error.problems:
            complain(f"{file}: {problem}")
        return Exit.USAGE
    now = datetime.datetime.now(tz=datetime.UTC)
    if as_json:
        print_json([_described(key, now) for key in keys])
    else:
        print_table(_HEADS, [_row(key, now) for key in keys])
    return Exit.FINE


def _described(key: Key, now: datetime.datetime) -> dict[str, Any]:
    return {
        "name": key.name,
        "id": key.id,
        "team": key.team,
        "attributes": key.attributes,
        "created": key.created,
        "expires": key.expires,
        "revoked": key.revoked,
        "state": key.state(now),
        "last4": key.last4,
    }


def _row(key: Key, now: datetime.datetime) -> tuple[str, ...]:
    attributes = (f"{name}={v}" for name, vs in key.attributes.items() for v in vs)
    return (
        key.name,
        key.id,
        ", ".join(key.team),
        ", ".join(attributes),
        f"{key.created:%Y-%m-%d}",
        f"{key.expires:%Y-%m-%d %H:%M}" if key.expires else "never",
        key.state(now),
        key.last4,
    )
