from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from tokens import EC, ED, RSA, jwk, published

from imagegate.identity.jwks import ALGORITHMS, JwksError, read_jwks

ALL = tuple(ALGORITHMS)
SHORT = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - refused
P384 = ec.generate_private_key(ec.SECP384R1())


def test_each_key_serves_the_algorithms_that_it_fits() -> None:
    keys = read_jwks(published(jwk(RSA, "r"), jwk(EC, "e"), jwk(ED, "d")), ALL)

    found = {
        (kid, algorithm)
        for kid in "red"
        for algorithm in ALL
        if keys.for_token(kid, algorithm)
    }
    rsas = {("r", name) for name in ALL if name[1:3] == "S2" or name[0] in "RP"}
    rsas -= {("r", "ES256")}
    assert found == rsas | {("e", "ES256"), ("d", "EdDSA")}


def test_only_what_is_allowed_is_kept() -> None:
    keys = read_jwks(published(jwk(RSA, "r"), jwk(EC, "e")), ["ES256"])

    assert not keys.for_token("r", "RS256")
    assert keys.for_token("e", "ES256")


def test_a_token_without_an_id_is_for_the_only_key() -> None:
    alone = read_jwks(published(jwk(RSA)), ["RS256"])
    several = read_jwks(published(jwk(RSA, "a"), jwk(RSA, "b")), ["RS256"])

    assert len(alone.for_token(None, "RS256")) == 1
    assert several.for_token(None, "RS256") == []
    assert len(several.for_token("b", "RS256")) == 1


@pytest.mark.parametrize("kid", ["", "../k1", "k1\x00", "K1", "k1 ", "http://evil/"])
def test_an_id_is_compared_and_nothing_else(kid: str) -> None:
    assert read_jwks(published(jwk(RSA)), ["RS256"]).for_token(kid, "RS256") == []


def whole(private: Any) -> dict[str, Any]:
    """Describe a key with its private half: somebody has published it by mistake."""
    found = jwt.get_algorithm_by_name("RS256").to_jwk(private, as_dict=True)
    return {**found, "kid": "k1", "key_ops": ["sign", "verify"]}


SECRET = {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "k1"}


@pytest.mark.parametrize(
    "key",
    [
        SECRET,
        {**SECRET, "alg": "HS256"},
        {**SECRET, "alg": "RS256"},
        jwk(RSA, use="enc"),
        jwk(RSA, alg="RSA-OAEP"),
        jwk(RSA, alg="HS256"),
        jwk(RSA, alg="none"),
        jwk(RSA, key_ops=["sign"]),
        jwk(RSA, key_ops="verify"),
        whole(RSA),
        jwk(RSA, n=7),
        jwk(RSA, n="!"),
        {**jwk(RSA), "kid": 7},
        {**jwk(RSA), "kty": "EC"},
        {**jwk(EC), "kty": "RSA"},
        jwk(SHORT),
        jwk(P384, crv="P-256"),
        jwk(EC, crv="secp256k1"),
        jwk(EC, x="AA"),
        {},
    ],
    ids=str,
)
def test_what_cannot_verify_is_left_out(key: dict[str, Any]) -> None:
    with pytest.raises(JwksError):
        read_jwks(published(key), ALL)
    with_another = read_jwks(published(key, jwk(RSA, "good")), ALL)
    assert with_another.for_token("good", "RS256")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'{"keys": 1}',
        b'{"keys": [1]}',
        b'{"keys": []}',
        b"[" * 100_000,
        b" " * (512 * 1024) + published(),
        json.dumps({"keys": [{}] * 201}).encode(),
    ],
    ids=len,
)
def test_what_is_no_set_of_keys_is_refused(data: bytes) -> None:
    with pytest.raises(JwksError):
        read_jwks(data, ALL)


@given(st.binary())
def test_any_bytes_are_keys_or_refused(data: bytes) -> None:
    with pytest.raises(JwksError):
        read_jwks(data, ALL)


def test_nothing_that_shares_a_secret_can_be_allowed() -> None:
    assert not any(name.startswith("HS") or name == "none" for name in ALGORITHMS)
