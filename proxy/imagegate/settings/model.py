"""The settings, as types: what can be said, and what holds when nothing is said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from imagegate.audit.options import Mode, Options
from imagegate.engine.quota import Outage
from imagegate.identity.options import IdentityOptions
from imagegate.middleware import Limits
from imagegate.server.guard import HeadLimits
from imagegate.server.listener import Listener
from imagegate.settings.credential import CredentialSource, Pass
from imagegate.upstream.forwarder import Deadlines
from imagegate.upstream.provider import Projects
from imagegate.upstream.sockets import Sockets


class UpstreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A provider.

    Attributes:
        url: Scheme and host; the paths come from the requests.
        prefix: What the paths of requests to it begin with, and it never sees.
        credential: Where the key comes from; see `imagegate.settings.credential`.
        project: Whose project and organisation are asked for with a key of the
            gateway's.
    """

    url: str
    prefix: str = ""
    credential: CredentialSource = msgspec.field(default_factory=Pass)
    project: Projects = "own"


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """The connections to the providers, of each worker.

    Attributes:
        connections: How many exchanges there can be at once with one provider.
        wait_seconds: How long a request waits for a free connection.
        connect_seconds: How long connecting may take, encryption included.
        write_seconds: How long a provider may take no byte of a request.
        idle_seconds: How long a connection is kept that nobody uses.
        authorities: A PEM file of certificates that are trusted besides the system's.
        client: Which client asks the providers; `auto` is the fast one.
        proxy: The proxy through which they are reached; the environment has no say.
        proxy_login: A file with the user and the password for it, a colon between.
    """

    connections: int = 1_000
    wait_seconds: float = 5.0
    connect_seconds: float = 10.0
    write_seconds: float = 60.0
    idle_seconds: float = 30.0
    authorities: Path | None = None
    client: Literal["auto", "fast", "httpx2"] = "auto"
    proxy: str | None = None
    proxy_login: Path | None = None


class AuditSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where records go, and what becomes of traffic when they cannot.

    Attributes:
        directory: Where the chained files are; without one there are none, and
            records go to standard output.
        mode: When a record counts as written: see `imagegate.audit.options`.
        stdout: What goes to standard output as well: all records, the checkpoints
            that vouch for the files, or nothing.
        burst: How many refusals by nobody known are recorded one by one, of each
            kind and in each minute; those beyond are counted.
        hash_key: A file with a key of at least 16 bytes. With it records have keyed
            hashes, by which equal prompts, users and secrets can be found unseen.
        prices: A price table in place of the one that ships.
        files: How files are kept, and how much may wait.
    """

    directory: Path | None = None
    mode: Mode = "blocking"
    stdout: Literal["records", "checkpoints", "nothing"] = "checkpoints"
    burst: int = 60
    hash_key: Path | None = None
    prices: Path | None = None
    files: Options = msgspec.field(default_factory=Options)


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where something is kept that requests leave behind.

    Attributes:
        file: A SQLite file, which restarts and other gateways on this machine then
            share; without one it is kept for as long as the gateway runs.
        redis: The address of a Redis or Valkey server, for several instances; no
            password is in it.
        password: A file with the password of that server.
        prefix: What the names of keys begin with there.
    """

    file: Path | None = None
    redis: str | None = None
    password: Path | None = None
    prefix: str = "imagegate"


class StateSettings(StoreSettings, frozen=True, kw_only=True):
    """What is kept of judged requests, for those that refer to them later.

    Attributes:
        days: How long it is kept; providers keep a response for thirty.
    """

    days: float = 30.0


class QuotaSettings(StoreSettings, frozen=True, kw_only=True):
    """Where the counters of quotas are kept; what they count, the policy says.

    Attributes:
        outage: What is done with requests while nobody can be asked how much is left:
            they are refused as if it were nothing, or allowed, and counted later.
        seconds: How long one question may take.
        pause_seconds: For how long nobody asks after one was not answered.
    """

    outage: Outage = "refuse"
    seconds: float = 0.25
    pause_seconds: float = 1.0


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where Prometheus finds the metrics.

    Attributes:
        port: Without one there are none; 0 takes any that is free.
        host: An address of its own: nobody is asked who they are.
    """

    port: int | None = None
    host: str = "127.0.0.1"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that can be set.

    Attributes:
        policy: A file, a folder with a `policy.yaml`, or the name of one that ships.
        upstreams: The providers, by names of the operator's.
        candidate: Another policy that is decided and recorded beside it, and never
            acts; named like it.
        listen: Where the gateway listens.
        limits: How much of a body is taken.
        head: How much may come before a body.
        deadlines: How long each wait for a provider or a client may take.
        pool: The connections to the providers.
        sockets: What holds for WebSockets, at both ends.
        audit: Where records go.
        metrics: Where Prometheus finds the metrics.
        state: What is kept of judged requests.
        quotas: Where the counters of quotas are kept.
        identity: How it is found out who asks.
    """

    policy: str
    upstreams: Mapping[str, UpstreamSettings]
    candidate: str | None = None
    listen: Listener = msgspec.field(default_factory=Listener)
    limits: Limits = msgspec.field(default_factory=Limits)
    head: HeadLimits = msgspec.field(default_factory=HeadLimits)
    deadlines: Deadlines = msgspec.field(default_factory=Deadlines)
    pool: Pool = msgspec.field(default_factory=Pool)
    sockets: Sockets = msgspec.field(default_factory=Sockets)
    audit: AuditSettings = msgspec.field(default_factory=AuditSettings)
    metrics: MetricsSettings = msgspec.field(default_factory=MetricsSettings)
    state: StateSettings = msgspec.field(default_factory=StateSettings)
    quotas: QuotaSettings = msgspec.field(default_factory=QuotaSettings)
    identity: IdentityOptions = msgspec.field(default_factory=IdentityOptions)
