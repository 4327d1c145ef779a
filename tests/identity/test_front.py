from __future__ import annotations

from typing import Any

import pytest
from driving import ASKING, JSON, Call, Inner, Notebook, governed, request
from hypothesis import given
from hypothesis import strategies as st
from keyed import NOW, given_out, keys_of

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.policy import ANONYMOUS, Principal
from imagegate.identity import Front, KeyRing, identify_by

pytestmark = pytest.mark.anyio

Header = tuple[bytes, bytes]
HERE = ("127.0.0.1", 1)
FRONT = Front(["127.0.0.1/32", "fd00::/8"], attributes={"region": "x-region"})
ANNA: Header = (b"x-forwarded-user", b"anna")
TEXT, KEY = given_out("ci")


def asked(*headers: Header, client: Any = HERE) -> Principal | None:
    return FRONT.who(request(headers=headers, client=client))


def fault(*headers: Header) -> tuple[int, str]:
    with pytest.raises(MalformedRequest) as raised:
        asked(*headers)
    assert "anna" not in raised.value.message
    return raised.value.status, raised.value.code


def test_a_front_says_who_asks_of_which_teams() -> None:
    found = asked(
        (b"X-Forwarded-User", b" anna@example.com "),
        (b"x-forwarded-groups", b"design, web,,"),
        (b"x-region", b"eu"),
    )

    assert found == Principal(
        id="anna@example.com",
        attributes={
            "user": ("anna@example.com",),
            "team": ("design", "web"),
            "region": ("eu",),
        },
        verified=True,
        source="header",
        proof="front 127.0.0.1",
    )


@pytest.mark.parametrize(
    "client",
    [
        ("127.0.0.2", 1),
        ("10.0.0.1", 1),
        ("::1", 1),
        ("fe80::1%eth0", 1),
        ("localhost", 1),
        ("", 0),
        ("testclient", 50000),
        None,
    ],
)
def test_nobody_else_is_believed(client: Any) -> None:
    """An address that is not known is no listed one, and neither is a name."""
    forwarded = (b"x-forwarded-for", b"127.0.0.1")

    assert asked(ANNA, forwarded, client=client) is None
    # Nor is anything refused that says nothing here.
    assert asked(ANNA, ANNA, (b"x_forwarded_user", b"\xff"), client=client) is None


@pytest.mark.parametrize(
    "client", [HERE, ["127.0.0.1", 1], ("::ffff:127.0.0.1", 1), ("fd00::1%eth0", 1)]
)
def test_a_listed_peer_is_known_by_its_address(client: Any) -> None:
    found = asked(ANNA, client=client)

    assert found is not None
    assert found.id == "anna"


@pytest.mark.parametrize(
    "headers",
    [
        [ANNA, ANNA],
        [ANNA, (b"X-Forwarded-User", b"jo")],
        [ANNA, (b"x_forwarded_user", b"jo")],
        [ANNA, (b"X_Forwarded-User", b"jo")],
        [(b"x_forwarded_user", b"anna")],
        [ANNA, (b"x-forwarded-groups", b"a"), (b"x-forwarded-groups", b"b")],
        [ANNA, (b"x_forwarded_groups", b"admins")],
        [ANNA, (b"x_region", b"eu")],
        [(b"x-forwarded-user", b"an\x00na")],
        [(b"x-forwarded-user", b"an\tna")],
        [(b"x-forwarded-user", b"an\x7fna")],
        [(b"x-forwarded-user", "anna\u202e".encode())],
        [(b"x-forwarded-user", "anna\u00a0".encode())],
        [(b"x-forwarded-user", b"\xff\xfe")],
        [(b"x-forwarded-user", b"a" * 201)],
        [ANNA, (b"x-forwarded-groups", b"a,b\x1b[0m")],
        [ANNA, (b"x-forwarded-groups", b"a," * 501)],
        [ANNA, (b"x-region", b"\x85")],
    ],
)
def test_what_no_front_can_mean_is_refused(headers: list[Header]) -> None:
    assert fault(*headers) == (400, "bad_identity_header")


@pytest.mark.parametrize(
    "headers", [[], [(b"x-forwarded-user", b"")], [(b"x-forwarded-groups", b"admins")]]
)
def test_without_a_user_nobody_is_named(headers: list[Header]) -> None:
    assert asked(*headers) is None


