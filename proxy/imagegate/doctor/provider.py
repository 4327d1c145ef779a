"""A provider: whether it is reached, believes the key, and would hold a line itself."""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from imagegate.doctor.finding import Finding
from imagegate.doctor.listening import ending, lasting
from imagegate.upstream.client import Client, Origin, UpstreamError, UpstreamRequest
from imagegate.upstream.credentials import PassThrough
from imagegate.upstream.provider import Upstream
from imagegate.upstream.reach import socket_to, why
from imagegate.upstream.tunnel import Proxy

_SECONDS: Final = 10.0
_SKEW: Final = datetime.timedelta(seconds=60)
_MOST: Final = 8_000_000
_AZURE: Final = (".azure.com", ".azure.us", ".azure.cn")
_REFUSED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class Permits(Protocol):
    """Tells whether the policy lets an image model through."""

    def __call__(self, model: str) -> bool | None:
        """Return None for what is no image model."""


class Model(msgspec.Struct):
    """One of a list of models."""

    id: str


class Models(msgspec.Struct):
    """What a provider says that a key may use."""

    data: list[Model]


async def examine_provider(  # noqa: PLR0913, PLR0917 - all that asking it takes
    upstream: Upstream,
    client: Client,
    trust: ssl.SSLContext,
    proxy: Proxy | None,
    permits: Permits,
    now: datetime.datetime,
) -> AsyncIterator[Finding]:
    """Look at a provider, by its list of models.

    Args:
        upstream: The provider.
        client: Sends the request.
        trust: How its certificate is checked.
        proxy: Through which it is reached, if not directly.
        permits: What the policy says of a model.
        now: The time, in UTC.
    """
    area = f"provider {upstream.name}"
    async for finding in _reach(area, upstream.origin, trust, proxy, now):
        yield finding
        if finding.weight == "broken":
            return
    try:
        async with asyncio.timeout(_SECONDS):
            status, headers, body = await _models(upstream, client)
    except (UpstreamError, TimeoutError) as error:
        code = getattr(error, "code", "timeout")
        yield Finding(
            weight="broken",
            area=area,
            found=f"asking {upstream.base} for its models ends with `{code}`",
            better=_BETTER.get(code, "look at the way there"),
        )
        return
    for finding in _answered(area, upstream, status):
        yield finding
    for finding in _clock(area, headers, now):
        yield finding
    if status == HTTPStatus.OK:
        yield _backstop(area, body, permits)


_BETTER: Final = {
    "credential_unavailable": "the file or the identity that holds the key fails",
    "no_answer": "it takes connections and says nothing: look whether it speaks "
    "`https`, or HTTP/2 alone, or asks for a certificate, which the gateway has not",
}
_CERTIFICATES: Final = {
    9: "set this machine's clock, or let the provider have another one",
    10: "have the provider renew it, or set this machine's clock",
    62: "name the provider as its certificate does",
    64: "name the provider as its certificate does",
}
"""What is better, by the numbers of OpenSSL; else it is who vouches for it."""


async def _reach(
    area: str,
    origin: Origin,
    trust: ssl.SSLContext,
    proxy: Proxy | None,
    now: datetime.datetime,
) -> AsyncIterator[Finding]:
    """Connect as the gateway does, and look at the certificate."""
    where = f"{origin.host}:{origin.port}"
    writer = None
    try:
        async with asyncio.timeout(_SECONDS):
            writer = await _connected(origin, trust, proxy)
    except UpstreamError as error:
        better = "look at `pool.proxy`, `pool.proxy_login` and what the proxy allows"
        yield _lost(area, f"{where} is not reached: {error.cause}", better)
    except OSError as error:
        yield _lost(area, f"{where} is not reached: {why(error)}", _better(error))
    else:
        certificate = writer.get_extra_info("peercert")
        if certificate:
            ends = ending(certificate["notAfter"])
            yield lasting(area, f"the certificate of {where}", ends, now)
    finally:
        if writer is not None:
            writer.transport.abort()


async def _connected(
    origin: Origin, trust: ssl.SSLContext, proxy: Proxy | None
) -> asyncio.StreamWriter:
    secure = origin.scheme == "https"
    sock = await socket_to(origin.host, origin.port, proxy)
    try:
        _, writer = await asyncio.open_connection(
            sock=sock,
            ssl=trust if secure else None,
            server_hostname=origin.host if secure else None,
        )
    except BaseException:
        sock.close()
        raise
    return writer


