"""Who is asking: keys of our own, tokens of an OIDC provider, headers of a front.

Each way ends in a `Principal` or in a refusal, and never lets a wrong credential pass
for none. It knows the head of a request and no more: neither policies nor a client of
HTTP. What it finds is what `PolicyMiddleware` wants as `identify`:

    identify=identify_by(keys=KeyFile(Path("keys.jsonl")))
"""

from __future__ import annotations

from imagegate.identity.apikey import Key, Keys, KeysError
from imagegate.identity.front import Front
from imagegate.identity.issuer import Issuer
from imagegate.identity.keyring import KeyFile, KeyRing
from imagegate.identity.resolver import identify_by

__all__ = [
    "Front",
    "Issuer",
    "Key",
    "KeyFile",
    "KeyRing",
    "Keys",
    "KeysError",
    "identify_by",
]
