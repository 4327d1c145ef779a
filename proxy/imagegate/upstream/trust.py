"""Whom to believe that they are the provider."""

from __future__ import annotations

import ssl
from pathlib import Path


def trusting(authorities: Path | None) -> ssl.SSLContext:
    """Trust the system's certificates, and those in a file.

    The environment (`SSL_CERT_FILE`) has no say.
    """
    import httpx2  # noqa: PLC0415 - a tenth of a second and 5 MB, for TLS alone

    context = httpx2.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])  # all that is spoken here
    if authorities is not None:
        context.load_verify_locations(authorities)
    return context
