"""Whom to believe that they are the provider."""

from __future__ import annotations

import ssl
from pathlib import Path

from imagegate.upstream.client import Origin


class Trust:
    """The certificates that a client believes.

    Args:
        authorities: A file of some that are trusted besides the system's; what is
            wrong with it is found now.
    """

    def __init__(self, authorities: Path | None) -> None:
        self._context = None if authorities is None else trusting(authorities)

    def context_for(self, origin: Origin) -> ssl.SSLContext | None:
        """Return what an origin is asked with; None for one without encryption."""
        if origin.scheme != "https":
            return None
        if self._context is None:
            self._context = trusting(None)  # it takes its time, and not all need it
        return self._context


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
