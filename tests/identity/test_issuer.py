"""Tokens of an identity provider: what is believed, and known ways to forge one."""

from __future__ import annotations

import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from driving import request
from hypothesis import given
from hypothesis import strategies as st
from tokens import (
    AUDIENCE,
    EC,
    ISSUER,
    OTHER,
    PRIVATE,
    RSA,
    claims,
    encoded,
    jwk,
    published,
    signed,
    spelled,
)

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.policy import Principal
from imagegate.identity import Front, Issuer, KeyRing, Keys, identify_by
from imagegate.identity.issuer import MissingExtraError, check_address

pytestmark = pytest.mark.anyio

KEYS = [jwk(RSA), jwk(EC, "e1"), jwk(PRIVATE["EdDSA"], "d1")]
NOW, DAY = int(time.time()), 86_400


class Web:
    """Answers what is asked for, and keeps what was."""

    def __init__(self, **pages: bytes) -> None:
        self.asked: list[str] = []
        self.pages = {"https://login.example/keys": published(*KEYS), **pages}

    async def __call__(self, url: str) -> tuple[bytes, float | None]:
        self.asked.append(url)
        return self.pages[url], None


def issuer(web: Web | None = None, **more: Any) -> Issuer:
    given: dict[str, Any] = {
        "fetch": web or Web(),
        "jwks": "https://login.example/keys",
        "algorithms": ("RS256", "ES256", "EdDSA"),
        **more,
    }
    return Issuer(ISSUER, [AUDIENCE, "other"], **given)


async def who(token: str, web: Web | None = None, **more: Any) -> Principal:
    identify = identify_by(issuers=[issuer(web, **more)])
    shown = (b"authorization", f"Bearer {token}".encode())
    return await identify(request(headers=[shown]))


async def refusal(token: str, **more: Any) -> tuple[int, str]:
    with pytest.raises(MalformedRequest) as raised:
        await who(token, **more)
    assert token not in raised.value.message
    return raised.value.status, raised.value.code


async def test_who_asks_is_what_the_token_says() -> None:
    token = signed(
        groups=["design", "web"],
        region="eu",
        realm_access={"roles": ["painter"]},
        admin=True,
        level=3,
    )
    attributes = {"region": "region", "role": "realm_access.roles", "admin": "admin"}

    found = await who(token, attributes={**attributes, "level": "level", "none": "no"})

    assert found == Principal(
        id="anna",
        attributes={
            "user": ("anna",),
            "team": ("design", "web"),
            "region": ("eu",),
            "role": ("painter",),
            "admin": ("true",),
            "level": ("3",),
        },
        verified=True,
        source="jwt",
        proof=f"issuer {ISSUER}",
    )


@pytest.mark.parametrize("claim", ["scope", "scp"])
@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("images:create images:high", ("images:create", "images:high")),
        (["images:create", "images:high"], ("images:create", "images:high")),
        ("images:create", ("images:create",)),
        ("", ()),
    ],
)
async def test_scopes_are_a_list_however_they_are_written(
    claim: str, said: object, found: tuple[str, ...]
) -> None:
    more: dict[str, Any] = {claim: said}
    token = signed(**more, groups=["Art Department"])

    told = await who(token, attributes={"scope": claim})

    assert told.attributes.get("scope", ()) == found
    assert told.attributes["team"] == ("Art Department",)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"aud": "someone"}, "audience"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"nbf": NOW + DAY}, "yet"),
    ],
)
async def test_its_owner_learns_what_is_wrong_with_a_token(
    more: dict[str, Any], why: str
) -> None:
    with pytest.raises(MalformedRequest) as raised:
        await who(signed(**more))

    assert why in raised.value.message


@pytest.mark.parametrize("shown", ["opaque-AbC", "a.b.c.d.e", "Zm9v"])
async def test_what_is_no_signed_token_is_not_called_a_key(shown: str) -> None:
    with pytest.raises(MalformedRequest) as raised:
        await who(shown)
    assert (raised.value.code, "JWT" in raised.value.message) == ("invalid_token", True)

    keys = KeyRing(Keys(bytes(32)))
    head = [(b"authorization", f"Bearer {shown}".encode())]
    with pytest.raises(MalformedRequest) as raised:
        await identify_by(keys=keys, issuers=[issuer()])(request(headers=head))
    assert raised.value.code == "invalid_api_key"
    assert "JWT" in raised.value.message


