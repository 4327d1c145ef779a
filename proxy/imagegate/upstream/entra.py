"""Tokens of Microsoft Entra ID, for Azure without keys.

The library behind it, azure-identity, is an extra: `pip install 'imagegate[entra]'`.
It finds the identity of the machine, the pod or the developer by itself. Some of its
sources ask anew each time, one of them by starting a program; so a token is kept
here, and another is fetched before it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Protocol

from imagegate import log
from imagegate.upstream.client import Headers, UpstreamError

OPENAI_SCOPE = "https://cognitiveservices.azure.com/.default"
FOUNDRY_SCOPE = "https://ai.azure.com/.default"
AHEAD = 300.0
"""Seconds before its end from which on a token is replaced; Azure's SDKs do so too."""
FETCH_SECONDS = 30.0
RETRY_SECONDS = 10.0
"""How long a token that still holds is used before another is asked for again."""


class Token(Protocol):
    """A token and its end, in seconds of the epoch."""

    @property
    def token(self) -> str:
        """What goes into the header."""

    @property
    def expires_on(self) -> int:
        """When it ends."""


class TokenSource(Protocol):
    """What is used of azure-core's `AsyncTokenCredential`."""

    async def get_token(self, *scopes: str) -> Token:
        """Return a token."""

    async def close(self) -> None:
        """Let go of connections."""


class MissingExtraError(Exception):
    """azure-identity is not installed."""


def check_installed() -> None:
    """Say what to install, where it is missing.

    Raises:
        MissingExtraError: With the command.
    """
    try:
        found = find_spec("azure.identity")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise MissingExtraError(
            "Entra ID needs azure-identity: pip install 'imagegate[entra]'"
        )


def default_source() -> TokenSource:
    """Return azure-identity's chain of whatever identity there is here.

    Its asynchronous half would want aiohttp as well; azure-core brings a transport
    that does without.
    """
    check_installed()
    from azure.core.pipeline.transport import (  # noqa: PLC0415 - an extra
        AsyncioRequestsTransport,
    )
    from azure.identity.aio import (  # noqa: PLC0415 - an extra
        DefaultAzureCredential,
    )

    return DefaultAzureCredential(transport=AsyncioRequestsTransport())


class EntraId:
    """The identity of this gateway; the client's credential never goes on."""

    def __init__(
        self,
        scope: str,
        *,
        source: Callable[[], TokenSource] = default_source,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Describe a credential; nothing is fetched before a request needs it.

        Args:
            scope: For what a token is asked.
            source: Makes the source of tokens, inside the event loop.
            now: The clock, in seconds of the epoch.
        """
        self._scope = scope
        self._make = source
        self._now = now
        self._source: TokenSource | None = None
        self._headers: Headers = ()
        self._ends = 0.0
        self._again = 0.0
        self._fetching: asyncio.Task[bool] | None = None

    def __repr__(self) -> str:
        """Name the scope, and no token."""
        return f"EntraId(scope={self._scope!r})"

    async def headers(self, client: Headers) -> Headers:
        """Return a token that holds, and see to the next one ahead of its end."""
        del client
        now = self._now()
        if now >= self._ends:
            # A client that leaves does not take the token from the others.
            if not await asyncio.shield(self._fetch()):
                raise UpstreamError(
                    "credential_unavailable", status=503, resendable=True
                )
        elif now >= max(self._ends - AHEAD, self._again):
            self._again = now + RETRY_SECONDS
            self._fetch()
        return self._headers

    async def close(self) -> None:
        """Close the source."""
        if self._fetching is not None:
            self._fetching.cancel()
        if self._source is not None:
            await self._source.close()

    def _fetch(self) -> asyncio.Task[bool]:
        """Ask for a token, or wait for the one that was asked for."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetched())
        return self._fetching

    async def _fetched(self) -> bool:
        """Fetch a token; tell whether there is one."""
        try:
            if self._source is None:
                self._source = self._make()
            async with asyncio.timeout(FETCH_SECONDS):
                token = await self._source.get_token(self._scope)
            value = b"Bearer " + token.token.encode("ascii")
        except Exception as error:  # noqa: BLE001 - whatever a source raises
            # Its words may name tenants and hosts, so they stay here.
            log.error("imagegate.no_entra_token", **log.place_of(error))
            return False
        self._headers = [(b"authorization", value)]
        self._ends = float(token.expires_on)
        return True
