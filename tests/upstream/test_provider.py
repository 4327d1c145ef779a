"""Where a provider is, as an operator writes it."""

from __future__ import annotations

import pytest

from imagegate.upstream.client import Origin
from imagegate.upstream.provider import Upstream

BASES = {
    "https://api.openai.com": ("https", "api.openai.com", 443, b"", b"api.openai.com"),
    "https://api.openai.com/": ("https", "api.openai.com", 443, b"", b"api.openai.com"),
    "HTTPS://Res.example:8443/x/y/": (
        *("https", "res.example", 8443),
        *(b"/x/y", b"res.example:8443"),
    ),
    "http://127.0.0.1:80": ("http", "127.0.0.1", 80, b"", b"127.0.0.1"),
    "https://127.0.0.1:80": ("https", "127.0.0.1", 80, b"", b"127.0.0.1:80"),
    "http://[::1]:8080/p": ("http", "::1", 8080, b"/p", b"[::1]:8080"),
    "http://[::1]": ("http", "::1", 80, b"", b"[::1]"),
}


@pytest.mark.parametrize("base", BASES)
def test_a_base_says_whom_to_connect_to(base: str) -> None:
    scheme, host, port, path, authority = BASES[base]
    upstream = Upstream(name="x", base=base)

    assert upstream.origin == Origin(scheme, host, port)
    assert upstream.path == path
    assert upstream.origin.authority == authority


@pytest.mark.parametrize(
    "base",
    [
        "",
        "api.openai.com",
        "ftp://api.openai.com",
        "https://",
        "https:///v1",
        "https://user:key@api.openai.com",
        "https://@api.openai.com",
        "https://api.openai.com?a=b",
        "https://api.openai.com/?",
        "https://api.openai.com/#",
        "https://api.openai.com/a/../b",
        "https://api.openai.com/%2e%2e/b",
        "https://api.openai.com/a b",
        "https://api.openai.com:port",
        "https://api.openai.com:99999",
        "https://ápi.openai.com",
    ],
)
def test_a_base_that_is_none_is_found_at_once(base: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several makers
        Upstream(name="x", base=base)
