"""Keyed hashes by which equal prompts and equal users can be found, and no more.

HMAC-SHA256 in hex, with the operator's key. Of the prompt: the JSON of the member
that holds it, as the gateway writes it where nothing changes, which is as it came
but for white space. Of the user: the text itself, in UTF-8.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Generator
from typing import Final

import msgspec

from imagegate.engine.body import Body
from imagegate.engine.surface import Reading
from imagegate.engine.value import Piece

_PROMPTS: Final[dict[Reading, str]] = {
    "responses": "input",
    "items": "items",
    "images": "prompt",
}
_USERS: Final = ("safety_identifier", "user")  # the second is the deprecated name
_STRIDE: Final = 1 << 20  # a millisecond or two


class Fingerprints(msgspec.Struct, frozen=True, kw_only=True):
    """Hashes of one request; None where it says nothing to hash."""

    prompt: str | None = None
    user: str | None = None


def fingerprint(
    body: Body, reading: Reading, key: bytes
) -> Generator[None, None, Fingerprints]:
    """Hash what a request says, giving way between pieces of work.

    Args:
        body: The request.
        reading: How the door reads it.
        key: The operator's.

    Returns:
        The hashes; each yield is a moment to let others run.
    """
    user = _user(body)
    prompt = body.get(_PROMPTS[reading]) if reading in _PROMPTS else None
    if prompt is None or prompt.is_null:
        return Fingerprints(user=_of_text(user, key))
    pieces: list[Piece] = []
    prompt.write(pieces)
    if sum(map(len, pieces)) <= _STRIDE:
        mac_of_all = _mac(b"".join(pieces), key)
        return Fingerprints(prompt=mac_of_all, user=_of_text(user, key))
    mac, done = hmac.new(key, digestmod=hashlib.sha256), 0
    for piece in pieces:
        for start in range(0, len(piece), _STRIDE):
            part = memoryview(piece)[start : start + _STRIDE]
            mac.update(part)
            done += len(part)
            if done >= _STRIDE:
                done = 0
                yield
    return Fingerprints(prompt=mac.hexdigest(), user=_of_text(user, key))


def _user(body: Body) -> str | None:
    for name in _USERS:
        value = body.get(name)
        text = None if value is None else value.text()
        if text:
            return text
    return None


def _of_text(text: str | None, key: bytes) -> str | None:
    return None if text is None else _mac(text.encode("utf-8", "surrogatepass"), key)


def _mac(data: bytes, key: bytes) -> str:
    """Hash at once, which is faster where the data is short."""
    return hmac.digest(key, data, "sha256").hex()
