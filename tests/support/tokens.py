"""An identity provider for tests: its keys, what it publishes, and what it signs."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER = "https://login.example/realm"
AUDIENCE = "imagegate"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, Any] = {"RS256": RSA, "PS256": RSA, "ES256": EC, "EdDSA": ED}


def jwk(private: Any, kid: str | None = "k1", **more: Any) -> dict[str, Any]:
    """Describe the public half of a key."""
    public = private.public_key()
    name = {rsa.RSAPublicKey: "RS256", ec.EllipticCurvePublicKey: "ES256"}
    kind = next((n for c, n in name.items() if isinstance(public, c)), "EdDSA")
    found = jwt.get_algorithm_by_name(kind).to_jwk(public, as_dict=True)
    found.pop("key_ops", None)
    named = {} if kid is None else {"kid": kid}
    return {**found, **named, **more}


def published(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys or [jwk(RSA)])}).encode()


def claims(**more: Any) -> dict[str, Any]:
    """Return claims that hold for a minute; those that are None are left out."""
    now = int(time.time())
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "anna",
        "iat": now,
        "exp": now + 60,
        **more,
    }
    return {name: value for name, value in said.items() if value is not None}


def signed(
    private: Any = RSA,
    algorithm: str = "RS256",
    *,
    head: dict[str, Any] | None = None,
    **more: Any,
) -> str:
    headers = {"kid": "k1", **(head or {})}
    kept = {name: value for name, value in headers.items() if value is not None}
    # Past what PyJWT itself would not put into a token.
    body = json.dumps(claims(**more)).encode()
    return jwt.PyJWS().encode(body, private, algorithm=algorithm, headers=kept)


def spelled(head: object, body: object, signature: bytes = b"") -> str:
    """Spell a token by hand, as no library would."""
    parts = [json.dumps(each).encode() for each in (head, body)]
    return ".".join(encoded(each) for each in (*parts, signature))


def encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