@pytest.mark.parametrize(
    ("peers", "options"),
    [
        ([], {}),
        (["0.0.0.0/0"], {}),
        (["::/0"], {}),
        (["127.0.0.1/8"], {}),
        (["front.example"], {}),
        ([""], {}),
        (["10.0.0.1"], {"user": ""}),
        (["10.0.0.1"], {"user": "x_user"}),
        (["10.0.0.1"], {"user": "authorization"}),
        (["10.0.0.1"], {"user": "api-key"}),
        (["10.0.0.1"], {"user": "x-forwarded-groups"}),
        (["10.0.0.1"], {"attributes": {"team": "x-team"}}),
        (["10.0.0.1"], {"attributes": {"a": "x", "b": "X"}}),
    ],
)
def test_a_front_that_could_be_anybody_is_none(
    peers: list[str], options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"."):
        Front(peers, **options)


def test_the_names_of_its_headers_are_known_to_be_withheld() -> None:
    assert FRONT.headers == {b"x-forwarded-user", b"x-forwarded-groups", b"x-region"}
    assert Front(["10.0.0.1"], user="Remote-User", team="").headers == {b"remote-user"}


NAMES = st.sampled_from(
    [b"x-forwarded-user", b"X-Forwarded-User", b"x_forwarded_user", b"x-region",
     b"x-forwarded-groups"]
)  # fmt: skip
PEERS = st.one_of(
    st.none(),
    st.tuples(st.text(), st.integers()),
    st.just(HERE),
    st.ip_addresses().map(lambda ip: (str(ip), 1)),
)


@given(st.lists(st.tuples(NAMES, st.binary()), max_size=4), PEERS)
def test_any_headers_of_anybody_are_a_name_or_a_refusal(
    headers: list[Header], client: Any
) -> None:
    try:
        found = asked(*headers, client=client)
    except MalformedRequest as error:
        status = error.status
    else:
        status = 400
        assert found is None or found.id.isprintable()
    assert status == 400


# -- beside keys, and with the middleware ----------------------------------------------


async def who(*headers: Header, **options: Any) -> Principal:
    ring = KeyRing(keys_of(KEY))
    given = {"keys": ring, "front": FRONT, "clock": lambda: NOW, **options}
    return await identify_by(**given)(request(headers=headers))


async def refusal(*headers: Header, **options: Any) -> str:
    with pytest.raises(MalformedRequest) as raised:
        await who(*headers, **options)
    return raised.value.code


async def test_a_key_decides_and_a_wrong_one_is_refused_whoever_vouches() -> None:
    key = (b"authorization", f"Bearer {TEXT}".encode())
    wrong = (b"authorization", f"Bearer {given_out()[0]}".encode())
    others = (b"authorization", b"Bearer sk-provider")

    assert (await who(ANNA)).id == "anna"
    assert (await who(ANNA, key)).id == "ci"
    assert (await who(ANNA, others)).id == "anna"
    assert await refusal(ANNA, wrong) == "invalid_api_key"
    assert await refusal(others) == "invalid_api_key"
    assert await refusal() == "no_credential"


async def test_a_front_alone_does_not_look_at_credentials() -> None:
    two = [(b"authorization", b"Bearer a"), (b"api-key", b"b")]

    assert (await who(ANNA, *two, keys=None)).id == "anna"
    assert await refusal(*two, keys=None) == "no_credential"
    assert await who(keys=None, required=False) == ANONYMOUS


@pytest.mark.parametrize(
    ("client", "status", "named"),
    [(HERE, 200, "anna"), (("10.0.0.1", 1), 401, "anonymous")],
)
async def test_records_tell_a_name_that_is_believed_from_one_that_is_not(
    client: Any, status: int, named: str
) -> None:
    audit, inner = Notebook(), Inner()
    app = governed(inner, audit, identify=identify_by(front=FRONT))

    scope = request(headers=[JSON, ANNA], client=client)
    call = await Call(app, scope, body=[ASKING]).whole()

    record = audit.decision
    assert call.status == status
    assert record.principal_id == named
    assert record.principal_proof == ("front 127.0.0.1" if status == 200 else None)
