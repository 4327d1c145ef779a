"""How those are refused of whom it is not known who they are.

SDKs raise their `AuthenticationError` from a 401, whatever its code; the codes are for
people. Whoever shows an expired or a revoked key has proved to have it, and may know.
"""

from __future__ import annotations

from typing import Final

from imagegate.engine.errors import MalformedRequest, Unidentified
from imagegate.engine.policy import Principal

UNAUTHORIZED: Final = 401
_WAYS: Final = {
    "key": "a key of this gateway's (igk_…)",
    "jwt": "a token of its identity provider's",
}


def no_credential(ways: frozenset[str], header: str) -> Unidentified:
    """Say what is expected, to somebody who sent nothing of it."""
    wanted = " or ".join(said for way, said in _WAYS.items() if way in ways)
    where = "`Authorization: Bearer …` or `api-key`"
    if header != "authorization":
        where = f"`{header}`"
    message = f"this gateway asks who you are: send {wanted} in {where}"
    if not wanted:
        message = "this gateway takes requests only from a front that says who asks"
    return Unidentified("no_credential", message)


def wrong_key() -> Unidentified:
    """Refuse a key that is unknown."""
    message = "the API key is not one of this gateway's"
    return Unidentified("invalid_api_key", message)


def former_key(why: str, whose: Principal) -> Unidentified:
    """Refuse a key that has expired or was revoked; the record says which it is."""
    return Unidentified(
        f"{why}_api_key",
        f"the API key has {_HAS[why]}",
        principal_id=whose.id,
        proof=whose.proof,
    )


_HAS: Final = {"expired": "expired", "revoked": "been revoked"}


def wrong_token(why: str = "is not valid here") -> Unidentified:
    """Refuse a token; why is a sentence's end, without anything out of the token."""
    return Unidentified("invalid_token", f"the bearer token {why}")


def unknown_credential(ways: frozenset[str]) -> Unidentified:
    """Refuse what is neither, in the words of what would be taken."""
    if "jwt" not in ways:
        return wrong_key()
    if "key" not in ways:
        return wrong_token("is no signed one (a JWT) that could be read here")
    message = "this is neither a key of this gateway's nor a signed token (a JWT)"
    return Unidentified("invalid_api_key", message)


def expired_token() -> Unidentified:
    """Refuse a token whose time is over."""
    return Unidentified("expired_token", "the bearer token has expired")


def two_credentials() -> MalformedRequest:
    """Refuse two stories about who asks."""
    return MalformedRequest(
        "ambiguous_identity", "two different credentials came in one request"
    )


def bad_header(name: str, why: str) -> MalformedRequest:
    """Refuse what a front cannot have meant."""
    return MalformedRequest("bad_identity_header", f"the header {name} {why}")


def unavailable() -> MalformedRequest:
    """Say that nobody can tell at the moment; it is not the client's fault."""
    return MalformedRequest(
        "identity_unavailable",
        "the keys of the identity provider cannot be had; try again later",
        status=503,
    )
