"""A provider of identities: whether its keys can be had, and for which tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final

from imagegate.doctor.finding import Finding
from imagegate.identity.issuer import Fetch
from imagegate.identity.options import TokenOptions, issuer_of
from imagegate.identity.published import PublishedError

AREA: Final = "issuer"
_BETTER: Final[Mapping[str, str]] = {
    "document_refused": "look at `identity.jwt.issuer`, the `iss` of its tokens, or "
    "name `identity.jwt.jwks_url`",
    "untrusted_certificate": "name the organisation's own authority: "
    "`pool.authorities`",
}


async def examine_issuer(options: TokenOptions, fetch: Fetch) -> AsyncIterator[Finding]:
    """Fetch its keys, as the gateway does with the first token.

    Args:
        options: What is said of it, and was found to be well.
        fetch: Fetches documents.
    """
    issuer = issuer_of(options, fetch)
    if issuer is None:
        return
    try:
        algorithms = await issuer.look()
    except Exception as error:  # noqa: BLE001 - whatever a source raises
        told = str(error) if isinstance(error, PublishedError) else _code(error)
        found = f"the keys of {issuer.issuer} are not to be had: {told}"
        better = _BETTER.get(told, "look at `identity.jwt`, and at the way there")
        yield Finding(weight="broken", area=AREA, found=found, better=better)
        return
    found = f"{issuer.issuer} has keys for tokens by {', '.join(algorithms)}"
    yield Finding(weight="fine", area=AREA, found=found)


def _code(error: Exception) -> str:
    return str(getattr(error, "code", "") or type(error).__name__)
