"""Fetching a small document that the operator has named, such as a set of keys."""

from __future__ import annotations

import asyncio
import re
from typing import Final
from urllib.parse import urlsplit

from imagegate.upstream.client import (
    Client,
    Headers,
    Origin,
    UpstreamAnswer,
    UpstreamError,
    UpstreamRequest,
)

LARGEST: Final = 1024 * 1024
SECONDS: Final = 10.0
_FINE: Final = 200
_MAX_AGE: Final = re.compile(r"(?:^|[,\s])max-age=\"?([0-9]{1,9})", re.IGNORECASE)


class Documents:
    """Fetches documents with the client that asks the providers.

    So the system's certificates hold and the operator's own, the environment has no
    say, no cookie is kept and no redirect followed.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def __call__(self, url: str) -> tuple[bytes, float | None]:
        """Return a document, and for how many seconds its server says it holds.

        Raises:
            UpstreamError: For an answer that is late, long, encoded or no 200.
        """
        try:
            async with asyncio.timeout(SECONDS):
                answer = await self._client.send(_request(url))
                try:
                    return await _whole(answer), _max_age(answer.headers)
                finally:
                    await answer.close()
        except TimeoutError:
            raise UpstreamError("document_timeout", status=504) from None


def _request(url: str) -> UpstreamRequest:
    parts = urlsplit(url)
    origin = Origin.of(parts)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = [
        (b"host", origin.authority),
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"imagegate"),
    ]
    return UpstreamRequest(
        method="GET", origin=origin, target=target.encode("ascii"), headers=headers
    )


async def _whole(answer: UpstreamAnswer) -> bytes:
    names = {key.lower() for key, _ in answer.headers}
    if answer.status != _FINE or b"content-encoding" in names:
        raise UpstreamError("document_refused", status=502)
    data = b""
    while piece := await answer.read():
        data += piece
        if len(data) > LARGEST:
            raise UpstreamError("document_too_large", status=502)
    return data


def _max_age(headers: Headers) -> float | None:
    said = [v.decode("latin-1") for k, v in headers if k.lower() == b"cache-control"]
    found = _MAX_AGE.search(",".join(said))
    return float(found[1]) if found else None
