"""Reading where providers are: addresses, prefixes, and the short spelling of both."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import get_args
from urllib.parse import urlsplit

from imagegate.engine.surface import FAMILIES
from imagegate.upstream.provider import Projects

_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?")
_PREFIX = re.compile(r"(?:/[a-z0-9_~-][a-z0-9._~-]*)+")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_FIRST = {family.base.split("/")[1] for family in FAMILIES.values()}
"""What the paths of requests begin with: `v1`, `openai`, `api`."""


def read_url(text: str) -> str:
    """Read the address of a provider.

    A path in it would stand before the path of each request, which was judged without
    it: `/v1/responses` would be judged as OpenAI's and sent as Azure's.

    Raises:
        ValueError: Without the text in it: somebody may have written a password.
    """
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = -1
    good = (
        parts.scheme in ("http", "https")
        and parts.hostname
        and not (parts.username or parts.password or parts.query or parts.fragment)
        and port != -1
        and text.isascii()
        and text.isprintable()
        and _PATH.fullmatch(parts.path)
    )
    if not good:
        raise ValueError(
            "expected scheme and host, such as https://api.openai.com, without user, "
            "query or fragment"
        )
    segments = parts.path.strip("/").split("/")
    if _FIRST.intersection(segments) or {".", ".."}.intersection(segments):
        raise ValueError(
            "the paths of requests bring `/v1`, `/openai` and `/api/projects` along; "
            f"say {parts.scheme}://{parts.netloc}"
        )
    return text.rstrip("/")


def read_prefix(text: str) -> str:
    """Read what the paths of requests to a provider begin with; `` for the rest.

    Raises:
        ValueError: With what would be right.
    """
    prefix = text.rstrip("/")
    if prefix and not _PREFIX.fullmatch(prefix):
        raise ValueError("expected a path in small letters, such as /azure")
    if prefix.strip("/").split("/")[0] in {*_FIRST, "livez", "readyz"}:
        raise ValueError("this is the beginning of paths that the gateway knows itself")
    return prefix


def read_project(text: str) -> str:
    """Read whose project and organisation are asked for.

    Raises:
        ValueError: With what would be right.
    """
    if text not in get_args(Projects):
        raise ValueError("expected `own` or `client`")
    return text


def read_short(words: Iterable[str]) -> dict[str, dict[str, str]]:
    """Take `URL` and `/prefix=URL` apart; the upstreams are named by their prefixes.

    Raises:
        ValueError: When two have the same prefix.
    """
    found: dict[str, dict[str, str]] = {}
    for word in words:
        prefix, is_given, url = word.partition("=") if word[:1] == "/" else ("", "", "")
        name = _NOT_IN_NAMES.sub("-", prefix.strip("/")) if is_given else "default"
        if name in found:
            raise ValueError(
                "several providers need a prefix each: /azure=https://my.openai.azure.com"
            )
        given = {"url": url, "prefix": prefix} if is_given else {"url": word}
        found[name] = given
    return found