@pytest.mark.parametrize(
    ("typ", "taken"),
    [
        ("JWT", True),
        ("jwt", True),
        ("JOSE", True),
        ("at+jwt", True),
        ("application/at+JWT", True),
        ("application/okta-internal-at+jwt", True),
        ("logout+jwt", False),
        ("application/Logout+JWT", False),
        ("secevent+jwt", False),
        ("dpop+jwt", False),
        (7, False),
    ],
)
async def test_a_token_that_calls_itself_something_else_is_refused(
    typ: object, *, taken: bool
) -> None:
    token = signed(head={"typ": typ})

    if taken:
        assert (await who(token)).id == "anna"
    else:
        assert await refusal(token) == (401, "invalid_token")


@pytest.mark.parametrize(
    ("algorithm", "kid"), [("RS256", "k1"), ("ES256", "e1"), ("EdDSA", "d1")]
)
async def test_each_algorithm_that_is_allowed_is_taken(
    algorithm: str, kid: str
) -> None:
    token = signed(PRIVATE[algorithm], algorithm, head={"kid": kid})

    assert (await who(token)).id == "anna"
    others = tuple({"RS256", "ES256", "EdDSA"} - {algorithm})
    assert await refusal(token, algorithms=others) == (401, "invalid_token")


@pytest.mark.parametrize(
    "more",
    [
        {"aud": ["unknown", "other"]},
        {"iat": None},
    ],
)
async def test_what_need_not_be_there_may_be_absent(more: dict[str, Any]) -> None:
    assert (await who(signed(**more))).id == "anna"


@pytest.mark.parametrize(
    ("claim", "seconds"), [("nbf", -10), ("exp", -10), ("nbf", 10), ("iat", 10)]
)
async def test_what_holds_within_the_leeway_holds(claim: str, seconds: int) -> None:
    # From now, and not from when the suite began.
    more: dict[str, Any] = {claim: int(time.time()) + seconds}
    assert (await who(signed(**more))).id == "anna"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"exp": NOW - 60}, "expired_token"),
        ({"exp": None}, "invalid_token"),
        ({"exp": "soon"}, "invalid_token"),
        ({"exp": float("inf")}, "invalid_token"),
        ({"nbf": NOW + DAY}, "invalid_token"),
        ({"iat": NOW + DAY}, "invalid_token"),
        ({"aud": None}, "invalid_token"),
        ({"aud": "someone"}, "invalid_token"),
        ({"aud": []}, "invalid_token"),
        ({"aud": 7}, "invalid_token"),
        ({"iss": None}, "invalid_token"),
        ({"iss": f"{ISSUER}/"}, "invalid_token"),
        ({"iss": [ISSUER]}, "invalid_token"),
        ({"sub": None}, "invalid_token"),
        ({"sub": ""}, "invalid_token"),
        ({"sub": 7}, "invalid_token"),
        ({"sub": "an\nna"}, "invalid_token"),
        ({"sub": "a" * 201}, "invalid_token"),
        ({"groups": [["a"]]}, "invalid_token"),
        ({"groups": {"a": 1}}, "invalid_token"),
        ({"groups": [""]}, "invalid_token"),
        ({"groups": ["a"] * 501}, "invalid_token"),
        ({"_claim_names": {"groups": "src1"}}, "invalid_token"),
        ({"hasgroups": True}, "invalid_token"),
    ],
    ids=str,
)
async def test_what_does_not_hold_here_and_now_is_refused(
    more: dict[str, Any], code: str
) -> None:
    assert await refusal(signed(**more)) == (401, code)


PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
DER = RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def by_secret(secret: bytes, algorithm: str = "HS256", **head: Any) -> str:
    """Sign with a shared secret that everybody knows: the public key."""
    signing = spelled({"alg": algorithm, "kid": "k1", **head}, claims())[:-1]
    return f"{signing}.{encoded(hmac.digest(secret, signing.encode(), 'sha256'))}"


def unsigned(algorithm: object = "none", signature: bytes = b"") -> str:
    return spelled({"alg": algorithm, "kid": "k1"}, claims(), signature)


def changed(token: str, **more: Any) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{encoded(json.dumps(claims(**more)).encode())}.{signature}"


