"""What can be said of where counters are kept."""

from __future__ import annotations

from pathlib import Path

import msgspec

from imagegate.engine.quota import Outage


class QuotaOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where the counters of quotas are kept; what they count, the policy says.

    Attributes:
        file: A SQLite file, which restarts and other gateways on this machine then
            share; without one they are kept for as long as the gateway runs.
        redis: The address of a Redis or Valkey server, for several instances; no
            password is in it.
        password: A file with the password of that server.
        prefix: What the names of keys begin with there.
        outage: What is done with requests while nobody can be asked how much is left:
            they are refused as if it were nothing, or allowed, and counted later.
        seconds: How long one question may take.
        pause_seconds: For how long nobody asks after one was not answered.
    """

    file: Path | None = None
    redis: str | None = None
    password: Path | None = None
    prefix: str = "imagegate"
    outage: Outage = "refuse"
    seconds: float = 0.25
    pause_seconds: float = 1.0
