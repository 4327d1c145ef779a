"""The listener: who can reach it, over what, and whether they say who they are."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

from imagegate.doctor.finding import Finding
from imagegate.server.listener import is_loopback
from imagegate.settings import Settings

AREA: Final = "listener"
SOON: Final = datetime.timedelta(days=21)


def examine_listener(settings: Settings, now: datetime.datetime) -> Iterator[Finding]:
    """Look at where the gateway would listen."""
    listen, asked = settings.listen, settings.identity.closed
    far = not is_loopback(listen.host)
    if far and not asked:
        yield Finding(
            weight="danger",
            area=AREA,
            found=f"whoever reaches {listen.host}:{listen.port} may use the gateway",
            better="say how clients are told apart: deploy/identity.md",
        )
    elif not asked:
        yield Finding(
            weight="advice",
            area=AREA,
            found="nobody is asked who they are: no team and no exception matches",
            better="say how clients are told apart: deploy/identity.md",
        )
    if far and listen.tls_certificate is None:
        yield Finding(
            weight="advice",
            area=AREA,
            found=f"{listen.host} is reached in clear, keys and prompts included",
            better="`listen.tls_certificate`, or a front with TLS on this machine",
        )
    if listen.tls_certificate is not None:
        yield from _certificate(listen.tls_certificate, now)
    if settings.metrics.port is None:
        yield Finding(
            weight="advice",
            area=AREA,
            found="there are no metrics, so nothing alerts",
            better="`metrics.port`, and deploy/prometheus/alerts.yaml",
        )


def _certificate(file: Path, now: datetime.datetime) -> Iterator[Finding]:
    try:
        # Python offers no other way to look into a file without a dependency.
        decode = cast(Any, ssl)._ssl._test_decode_cert  # noqa: SLF001
        ends = ending(decode(file)["notAfter"])
    except (OSError, KeyError, ValueError):
        return  # the settings say what is wrong with the file
    yield lasting(AREA, f"the certificate of {file}", ends, now)


def ending(text: str) -> datetime.datetime:
    """Read the time at which a certificate ends."""
    return datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(text), datetime.UTC)


def lasting(
    area: str, what: str, ends: datetime.datetime, now: datetime.datetime
) -> Finding:
    """Say for how long something lasts."""
    days = (ends - now).days
    if ends < now:
        found = f"{what} ended on {ends:%Y-%m-%d}"
        return Finding(weight="broken", area=area, found=found, better="renew it")
    weight = "danger" if ends - now < SOON else "fine"
    found = f"{what} lasts until {ends:%Y-%m-%d}, {days} days"
    better = "renew it" if weight == "danger" else ""
    return Finding(weight=cast(Any, weight), area=area, found=found, better=better)
