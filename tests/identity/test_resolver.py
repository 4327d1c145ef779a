from __future__ import annotations

import datetime
from typing import Any

import pytest
from driving import ASKING, JSON, Call, Inner, Notebook, governed, request
from hypothesis import given
from hypothesis import strategies as st
from keyed import NOW, given_out, keys_of

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.policy import ANONYMOUS, Principal
from imagegate.identity import KeyRing, identify_by

pytestmark = pytest.mark.anyio

HOUR = datetime.timedelta(hours=1)
TEXT, KEY = given_out("ci", team=("design",), expires=NOW + HOUR)
OLD, EXPIRED = given_out("old", expires=NOW)
BAD, REVOKED = given_out("bad", revoked=NOW)
RING = KeyRing(keys_of(KEY, EXPIRED, REVOKED))
Header = tuple[bytes, bytes]


async def who(*headers: Header, **options: Any) -> Principal:
    identify = identify_by(**{"keys": RING, "clock": lambda: NOW, **options})
    return await identify(request(headers=headers))


async def refusal(*headers: Header, **options: Any) -> tuple[int, str]:
    with pytest.raises(MalformedRequest) as raised:
        await who(*headers, **options)
    return raised.value.status, raised.value.code


def bearer(text: str, scheme: str = "Bearer ") -> Header:
    return b"authorization", f"{scheme}{text}".encode()


def api_key(text: str) -> Header:
    return b"api-key", text.encode()


def own(text: str) -> Header:
    return b"x-imagegate-key", text.encode()


@pytest.mark.parametrize(
    "headers",
    [
        [bearer(TEXT)],
        [bearer(TEXT, "bearer ")],
        [bearer(TEXT, "BEARER  ")],
        [(b"Authorization", f" Bearer {TEXT} ".encode())],
        [api_key(TEXT)],
        [api_key(TEXT), bearer(TEXT)],
    ],
)
async def test_a_key_is_taken_where_the_sdks_put_it(headers: list[Header]) -> None:
    assert await who(*headers) == KEY.principal


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "no_credential"),
        ([own(TEXT)], "no_credential"),
        ([bearer("sk-provider")], "invalid_api_key"),
        ([bearer("")], "invalid_api_key"),
        ([bearer(TEXT, "Basic ")], "invalid_api_key"),
        ([bearer(TEXT, "")], "invalid_api_key"),
        ([bearer(f"{TEXT},{TEXT}")], "invalid_api_key"),
        ([bearer(f"{TEXT} {TEXT}")], "invalid_api_key"),
        ([bearer(TEXT[:-1])], "invalid_api_key"),
        ([api_key(f"Bearer {TEXT}")], "invalid_api_key"),
        ([(b"api_key", TEXT.encode()[:-1])], "invalid_api_key"),
        ([bearer(given_out()[0])], "invalid_api_key"),
        ([bearer(OLD)], "expired_api_key"),
        ([bearer(BAD)], "revoked_api_key"),
    ],
)
async def test_anything_else_is_refused_as_the_sdks_expect(
    headers: list[Header], code: str
) -> None:
    assert await refusal(*headers) == (401, code)


async def test_two_different_credentials_are_two_stories() -> None:
    assert await refusal(bearer(TEXT), api_key(OLD)) == (400, "ambiguous_identity")


async def test_a_header_of_its_own_leaves_the_others_to_the_provider() -> None:
    provider = bearer("sk-provider")

    assert await who(own(TEXT), provider, header="x-imagegate-key") == KEY.principal
    missing = await refusal(bearer(TEXT), header="x-imagegate-key")
    assert missing == (401, "no_credential")
    wrong = await refusal(own("nothing"), provider, header="x-imagegate-key")
    assert wrong == (401, "invalid_api_key")


async def test_who_need_not_say_who_they_are_is_anonymous_but_never_wrong() -> None:
    assert await who(required=False) == ANONYMOUS
    assert await who(bearer("sk-provider"), required=False) == ANONYMOUS
    assert await who(bearer(TEXT), required=False) == KEY.principal
    wrong = await refusal(bearer(given_out()[0]), required=False)
    assert wrong == (401, "invalid_api_key")
    assert await refusal(bearer(BAD), required=False) == (401, "revoked_api_key")