THEIRS = jwk(OTHER, "evil")
FORGED = {
    "none": unsigned(),
    "None": unsigned("None"),
    "nOnE with a signature": unsigned("nOnE", b"x" * 256),
    "no algorithm": unsigned(None),
    "an algorithm that is no text": unsigned(["RS256"]),
    "an empty algorithm": unsigned(""),
    "no signature": signed().rpartition(".")[0] + ".",
    "the public key as a secret": by_secret(PEM),
    "the same without its end": by_secret(PEM.strip()),
    "the same as bytes": by_secret(DER),
    "the secret with another name": by_secret(PEM, "HS512"),
    "the secret in the name of RS256": by_secret(PEM, "RS256"),
    "another's key": signed(OTHER),
    "another's key and its name": signed(OTHER, head={"kid": "evil"}),
    "a key in the token": signed(OTHER, head={"jwk": THEIRS, "kid": None}),
    "a key elsewhere": signed(OTHER, head={"jku": "https://evil.example/keys"}),
    "a certificate elsewhere": signed(OTHER, head={"x5u": "https://evil.example/c"}),
    "a certificate in the token": signed(OTHER, head={"x5c": [encoded(DER)]}),
    "a path for a key": signed(OTHER, head={"kid": "../../dev/null"}),
    "a query for a key": signed(OTHER, head={"kid": "x' UNION SELECT 'k"}),
    "a key's name of another type": spelled({"alg": "RS256", "kid": 7}, claims()),
    "a key of another kind": signed(EC, "ES256", head={"kid": "k1"}),
    "something critical": signed(head={"crit": ["exp"]}),
    "something critical that is none": signed(head={"crit": []}),
    "not encoded": signed(head={"b64": False, "crit": ["b64"]}),
    "other claims": changed(signed(), sub="root"),
    "another algorithm": signed(RSA, "PS256"),
    "short for a long one": signed()[:-4],
    "padded": signed() + "==",
    "not by a curve": spelled({"alg": "ES256", "kid": "e1"}, claims(), bytes(64)),
    "deep": ".".join([encoded(b"[" * 9000)] * 3),
    "deep claims": f"{encoded(b'{}')}.{encoded(b'[' * 9000)}.x",
    "no object": ".".join([encoded(b"1")] * 3),
    "no text": ".".join([encoded(b"\xff")] * 3),
    "no base64": "a.b.c",
    "long": signed(note="x" * 16_384),
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
async def test_a_forged_token_is_refused_and_nothing_it_names_is_fetched(
    token: str,
) -> None:
    web = Web()

    status, code = await refusal(token, web=web)

    assert status == 401
    assert code in {"invalid_token", "invalid_api_key"}
    assert set(web.asked) <= {"https://login.example/keys"}
    assert (await who(signed(), web)).id == "anna"


@pytest.mark.parametrize(
    "token",
    [unsigned(), by_secret(PEM), signed(RSA, "PS256"), signed(head={"crit": ["exp"]})],
    ids=["none", "HS256", "PS256", "crit"],
)
async def test_a_head_that_is_not_taken_is_refused_before_anything_is_asked(
    token: str,
) -> None:
    web = Web()

    assert await refusal(token, web=web) == (401, "invalid_token")
    assert web.asked == []


async def test_what_of_the_head_means_nothing_changes_nothing() -> None:
    token = signed(head={"jku": "https://evil.example/", "x5u": "x", "typ": "at+jwt"})

    assert (await who(token)).id == "anna"


async def test_anothers_token_makes_no_fetch() -> None:
    web = Web()

    assert await refusal(signed(iss="https://evil.example"), web=web)
    assert web.asked == []


async def test_several_providers_have_users_of_their_own() -> None:
    first = issuer(name="main")
    web = Web(**{"https://b.example/keys": published(jwk(OTHER))})
    second = Issuer(
        "https://b.example", ["b"], fetch=web, jwks="https://b.example/keys"
    )
    identify = identify_by(issuers=[first, second])

    async def named(token: str) -> tuple[str, str]:
        shown = (b"api-key", token.encode())
        found = await identify(request(headers=[shown]))
        return found.source, found.id

    theirs = signed(OTHER, iss="https://b.example", aud="b")
    assert await named(signed()) == ("jwt:main", "anna")
    assert await named(theirs) == ("jwt", "anna")
    with pytest.raises(MalformedRequest):
        await named(signed(RSA, iss="https://b.example", aud="b"))


async def test_a_wrong_token_is_refused_whoever_vouches() -> None:
    front = Front(["127.0.0.1/32"])
    identify = identify_by(issuers=[issuer()], front=front)
    named = (b"x-forwarded-user", b"jo")

    async def ask(text: str) -> str:
        shown = (b"authorization", f"Bearer {text}".encode())
        return (await identify(request(headers=[shown, named]))).id

    assert await ask(signed()) == "anna"
    assert await ask("sk-provider") == "jo"
    with pytest.raises(MalformedRequest):
        await ask(signed(OTHER))


# -- where the keys are ----------------------------------------------------------------

CONFIGURATION = f"{ISSUER}/.well-known/openid-configuration"


def configuration(**more: str) -> bytes:
    said = {"issuer": ISSUER, "jwks_uri": "https://login.example/keys", **more}
    return json.dumps(said).encode()


async def test_the_provider_says_where_its_keys_are() -> None:
    web = Web(**{CONFIGURATION: configuration()})

    assert (await who(signed(), web, jwks=None)).id == "anna"
    assert web.asked == [CONFIGURATION, "https://login.example/keys"]


@pytest.mark.parametrize(
    "said",
    [
        configuration(issuer="https://evil.example"),
        configuration(issuer=f"{ISSUER}/"),
        configuration(jwks_uri="http://login.example/keys"),
        configuration(jwks_uri="file:" + "//" + "/etc/passwd"),
        b"{}",
        b"no json",
    ],
)
async def test_a_provider_that_says_something_odd_is_not_followed(said: bytes) -> None:
    web = Web(**{CONFIGURATION: said})

    found = await refusal(signed(), web=web, jwks=None)

    assert found == (503, "identity_unavailable")
    assert web.asked == [CONFIGURATION]


async def test_keys_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(published())

    assert (await who(signed(), jwks=file, fetch=None)).id == "anna"
    file.unlink()
    missing = await refusal(signed(), jwks=file, fetch=None)
    assert missing == (503, "identity_unavailable")


@pytest.mark.parametrize(
    "url",
    [
        "https://login.example/keys",
        "https://login.example:8443/a?b=c",
        "http://127.0.0.1:9/keys",
        "http://[::1]/keys",
        "http://localhost:8080",
    ],
)
def test_an_address_that_nobody_else_can_answer_for_is_fine(url: str) -> None:
    check_address(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "login.example",
        "http://login.example",
        "http://127.0.0.1.evil.example/",
        "file:" + "//" + "/etc/keys",
        "https://",
        "https://user@login.example/",
        "https://login.example/#x",
        "https://login.example/a b",
        "https://logín.example/",
        "ftp://127.0.0.1/",
    ],
)
def test_an_address_where_somebody_could_put_keys_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        check_address(url)


