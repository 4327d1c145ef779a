"""Which headers go on, as tables."""

from __future__ import annotations

import pytest

from imagegate.upstream import headers as module
from imagegate.upstream.client import UpstreamError
from imagegate.upstream.headers import to_client, to_upstream


def words(text: str) -> list[str]:
    return text.split()


DROPPED = words(
    """
    Connection Keep-Alive Proxy-Connection TE Trailer Transfer-Encoding Upgrade
    HTTP2-Settings Proxy-Authorization Proxy-Authenticate Proxy-Anything
    Host Content-Length Accept-Encoding Expect
    Authorization Api-Key Cookie
    Forwarded Via X-Forwarded X-Forwarded-For X-Forwarded-Host X-Forwarded-User
    X-Real-IP X-Client-IP True-Client-IP Client-IP X-MS-Client-Principal
    X-MS-Client-Principal-Id X-Imagegate-Team Max-Forwards
    X-MS-Token-AAD-Access-Token X-Auth-Request-Access-Token X-Auth-Request-Email
    X-Amzn-Oidc-AccessToken X-Amzn-Oidc-Data Cf-Access-Jwt-Assertion
    Cf-Access-Authenticated-User-Email X-Goog-IAP-JWT-Assertion
    X-Goog-Authenticated-User-Email X-Pomerium-Jwt-Assertion X-Authentik-Jwt
    X-Vouch-IdP-AccessToken Remote-User Remote-Groups
    X-HTTP-Method X-HTTP-Method-Override X-Method-Override
    X-Original-URL X-Original-URI X-Rewrite-URL
    Sec-WebSocket-Key X_Forwarded_For api_key content_type openai_beta
    """
)
KEPT = words(
    """
    Accept Content-Type Content-Encoding User-Agent OpenAI-Beta OpenAI-Organization
    Idempotency-Key X-Stainless-Lang X-Request-Id X-MS-Client-Request-Id
    X-MS-OAI-Image-Generation-Deployment Traceparent Last-Event-ID
    """
)


@pytest.mark.parametrize("name", DROPPED)
def test_a_header_that_is_not_the_clients_to_send_is_dropped(name: str) -> None:
    assert list(to_upstream([(name.encode(), b"x"), (b"a", b"b")])) == [(b"a", b"b")]


@pytest.mark.parametrize("name", KEPT)
def test_a_header_for_the_provider_goes_on(name: str) -> None:
    expected = [(name.lower().encode(), b" x, y ")]

    assert list(to_upstream([(name.encode(), b" x, y ")])) == expected


def test_what_connection_names_stays_behind() -> None:
    headers = [
        (b"Connection", b"close, X-One"),
        (b"connection", b" x-two "),
        (b"x-one", b"1"),
        (b"X-Two", b"2"),
        (b"x-three", b"3"),
    ]

    assert list(to_upstream(headers)) == [(b"x-three", b"3")]
    assert list(to_client(headers, status=200)) == [(b"x-three", b"3")]


def test_what_connection_names_is_not_remembered() -> None:
    """It is a value, and there is no end to what it can be."""
    memories = (module._upward, module._downward)
    for memory in memories:
        memory.cache_clear()

    for value in (b"close", b"sk-1", b"x-one, sk-2"):
        headers = [(b"connection", value), (b"x-one", b"1"), (b"x-two", b"2")]
        assert (b"x-two", b"2") in to_upstream(headers)
        assert (b"x-two", b"2") in to_client(headers, status=200)

    assert [memory.cache_info().currsize for memory in memories] == [1, 1]


def test_what_says_who_asks_stays_behind() -> None:
    headers = [(b"X-Our-User", b"anna"), (b"x_our_user", b"jo"), (b"a", b"b")]

    assert list(to_upstream(headers, frozenset([b"x-our-user"]))) == [(b"a", b"b")]


@pytest.mark.parametrize(
    "name",
    [b"content-type", b"content-encoding", b"x-ms-oai-image-generation-deployment"],
)
def test_connection_takes_nothing_away_that_was_judged(name: bytes) -> None:
    headers = [(b"connection", name), (name, b"x")]

    assert list(to_upstream(headers)) == [(name, b"x")]
    assert list(to_client(headers, status=200)) == [(name, b"x")]


NOT_RELAYED = words(
    """
    Connection Keep-Alive Transfer-Encoding Trailer Upgrade TE Proxy-Connection
    Proxy-Authenticate Set-Cookie Set-Cookie2 Alt-Svc
    Location Operation-Location Azure-AsyncOperation Refresh
    """
)


@pytest.mark.parametrize("name", NOT_RELAYED)
def test_a_header_that_is_not_for_the_client_is_dropped(name: str) -> None:
    headers = [(name.encode(), b"x"), (b"X-Request-Id", b"y")]

    assert list(to_client(headers, status=200)) == [(b"x-request-id", b"y")]


@pytest.mark.parametrize(("status", "kept"), [(200, 1), (204, 0), (304, 0)])
def test_a_length_goes_with_a_body(status: int, kept: int) -> None:
    headers = [(b"Content-Length", b"5")]

    assert len(list(to_client(headers, status=status))) == kept


@pytest.mark.parametrize("status", [200, 299, 404, 599])
def test_a_sound_head_passes(status: int) -> None:
    to_client([(b"a", "\té".encode()), (b"Content-Length", b"5")], status=status)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (101, []),
        (199, []),
        (600, []),
        (200, [(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")]),
        (200, [(b"a", b"\x7f")]),
        (200, [(b"a", b"b\rc")]),
    ],
)
def test_a_head_in_doubt_does_not(
    status: int, headers: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(UpstreamError, match="answer_malformed"):
        to_client(headers, status=status)
