"""What becomes of an exchange that the provider did not see through.

The client gets an answer in the provider's place; the middleware, if there is one,
learns why.
"""

from __future__ import annotations

import time
from typing import Final, Literal

import msgspec
from starlette.types import Message, Scope

from imagegate import log
from imagegate.upstream.client import UpstreamError

OUTCOME = "imagegate.outcome"
"""The extension in which the middleware learns of an early end."""

VIEWS = "imagegate.views"
"""The extension in which the middleware learns that it need not join a body."""

AGAIN_SECONDS: Final = 10.0
"""Between two lines of the log about the same failure."""
_OURS: Final = 500
"""From here on a status says that it is not the client's fault."""


def want_views(scope: Scope) -> None:
    """Tell whoever gives the body that it can come in pieces, and as views."""
    views = (scope.get("extensions") or {}).get(VIEWS)
    if views is not None:
        views["wanted"] = True


def note(
    scope: Scope, ended: Literal["client_left", "timeout", "upstream_error"]
) -> None:
    """Tell whoever asked why the exchange ended early."""
    outcome = (scope.get("extensions") or {}).get(OUTCOME)
    if outcome is not None:
        outcome["ended"] = ended


class Failures:
    """Lets the log say what the operator has to know, and the client not.

    A provider that fails does so with each request: of one code is told now and then,
    and the records tell of all.

    Args:
        upstream: The name of the provider.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._again: dict[str, float] = {}

    def tell(self, error: UpstreamError) -> None:
        """Tell of one, unless it was told of a moment ago."""
        now = time.monotonic()
        if error.status < _OURS or now < self._again.get(error.code, 0.0):
            return
        self._again[error.code] = now + AGAIN_SECONDS
        said = {"upstream": self._upstream, "code": error.code}
        cause = {"cause": error.cause} if error.cause else {}
        log.warning("imagegate.provider_failed", **said, **cause)


def instead(error: UpstreamError) -> tuple[Message, Message]:
    """Say what is wrong; a client may try again only if that is safe."""
    ours = error.status >= _OURS
    said = "the provider did not answer" if ours else "the request cannot be forwarded"
    body = msgspec.json.encode(
        {
            "error": {
                "message": f"{said} ({error.code})",
                "type": "server_error" if ours else "invalid_request_error",
                "param": None,
                "code": error.code,
            }
        }
    )
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-should-retry", b"true" if error.resendable else b"false"),
    ]
    if error.status == 503:  # noqa: PLR2004 - Service Unavailable
        headers.append((b"retry-after", b"1"))
    return (
        {"type": "http.response.start", "status": error.status, "headers": headers},
        {"type": "http.response.body", "body": body, "more_body": False},
    )
