"""The credential in the head of a request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

from imagegate.identity.refusals import two_credentials

CredentialHeader = Literal["authorization", "x-imagegate-key"]
"""Where clients put the credential that is meant for this gateway: where the SDKs put
theirs, or beside a provider's own that goes on."""

_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([!-~]+)")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_PLAIN: Final = re.compile(r"[!-~]+")


def presented(
    headers: Iterable[tuple[bytes, bytes]], header: CredentialHeader
) -> str | None:
    """Return what a client shows; an empty text for what is no credential at all.

    Raises:
        MalformedRequest: When it shows two.
    """
    found = {_text(key.lower(), value) for key, value in headers if _is(key, header)}
    if len(found) > 1:
        raise two_credentials()
    return found.pop() if found else None


def _is(key: bytes, header: CredentialHeader) -> bool:
    """Tell whether a header is looked at; azure's SDKs have one of their own."""
    name = key.lower().replace(b"_", b"-")
    usual = header == "authorization" and name == b"api-key"
    return name == header.encode() or usual


def _text(name: bytes, value: bytes) -> str:
    said = value.decode("latin-1").strip(" \t")
    if name == b"authorization":
        found = _BEARER.fullmatch(said)
        return found[1] if found else ""
    return said if _PLAIN.fullmatch(said) else ""


def looks_like_token(text: str) -> bool:
    """Tell whether a credential is meant to be a signed token, or an unsigned one."""
    return _TOKEN.fullmatch(text) is not None
