"""Keys for tests: a file of them, and the texts that their owners have."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from imagegate.identity import Key, Keys
from imagegate.identity.apikey import dump_keys
from imagegate.identity.secret import Secret, mint

HASH_KEY = bytes(range(32))
NOW = datetime.datetime(2026, 11, 21, 9, tzinfo=datetime.UTC)


def key_of(secret: Secret, name: str = "ci", **more: Any) -> Key:
    return Key(
        id=secret.id,
        name=name,
        hash=secret.hash(HASH_KEY).hex(),
        last4=secret.last4,
        created=NOW,
        **more,
    )


def given_out(name: str = "ci", **more: Any) -> tuple[str, Key]:
    """Give out a key, and return its text beside what is kept of it."""
    secret = mint()
    return secret.text, key_of(secret, name, **more)


def keys_of(*keys: Key) -> Keys:
    return Keys(HASH_KEY, keys)


def write_keys(file: Path, *keys: Key, mode: int = 0o600) -> Path:
    file.write_bytes(dump_keys(keys_of(*keys)))
    file.chmod(mode)
    return file
