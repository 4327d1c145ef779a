"""Putting the parts of a gateway together, as the settings say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec
from starlette.types import ASGIApp

from imagegate import log
from imagegate.app import create_app
from imagegate.audit import StreamAudit
from imagegate.audit.journal import Journal
from imagegate.audit.sieve import Sieve
from imagegate.audit.sink import Sink
from imagegate.audit.tee import Tee
from imagegate.gateway.plan import Live
from imagegate.identity import KeyRing, identify_by
from imagegate.identity.issuer import Fetch
from imagegate.identity.options import IdentityOptions, front_of, issuer_of
from imagegate.metrics import Counted, Metrics
from imagegate.middleware import Identify, Limits, anonymous
from imagegate.quotas import Guarded, MemoryQuotas, Quotas, QuotasLost
from imagegate.quotas.redis import RedisQuotas
from imagegate.redis_server import read_password
from imagegate.seen import MemorySeen, RedisSeen, Seen, SightLost
from imagegate.server.descriptors import carried
from imagegate.server.run import Server, server_for
from imagegate.server.seats import Seats
from imagegate.server.socket import SocketLimits
from imagegate.settings import (
    AuditSettings,
    Pool,
    QuotaSettings,
    Settings,
    StateSettings,
    UpstreamSettings,
)
from imagegate.settings.credential import FromEnvironment, FromFile, Pass
from imagegate.upstream.credentials import (
    Credential,
    Injected,
    InjectedFile,
    PassThrough,
)
from imagegate.upstream.document import Documents
from imagegate.upstream.entra import FOUNDRY_SCOPE, OPENAI_SCOPE, EntraId
from imagegate.upstream.fast.client import FastClient
from imagegate.upstream.forwarder import Upstream
from imagegate.upstream.sockets import SocketClient
from imagegate.upstream.tunnel import Proxy

if TYPE_CHECKING:
    from imagegate.upstream.httpx2_client import Httpx2Client

_FOUNDRY = ".services.ai.azure.com"


class CannotServeError(Exception):
    """The gateway cannot serve, or could not go on; one line says why."""


def assemble(
    settings: Settings,
    live: Live,
    environ: Mapping[str, str],
    metrics: Metrics | None = None,
) -> ASGIApp:
    """Build a gateway.

    Args:
        settings: What is fixed while it runs.
        live: What is not.
        environ: Where credentials may be.
        metrics: Counts what happens.

    Raises:
        CannotServeError: When a file that it needs cannot be opened.
    """
    client, front = client_of(settings), front_of(settings.identity.headers)
    private = front.headers if front else frozenset[bytes]()
    seen, quotas = seen_of(settings.state), quotas_of(settings.quotas, metrics)
    # Last of what may fail: it begins a file, which should not be all there is in it.
    sink = audit_of(settings.audit)
    if metrics is not None:
        metrics.loaded()
    return create_app(
        live.gates,
        {
            each.prefix: upstream_of(name, each, environ, private)
            for name, each in settings.upstreams.items()
        },
        client=client,
        audit=sink if metrics is None else Counted(sink, metrics),
        identify=identify_of(settings.identity, live.keys, Documents(client)),
        limits=limits_of(settings),
        seen=seen,
        quotas=quotas,
        outage=settings.quotas.outage,
        deadlines=settings.deadlines,
        sockets=SocketClient(
            settings.sockets,
            authorities=settings.pool.authorities,
            proxy=proxy_of(settings.pool),
        ),
    )


def audit_of(settings: AuditSettings) -> Sink:
    """Open where records go: one place for the process it is called in."""
    directory, stdout = settings.directory, settings.stdout
    if directory is None:
        mode: Literal["batch", "blocking"]
        mode = "batch" if settings.mode == "batch" else "blocking"
        return Sieve(StreamAudit(mode=mode), burst=settings.burst)
    # What goes to standard output besides the files may not hold anything up.
    stream = None if stdout == "nothing" else StreamAudit(mode="batch")
    journal = Journal.open(
        directory,
        mode=settings.mode,
        options=settings.files,
        witness=stream.post if stream else None,
    )
    for trouble in journal.unrecovered:
        log.error("imagegate.audit_not_recovered", trouble=trouble)
    if journal.file is not None:
        log.info("imagegate.audit", file=str(journal.file), mode=settings.mode)
    if journal.failing is not None:  # it may be a while until somebody asks
        log.error("imagegate.audit_failing", problem=journal.failing)
    sink: Sink = Tee(journal, stream) if stream and stdout == "records" else journal
    return Sieve(sink, burst=settings.burst)


def seen_of(settings: StateSettings) -> Seen:
    """Return what keeps judged requests.

    Raises:
        CannotServeError: When the file is none of ours, or cannot be opened.
    """
    if settings.redis is not None:
        return RedisSeen(
            settings.redis,
            password=read_password(settings.password) if settings.password else None,
            prefix=settings.prefix,
            days=settings.days,
        )
    if settings.file is None:
        return MemorySeen()
    # SQLite takes 2 MB.
    from imagegate.seen.sqlite import SqliteSeen  # noqa: PLC0415

    try:
        return SqliteSeen(settings.file, days=settings.days)
    except SightLost as error:
        raise CannotServeError(f"state: {error}") from None


def quotas_of(settings: QuotaSettings, metrics: Metrics | None = None) -> Quotas:
    """Return what keeps the counters of quotas.

    Raises:
        CannotServeError: When the file is none of ours, or cannot be opened.
    """
    inner: Quotas = MemoryQuotas()
    if settings.redis is not None:
        inner = RedisQuotas(
            settings.redis,
            password=read_password(settings.password) if settings.password else None,
            prefix=settings.prefix,
        )
    elif settings.file is not None:
        from imagegate.quotas.sqlite import SqliteQuotas  # noqa: PLC0415 - 2 MB

        try:
            inner = SqliteQuotas(settings.file)
        except QuotasLost as error:
            raise CannotServeError(f"quotas: {error}") from None
    return Guarded(
        inner,
        seconds=settings.seconds,
        pause=settings.pause_seconds,
        tell=(lambda _: None) if metrics is None else metrics.counters,
    )


def identify_of(
    settings: IdentityOptions, keys: KeyRing | None, fetch: Fetch
) -> Identify:
    """Return what says who asks."""
    if not settings.chosen:
        return anonymous
    issuer = issuer_of(settings.jwt, fetch)
    return identify_by(
        keys=keys,
        issuers=[issuer] if issuer else (),
        front=front_of(settings.headers),
        header=settings.header,
        required=settings.required,
    )


def limits_of(settings: Settings) -> Limits:
    """Return how much of a request is taken; of its head, what the guard takes."""
    head = settings.head
    return msgspec.structs.replace(settings.limits, headers=head.count, head=head.size)


def server_of(settings: Settings, app: ASGIApp, metrics: Metrics | None) -> Server:
    """Return what serves the gateway."""
    listen = settings.listen
    most, each = carried(listen.connections), listen.connections_each
    seats = Seats(most, each)
    if metrics is not None:
        tell, watch = metrics.guard, metrics.connections.set
        seats = Seats(most, each, tell=tell, watch=watch)
    return server_for(app, listen, settings.head, socket_limits_of(settings), seats)


def socket_limits_of(settings: Settings) -> SocketLimits:
    """Return what holds for WebSockets at the client's end."""
    both = settings.sockets
    return SocketLimits(
        message=both.message,
        ping_seconds=both.ping_seconds,
        pong_seconds=both.pong_seconds,
    )


