"""A Redis or Valkey server that several gateways share."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from imagegate.named_file import read_lasting

if TYPE_CHECKING:
    from redis.asyncio import Redis

SCHEMES: Final = ("redis", "rediss", "unix")
AT_ONCE: Final = 32
"""So many may ask at once, each on a connection, which then stays open: a crowd would
take the descriptors that clients and providers need. redis has a pool that lets others
wait, one behind the other, for several rounds of a busy loop each."""
_LONGEST: Final = 10.0
"""Seconds for one step: whoever asks has less patience, and knows how busy we are."""


def connected(
    url: str, *, password: str | None = None
) -> tuple[Redis, tuple[type[Exception], ...]]:
    """Return a client, and what it raises; nothing is asked of the server yet.

    Args:
        url: `redis://host:6379/0`, `rediss://…` with TLS, or `unix:///path`.
        password: Of the user in the URL, or of the default one.
    """
    # Imported here: it is an extra.
    from redis.asyncio import Redis  # noqa: PLC0415 - as above
    from redis.asyncio.retry import Retry  # noqa: PLC0415 - as above
    from redis.backoff import NoBackoff  # noqa: PLC0415 - as above
    from redis.exceptions import RedisError  # noqa: PLC0415 - as above

    client: Redis = Redis.from_url(
        url,
        password=password,
        socket_timeout=_LONGEST,
        socket_connect_timeout=_LONGEST,
        # What is sent twice could be counted twice: whoever calls decides.
        retry=Retry(NoBackoff(), 0),
        # With 3 it takes word of maintenance, and then does not look whether a
        # connection has ended while nobody used it: the next call would fail.
        protocol=2,
        decode_responses=True,
        client_name="imagegate",
    )
    return client, (RedisError, OSError, TimeoutError)


def is_installed() -> bool:
    """Tell whether the extra is there."""
    return importlib.util.find_spec("redis") is not None


def check_url(url: str) -> None:
    """Check a server's address.

    Raises:
        ValueError: With what would be right.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not (parts.hostname or parts.path):
        raise ValueError("expected redis://HOST:PORT/NUMBER, rediss://… or unix:///…")
    if parts.password is not None:
        raise ValueError("a password has no place in it: name a file that holds it")


def read_password(file: Path) -> str:
    """Read a password; white space around it does not count.

    Raises:
        OSError: When it cannot be read.
        ValueError: When there is none.
    """
    found = read_lasting(file).decode().strip()
    if not found:
        raise ValueError("it is empty")
    return found
