"""With whose credential the provider is asked."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Literal, Protocol

from imagegate.named_file import read_lasting, writing_of
from imagegate.upstream.client import Headers, UpstreamError
from imagegate.upstream.headers import credentials_in

Header = Literal["authorization", "api-key"]
MAX_KEY = 16 * 1024
"""Bytes of a key file; the longest tokens in use have a few thousand."""
_KEY = re.compile(r"[\x21-\x7e]+")


class Credential(Protocol):
    """Says which header authenticates a request."""

    async def headers(self, client: Headers) -> Headers:
        """Return the headers to send, given what the client sent.

        Raises:
            UpstreamError: When there is no credential to send.
        """

    async def close(self) -> None:
        """Let go of what is held."""


class PassThrough:
    """The client's own credential goes on."""

    async def headers(self, client: Headers) -> Headers:
        """Return the client's credential headers."""
        return credentials_in(client)

    async def close(self) -> None:
        """Do nothing."""


class Injected:
    """A key of the organisation's; the client's credential never goes on."""

    def __init__(self, header: Header, key: str) -> None:
        """Keep a key, and keep it out of every representation.

        Raises:
            ValueError: For what cannot stand in a header.
        """
        self._header = header
        self._headers = _written(header, key)

    def __repr__(self) -> str:
        """Name the header only."""
        return f"Injected(header={self._header!r})"

    async def headers(self, client: Headers) -> Headers:
        """Return the injected credential."""
        del client
        return self._headers

    async def close(self) -> None:
        """Do nothing."""


class InjectedFile:
    """A key of the organisation's that lies in a file, and may be rotated there.

    Each request looks whether the file is still the one that was read, which costs a
    microsecond; it is read only when it is not, and beside the event loop. A file
    that has just changed is read again until its time can tell one writing from the
    next.
    """

    def __init__(self, header: Header, file: Path) -> None:
        self._header = header
        self._file = file
        self._headers: Headers = ()
        self._seen: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        """Name where the key lies, and not the key."""
        return f"InjectedFile(header={self._header!r}, file={str(self._file)!r})"

    async def headers(self, client: Headers) -> Headers:
        """Return the credential that lies in the file now."""
        del client
        try:
            found = writing_of(self._file)
            if found is None or found != self._seen:
                key = await asyncio.to_thread(read_key, self._file)
                self._headers, self._seen = _written(self._header, key), found
        except (OSError, ValueError, RuntimeError):  # also where no thread can be had
            raise UpstreamError(
                "credential_unavailable", status=503, resendable=True
            ) from None
        return self._headers

    async def close(self) -> None:
        """Do nothing."""


def read_key(file: Path) -> str:
    """Read a key from a file, without the line end that editors leave.

    Raises:
        OSError: When the file cannot be read.
        ValueError: When what it holds is no key.
    """
    data = read_lasting(file, MAX_KEY + 1)
    if len(data) > MAX_KEY:
        raise ValueError("the file is too long for a key")
    key = data.decode("ascii", "replace").strip()
    _check(key)
    return key


def _check(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise ValueError(
            "it is empty, or holds what cannot stand in a header: spaces, line ends "
            "or letters beyond ASCII"
        )


def _written(header: Header, key: str) -> Headers:
    """Write a key as a header."""
    _check(key)
    value = f"Bearer {key}" if header == "authorization" else key
    return [(header.encode(), value.encode())]