def _better(error: OSError) -> str:
    """Say what would be right, where it is not the proxy."""
    match error:
        case ssl.SSLCertVerificationError():
            ours = "name the organisation's own authority: `pool.authorities`"
            return _CERTIFICATES.get(error.verify_code, ours)
        case ssl.SSLError():
            return (
                "let it speak TLS 1.2 or newer and HTTP/1.1, and ask for no certificate"
            )
        case socket.gaierror():
            return "check DNS, or name the proxy: `pool.proxy`"
        case TimeoutError():
            return "check DNS, open the way to it, or name the proxy: `pool.proxy`"
    return "open the way to it, or name the proxy: `pool.proxy`"


def _lost(area: str, found: str, better: str) -> Finding:
    return Finding(weight="broken", area=area, found=found, better=better)


async def _models(
    upstream: Upstream, client: Client
) -> tuple[int, Sequence[tuple[bytes, bytes]], bytes]:
    """Ask for the list of models."""
    azure = (urlsplit(upstream.base).hostname or "").endswith(_AZURE)
    path = b"/openai/v1/models" if azure else b"/v1/models"
    origin = upstream.origin
    headers = [
        (b"host", origin.authority),
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
        *await upstream.credential.headers([]),
    ]
    request = UpstreamRequest(
        method="GET", origin=origin, target=upstream.path + path, headers=headers
    )
    answer = await client.send(request)
    try:
        body = b""
        while len(body) < _MOST and (piece := await answer.read()):
            body += piece
        return answer.status, answer.headers, body
    finally:
        await answer.close()


def _answered(area: str, upstream: Upstream, status: int) -> list[Finding]:
    """Say what the status tells of the key and of the provider."""
    own = not isinstance(upstream.credential, PassThrough)
    if status in _REFUSED and own:
        found = f"it refuses the gateway's credential ({status})"
        better = "renew the key, or grant it what it lacks"
        return [Finding(weight="broken", area=area, found=found, better=better)]
    if status in _REFUSED:
        found = "it is reached; each client brings a key of its own"
        return [Finding(weight="fine", area=area, found=found)]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        found = f"it is reached, and answers {status}"
        return [Finding(weight="danger", area=area, found=found, better="look there")]
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        found = f"it leads elsewhere ({status}), where the gateway does not follow"
        better = "name the place itself: https, its whole host, and its path"
        return [Finding(weight="broken", area=area, found=found, better=better)]
    if status != HTTPStatus.OK:
        found = f"it has no list of models ({status}), so its key is not tried"
        return [Finding(weight="advice", area=area, found=found)]
    return [Finding(weight="fine", area=area, found="it is reached, and answers")]


def _clock(
    area: str, headers: Sequence[tuple[bytes, bytes]], now: datetime.datetime
) -> list[Finding]:
    """Compare the clocks: exceptions end by ours, tokens by theirs."""
    dates = [value for key, value in headers if key.lower() == b"date"]
    try:
        theirs = email.utils.parsedate_to_datetime(dates[0].decode("latin-1"))
        apart = abs(theirs - now)
    except (IndexError, ValueError, TypeError):
        return []
    if apart < _SKEW:
        return []
    found = (
        f"its clock and this machine's are {apart.total_seconds():.0f} seconds apart"
    )
    better = "set the clock: exceptions, tokens and records go by it"
    return [Finding(weight="danger", area=area, found=found, better=better)]


def _backstop(area: str, body: bytes, permits: Permits) -> Finding:
    """Say what the provider itself would refuse, were the gateway not there."""
    try:
        listed = [model.id for model in msgspec.json.decode(body, type=Models).data]
    except msgspec.DecodeError:
        found = "its list of models cannot be read"
        return Finding(weight="advice", area=area, found=found)
    denied = sorted(model for model in listed if permits(model) is False)
    if denied:
        return Finding(
            weight="advice",
            area=area,
            found="its key may use image models that the policy denies: "
            f"{', '.join(denied[:10])}",
            better="restrict the project or the deployments too: a second lock, for "
            "whoever gets by the first",
        )
    found = "its key may use no image model that the policy denies"
    return Finding(weight="fine", area=area, found=found)
