"""What can be wrong with where judgements and counters are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from imagegate.redis_server import check_url, is_installed, read_password

Found = Iterator[tuple[str, str, str]]


class Store(Protocol):
    """Where something is kept: a file, a server, or memory."""

    @property
    def file(self) -> Path | None:
        """A SQLite file."""

    @property
    def redis(self) -> str | None:
        """The address of a server."""

    @property
    def password(self) -> Path | None:
        """A file with its password."""


def check_store(section: str, store: Store, *, readable: bool) -> Found:
    """Find what cannot work.

    Args:
        section: The settings' name: `quotas`.
        store: What they say.
        readable: The file of the password is one that may be read.
    """
    file, redis, password = store.file, store.redis, store.password
    if file is not None and redis is not None:
        message = "this is kept in one place: name a file or a server"
        yield "two-places", f"{section}.redis", message
    if file is not None and not file.parent.is_dir():
        message = f"there is no directory {file.parent} for {file.name}"
        yield "no-directory", f"{section}.file", message
    if redis is not None:
        yield from _check_server(section, redis)
    if password is not None and redis is None:
        message = f"a password of no server: name `{section}.redis` as well"
        yield "no-server", f"{section}.password", message
    elif password is not None and readable:
        try:
            read_password(password)
        except ValueError as error:
            message = f"{password} holds no password: {error}"
            yield "no-credential", f"{section}.password", message


def _check_server(section: str, url: str) -> Found:
    try:
        check_url(url)
    except ValueError as error:
        yield "bad-value", f"{section}.redis", str(error)
        return
    if not is_installed():
        message = "keeping it in Redis needs imagegate[redis]"
        yield "missing-extra", f"{section}.redis", message