def client_of(settings: Settings) -> FastClient | Httpx2Client:
    """Return what sends requests to the providers."""
    pool = settings.pool
    return _kind_of(pool)(
        connections=pool.connections,
        connect_seconds=pool.connect_seconds,
        pool_seconds=pool.wait_seconds,
        write_seconds=pool.write_seconds,
        idle_seconds=pool.idle_seconds,
        authorities=pool.authorities,
        proxy=proxy_of(pool),
    )


def _kind_of(pool: Pool) -> type[FastClient | Httpx2Client]:
    if pool.client != "httpx2":
        return FastClient
    # It and what it stands on take 5 MB.
    from imagegate.upstream.httpx2_client import Httpx2Client  # noqa: PLC0415

    return Httpx2Client


def proxy_of(pool: Pool) -> Proxy | None:
    """Return the proxy through which providers are reached."""
    return None if pool.proxy is None else Proxy.read(pool.proxy, pool.proxy_login)


def upstream_of(
    name: str,
    settings: UpstreamSettings,
    environ: Mapping[str, str],
    withheld: frozenset[bytes] = frozenset(),
) -> Upstream:
    """Return a provider with its credential; who asks is none of its business."""
    return Upstream(
        name=name,
        base=settings.url,
        credential=credential_of(settings, environ),
        withheld=withheld,
        project=settings.project,
    )


def credential_of(settings: UpstreamSettings, environ: Mapping[str, str]) -> Credential:
    """Return with whose credential a provider is asked."""
    match settings.credential:
        case Pass():
            return PassThrough()
        case FromEnvironment(header, name):
            return Injected(header, environ[name])
        case FromFile(header, file):
            return InjectedFile(header, file)
        case source:
            return EntraId(source.scope or _usual_scope(settings.url))


def _usual_scope(url: str) -> str:
    host = urlsplit(url).hostname or ""
    return FOUNDRY_SCOPE if host.endswith(_FOUNDRY) else OPENAI_SCOPE
