"""Answers to what has not reached a route, and to what was ordered to fail."""

from __future__ import annotations

from typing import Any

from imagegate.simulator.dialect import Dialect
from imagegate.simulator.received import Received
from imagegate.simulator.refusal import IMAGE, INVALID, Refusal, refusal

# The usual code and type of a status.
_USUAL = {
    401: ("invalid_api_key", INVALID),
    403: ("unsupported_country_region_territory", "request_forbidden"),
    404: (None, INVALID),
    409: ("conflict", INVALID),
    429: ("rate_limit_exceeded", "requests"),
    500: ("server_error", "server_error"),
    503: ("service_unavailable", "server_error"),
}


def no_credentials(dialect: Dialect) -> Refusal:
    """401, as each provider says it."""
    if dialect.azure:
        message = (
            "Access denied due to invalid subscription key or wrong API endpoint."
            " Make sure to provide a valid key for an active subscription and use a"
            " correct regional API endpoint for your resource."
        )
        return Refusal(401, {"code": "401", "message": message})
    message = (
        "You didn't provide an API key. You need to provide your API key in an"
        " Authorization header using Bearer auth"
        " (i.e. Authorization: Bearer YOUR_KEY)."
    )
    return refusal(message, status=401)


def no_such_url(received: Received, dialect: Dialect) -> Refusal:
    """404 for a path that leads nowhere."""
    if dialect.azure:
        return Refusal(404, {"code": "404", "message": "Resource not found"})
    message = f"Invalid URL ({received.method} {received.path})"
    return refusal(message, status=404)


def wrong_method(received: Received, dialect: Dialect) -> Refusal:
    """405 for a path that leads somewhere."""
    if dialect.azure:
        return Refusal(405, {"code": "405", "message": "Method not allowed"})
    message = f"Not allowed to {received.method} on {received.path}."
    return refusal(message, status=405, code="method_not_supported")


def ordered(status: int, code: str | None) -> Refusal:
    """The error that a behaviour asked for."""
    usual, kind = _USUAL.get(status, (None, INVALID))
    error: dict[str, Any] = {
        "message": f"The simulator was told to answer {status}.",
        "type": IMAGE if code == "moderation_blocked" else kind,
        "param": None,
        "code": code or usual,
    }
    if code == "moderation_blocked":
        details = {"moderation_stage": "input", "categories": ["violence"]}
        error["moderation_details"] = details
    return Refusal(status, error)