@pytest.mark.parametrize(
    "more",
    [
        {"algorithms": ()},
        {"algorithms": ("none",)},
        {"algorithms": ("RS256", "HS256")},
        {"attributes": {"team": "roles"}},
        {"attributes": {"user": "email"}},
        {"attributes": {"key": "email"}},
        {"fetch": None},
        {"jwks": "http://login.example/keys"},
    ],
)
def test_what_could_not_be_verified_is_no_provider(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        issuer(**more)


@pytest.mark.parametrize(
    ("name", "audience"), [("", ["a"]), (ISSUER, []), (ISSUER, [""])]
)
def test_whose_tokens_and_for_whom_must_be_said(name: str, audience: list[str]) -> None:
    with pytest.raises(ValueError, match="audience"):
        Issuer(name, audience, fetch=Web())


def test_a_missing_extra_is_said_with_the_command_that_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imagegate.identity.issuer.find_spec", lambda _: None)

    with pytest.raises(MissingExtraError, match=r"pip install 'imagegate\[jwt\]'"):
        issuer()


# -- anything --------------------------------------------------------------------------

PARTS = st.one_of(
    st.binary().map(encoded),
    st.sampled_from(signed().split(".")),
    st.dictionaries(
        st.sampled_from(["alg", "kid", "crit", "iss", "exp", "jku", "b64", "zip"]),
        st.one_of(
            st.none(), st.integers(), st.floats(), st.text(), st.just(ISSUER),
            st.sampled_from(["RS256", "none", "HS256", "k1"]), st.lists(st.text()),
        ),
    ).map(lambda said: encoded(json.dumps(said).encode())),
)  # fmt: skip


@given(st.tuples(PARTS, PARTS, PARTS).map(".".join))
@pytest.mark.anyio
async def test_any_token_is_a_principal_or_a_refusal(token: str) -> None:
    identify = identify_by(issuers=[issuer()])
    shown = (b"authorization", f"Bearer {token}".encode())
    found: Principal | MalformedRequest
    try:
        found = await identify(request(headers=[shown]))
    except MalformedRequest as error:
        found = error

    if isinstance(found, Principal):
        assert jwt.decode(
            token, RSA.public_key(), algorithms=["RS256"], audience=AUDIENCE
        )
    else:
        assert found.status == 401
