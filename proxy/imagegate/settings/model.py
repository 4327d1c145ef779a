"""The settings, as types: what can be said, and what holds when nothing is said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from imagegate.middleware import Limits
from imagegate.server.guard import HeadLimits
from imagegate.server.listener import Listener
from imagegate.settings.credential import CredentialSource, Pass
from imagegate.upstream.forwarder import Deadlines


class UpstreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A provider.

    Attributes:
        url: Scheme and host; the paths come from the requests.
        prefix: What the paths of requests to it begin with, and it never sees.
        credential: Where the key comes from; see `imagegate.settings.credential`.
    """

    url: str
    prefix: str = ""
    credential: CredentialSource = msgspec.field(default_factory=Pass)


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """The connections to the providers, of each worker.

    Attributes:
        connections: How many exchanges there can be at once with one provider.
        wait_seconds: How long a request waits for a free connection.
        connect_seconds: How long connecting may take, encryption included.
        write_seconds: How long a provider may take no byte of a request.
        idle_seconds: How long a connection is kept that nobody uses.
        authorities: A PEM file of certificates that are trusted besides the system's.
    """

    connections: int = 1_000
    wait_seconds: float = 5.0
    connect_seconds: float = 10.0
    write_seconds: float = 60.0
    idle_seconds: float = 30.0
    authorities: Path | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that can be set.

    Attributes:
        policy: A file, a folder with a `policy.yaml`, or the name of one that ships.
        upstreams: The providers, by names of the operator's.
        listen: Where the gateway listens.
        limits: How much of a body is taken.
        head: How much may come before a body.
        deadlines: How long each wait for a provider or a client may take.
        pool: The connections to the providers.
    """

    policy: str
    upstreams: Mapping[str, UpstreamSettings]
    listen: Listener = msgspec.field(default_factory=Listener)
    limits: Limits = msgspec.field(default_factory=Limits)
    head: HeadLimits = msgspec.field(default_factory=HeadLimits)
    deadlines: Deadlines = msgspec.field(default_factory=Deadlines)
    pool: Pool = msgspec.field(default_factory=Pool)
