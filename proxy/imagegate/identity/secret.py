"""The text of a key: `igk_`, an id that may be shown, and a secret that may not.

A secret is 256 random bits, which nobody guesses however fast they hash. So one pass
of HMAC-SHA256 is enough; a slow hash protects passwords, and would cost each request
what it costs a thief. What is hashed is the text itself, not something that is decoded
from it: a key has one spelling.
"""

from __future__ import annotations

import hmac
import re
import secrets
import string
from typing import Final

import msgspec

PREFIX: Final = "igk_"
_IDS: Final = string.ascii_lowercase + string.digits
_SECRETS: Final = string.ascii_letters + string.digits
_KEY: Final = re.compile(r"igk_([a-z0-9]{12})_([A-Za-z0-9]{43})")
HASH_KEY_BYTES: Final = 32


class Secret(msgspec.Struct, frozen=True):
    """A key as its owner has it.

    Attributes:
        id: By which it is looked up; it stands in records.
        text: All of it.
    """

    id: str
    text: str

    def __repr__(self) -> str:
        """Name the key, and keep its secret."""
        return f"Secret(id={self.id!r})"

    @property
    def last4(self) -> str:
        """The part by which its owner recognises it."""
        return self.text[-4:]

    def hash(self, hash_key: bytes) -> bytes:
        """Return what is kept of it."""
        return hmac.digest(hash_key, self.text.encode("ascii"), "sha256")


def mint() -> Secret:
    """Make a key that nobody has had: its secret has 256 bits."""
    ident = "".join(secrets.choice(_IDS) for _ in range(12))
    secret = "".join(secrets.choice(_SECRETS) for _ in range(43))
    return Secret(ident, f"{PREFIX}{ident}_{secret}")


def mint_hash_key() -> bytes:
    """Make what the keys of a file are hashed with."""
    return secrets.token_bytes(HASH_KEY_BYTES)


def read_secret(text: str) -> Secret | None:
    """Read what a client sent; None when no key is spelled like this."""
    found = _KEY.fullmatch(text)
    return Secret(found[1], text) if found else None
