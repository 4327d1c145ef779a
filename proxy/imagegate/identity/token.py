"""One bearer token: whether its issuer signed it, for us, and for now.

The head of a token is its sender's word. Of it only `alg` and `kid` are looked at, and
they only choose among what the operator allows, and at `typ`, which can only have it
refused: nothing that a token points to (`jku`, `x5u`, `jwk`) is fetched or believed,
and nothing critical that is not understood.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import jwt
import msgspec

from imagegate.identity.jwks import KeySet
from imagegate.identity.refusals import expired_token, wrong_token

LONGEST: Final = 16 * 1024
"""Characters of a token; one with two hundred groups has some ten thousand."""
_MOST_TRIES: Final = 4
_WRONG: Final = (
    jwt.PyJWTError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What PyJWT raises for what is no token; `inf` for a time overflows in it."""


_P = TypeVar("_P", bound=msgspec.Struct)


class Head(msgspec.Struct, frozen=True):
    """What of a token's head counts."""

    alg: str
    kid: str | None = None
    crit: Any = None
    typ: Any = None


class _Claims(msgspec.Struct, frozen=True):
    iss: str


def issuer_in(token: str) -> str:
    """Return whose token it claims to be; nothing is proved by that.

    Raises:
        MalformedRequest: When it is no token.
    """
    return _part(token, 1, _Claims).iss


def head_of(token: str, algorithms: Sequence[str]) -> Head:
    """Return the head of a token.

    Raises:
        MalformedRequest: When no key could verify it.
    """
    head = _part(token, 0, Head)
    if head.alg not in algorithms or head.crit is not None:
        raise wrong_token("is signed in a way that is not taken here")
    if not _is_to_ask_with(head.typ):
        raise wrong_token("is of another kind than an access token")
    return head


def _is_to_ask_with(typ: object) -> bool:
    """Tell whether a token may be meant to ask with, by what it calls itself.

    Access tokens are `at+jwt` (RFC 9068), `JWT`, or say nothing. What ends a session,
    or tells what has happened, is signed with the same keys and calls itself so.
    """
    if typ is None:
        return True
    said = typ.lower() if isinstance(typ, str) else "+jwt"
    return not said.endswith("+jwt") or said.endswith("at+jwt")


def _part(token: str, number: int, kind: type[_P]) -> _P:
    if len(token) > LONGEST:
        raise wrong_token("is too long")
    part = token.split(".")[number]
    try:
        text = urlsafe_b64decode(part + "=" * (-len(part) % 4))
        return msgspec.json.decode(text, type=kind)
    except (binascii.Error, ValueError, RecursionError):
        raise wrong_token() from None


def claims_of(  # noqa: PLR0913 - what is proved, and by what
    token: str,
    head: Head,
    keys: KeySet,
    *,
    issuer: str,
    audience: Sequence[str],
    leeway: float,
) -> Mapping[str, Any]:
    """Return the claims of a token that is proved.

    Args:
        token: The token.
        head: Its own.
        keys: The issuer's.
        issuer: Who must have issued it.
        audience: For one of whom it must be.
        leeway: Seconds by which clocks may differ.

    Raises:
        MalformedRequest: When anything of it is not so.
    """
    for key in keys.for_token(head.kid, head.alg)[:_MOST_TRIES]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[head.alg],
                issuer=issuer,
                audience=list(audience),
                leeway=leeway,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise expired_token() from None
        except jwt.InvalidAudienceError:
            raise wrong_token("is for another audience") from None
        except jwt.ImmatureSignatureError:
            raise wrong_token("does not hold yet") from None
        except jwt.InvalidSignatureError:
            continue
        except _WRONG:
            break
    raise wrong_token()
