"""The public keys of an identity provider, as a JWKS document lists them.

What cannot verify a signature is left out: keys for encryption, secret ones (with a
public key for a secret, anybody could sign), private ones, and short ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import jwt
import msgspec

from imagegate.identity.published import PublishedError

ALGORITHMS: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    **dict.fromkeys(
        ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", frozenset())
    ),
    "ES256": ("EC", frozenset({"P-256"})),
    "ES384": ("EC", frozenset({"P-384"})),
    "ES512": ("EC", frozenset({"P-521"})),
    "EdDSA": ("OKP", frozenset({"Ed25519", "Ed448"})),
}
"""What can be allowed, and of which type and curve its keys are. Nothing with a shared
secret is in it, nor `none`."""

MOST_BYTES: Final = 512 * 1024
_MOST_KEYS: Final = 200
_SHORTEST: Final = 2048


class JwksError(PublishedError):
    """What was read is no set of keys, or of none that can be used."""


class KeySet:
    """Keys that can verify; never written to."""

    def __init__(self, keys: Sequence[tuple[str | None, str, jwt.PyJWK]]) -> None:
        self._keys = tuple(keys)

    @property
    def algorithms(self) -> list[str]:
        """What they can verify."""
        return sorted({used for _, used, _ in self._keys})

    def for_token(self, kid: str | None, algorithm: str) -> list[jwt.PyJWK]:
        """Return the keys that may have signed a token.

        The id is compared, and nothing else is ever done with it. A token without one
        can only be meant for the only key.
        """
        fit = [(name, key) for name, used, key in self._keys if used == algorithm]
        if kid is None:
            return [key for _, key in fit] if len(fit) == 1 else []
        return [key for name, key in fit if name == kid]


class _Document(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


def read_jwks(data: bytes, algorithms: Sequence[str]) -> KeySet:
    """Read a document.

    Raises:
        JwksError: When there is no key in it that one of the algorithms can use.
    """
    if len(data) > MOST_BYTES:
        raise JwksError(f"more than {MOST_BYTES} bytes")
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (ValueError, RecursionError):
        raise JwksError('expected {"keys": […]}') from None
    if len(document.keys) > _MOST_KEYS:
        raise JwksError(f"more than {_MOST_KEYS} keys")
    keys = [found for each in document.keys for found in _usable(each, algorithms)]
    if not keys:
        raise JwksError(f"no key for any of {', '.join(algorithms)}")
    return KeySet(keys)


def _usable(
    jwk: Mapping[str, Any], algorithms: Sequence[str]
) -> Iterator[tuple[str | None, str, jwt.PyJWK]]:
    kid, said, uses = jwk.get("kid"), jwk.get("alg"), jwk.get("key_ops")
    verifies = uses is None or (isinstance(uses, list) and "verify" in uses)
    named = kid is None or isinstance(kid, str)
    if "d" in jwk or jwk.get("use", "sig") != "sig" or not (verifies and named):
        return
    for algorithm in algorithms:
        kind, curves = ALGORITHMS[algorithm]
        fits = jwk.get("kty") == kind and (not curves or jwk.get("crv") in curves)
        if not fits or said not in {None, algorithm}:
            continue
        try:
            key = jwt.PyJWK(dict(jwk), algorithm=algorithm)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        if kind != "RSA" or key.key.key_size >= _SHORTEST:
            yield kid, algorithm, key