async def test_a_key_holds_until_it_is_revoked() -> None:
    ring = KeyRing(keys_of(KEY))
    identify = identify_by(keys=ring, clock=lambda: NOW)
    scope = request(headers=[bearer(TEXT)])
    assert (await identify(scope)).id == "ci"

    ring.swap(keys_of())

    with pytest.raises(MalformedRequest):
        await identify(scope)


def test_who_identifies_nobody_is_told_so() -> None:
    with pytest.raises(ValueError, match="keys"):
        identify_by()


async def test_the_clock_is_the_worlds() -> None:
    text, key = given_out(expires=datetime.datetime.now(tz=datetime.UTC) + HOUR)
    identify = identify_by(keys=KeyRing(keys_of(key)))

    assert (await identify(request(headers=[bearer(text)]))).id == "ci"


NAMES = st.sampled_from(
    [b"authorization", b"Authorization", b"api-key", b"api_key", b"x-imagegate-key"]
)
VALUES = st.one_of(
    st.binary(),
    st.binary().map(lambda data: b"Bearer igk_" + data),
    st.binary().map(lambda data: b"Bearer " + data),
    st.text().map(lambda text: f"Bearer {TEXT}{text}".encode()),
    st.sampled_from([TEXT, OLD, BAD]).map(lambda text: f"Bearer {text}".encode()),
    st.sampled_from([TEXT, OLD, BAD]).map(str.encode),
)


@given(
    headers=st.lists(st.tuples(NAMES, VALUES), max_size=4),
    header=st.sampled_from(["authorization", "x-imagegate-key"]),
    required=st.booleans(),
)
@pytest.mark.anyio
async def test_any_headers_are_a_principal_or_a_refusal(
    headers: list[Header], header: str, *, required: bool
) -> None:
    found: Principal | MalformedRequest
    try:
        found = await who(*headers, header=header, required=required)
    except MalformedRequest as error:
        found = error

    # Of a key there is one spelling: whoever got in has shown just that.
    shown = {value.strip(b" \t").split(b" ")[-1] for _, value in headers}
    if isinstance(found, MalformedRequest):
        assert found.status in {400, 401}
        assert TEXT not in found.message
    elif found.verified:
        assert found == KEY.principal
        assert TEXT.encode() in shown
    else:
        assert found == ANONYMOUS
        assert not required


# -- with the middleware --------------------------------------------------------------


async def asked(inner: Inner, audit: Notebook, *headers: Header) -> Call:
    identify = identify_by(keys=RING, clock=lambda: NOW)
    app = governed(inner, audit, identify=identify)
    scope = request(headers=[JSON, *headers])
    return await Call(app, scope, body=[ASKING]).whole()


async def test_records_name_who_asked_and_by_what() -> None:
    audit = Notebook()

    call = await asked(Inner(), audit, bearer(TEXT))

    record = audit.decision
    assert call.status == 200
    assert (record.principal_id, record.principal_source) == ("ci", "key")
    assert record.principal_verified
    assert record.principal_team == ("design",)
    assert record.principal_proof == f"key {KEY.id}"


@pytest.mark.parametrize(
    ("headers", "code", "named", "proof"),
    [
        ([], "no_credential", "anonymous", None),
        ([bearer(given_out()[0])], "invalid_api_key", "anonymous", None),
        ([bearer(BAD)], "revoked_api_key", "bad", f"key {REVOKED.id}"),
    ],
)
async def test_a_refusal_is_recorded_and_reaches_nobody(
    headers: list[Header], code: str, named: str, proof: str | None
) -> None:
    audit, inner = Notebook(), Inner()

    call = await asked(inner, audit, *headers)

    assert inner.scopes == []
    assert (call.status, call.code) == (401, code)
    assert call.headers["x-should-retry"] == "false"
    assert call.headers["www-authenticate"] == 'Bearer realm="imagegate"'
    record = audit.decision
    assert record.event == "imagegate.request_malformed"
    assert record.violations[0].code == code
    # Whose key it was is on record, and still it is nobody known: such are counted.
    assert (record.principal_id, record.principal_source) == (named, "none")
    assert record.principal_proof == proof
    assert not record.principal_verified
    assert audit.completion.outcome == "refused"


async def test_an_unlisted_route_is_not_told_from_a_listed_one() -> None:
    app = governed(Inner(), Notebook(), identify=identify_by(keys=RING))

    call = await Call(app, request(path="/v1/nowhere")).whole()

    assert call.status == 401
