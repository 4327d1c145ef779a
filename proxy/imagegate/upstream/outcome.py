"""What becomes of an exchange that the provider did not see through.

The client gets an answer in the provider's place; the middleware, if there is one,
learns why.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from starlette.types import Message, Scope

from imagegate import log
from imagegate.upstream.client import UpstreamError

OUTCOME = "imagegate.outcome"
"""The extension in which the middleware learns of an early end."""

VIEWS = "imagegate.views"
"""The extension in which the middleware learns that it need not join a body."""

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


def tell(upstream: str, error: UpstreamError) -> None:
    """Let the log say what the operator has to know, and the client not."""
    if error.status >= _OURS:
        cause = {"cause": error.cause} if error.cause else {}
        log.warning(
            "imagegate.provider_failed", upstream=upstream, code=error.code, **cause
        )


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
