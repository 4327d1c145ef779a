"""Headers: what they say, and which of a request's the inner application gets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.surface import IMAGE_DEPLOYMENT_HEADER
from imagegate.middleware.setup import Limits

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
Head: TypeAlias = Mapping[str, list[str]]
"""Headers by their names in lower case; the values as they were sent."""
CaseInsensitive: TypeAlias = Literal[
    "content-encoding", "content-type", "transfer-encoding", "upgrade"
]
"""The headers of which the case means nothing. A deployment's name is not one."""

SINGLE = frozenset(
    (
        b"host",
        b"content-type",
        b"content-length",
        b"content-encoding",
        b"transfer-encoding",
        b"authorization",
        b"api-key",
        b"x-imagegate-key",
        b"openai-organization",
        b"openai-project",
        IMAGE_DEPLOYMENT_HEADER.encode(),
    )
)
"""Of these, two are two stories: servers differ in which one they believe."""

OVERRIDES = frozenset(
    (
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-uri",
        b"x-original-url",
        b"x-rewrite-url",
    )
)
"""Name another method or path than the one that is judged. Honest proxies add some
of them, so they are dropped, not refused."""

_FRAMING = frozenset((b"content-length", b"content-encoding", b"transfer-encoding"))
_DESCRIBED = OVERRIDES | _FRAMING | {b"accept-encoding"}
_WRITTEN = _DESCRIBED | {b"content-type"}
"""What describes a body that is given on, and one that we wrote."""
_LENGTH = re.compile(r"[0-9]{1,18}")


def head_of(headers: Headers) -> Head:
    """Sort headers by their names."""
    head: dict[str, list[str]] = {}
    for key, value in headers:
        name = key.decode("latin-1").lower()
        # Only this is white space in HTTP; `str.strip` takes U+0085 and U+00A0 too.
        text = value.decode("latin-1").strip(" \t")
        if name in head:
            head[name].append(text)
        else:
            head[name] = [text]
    return head


def tokens(head: Head, name: CaseInsensitive) -> list[str]:
    """Return the values of a header whose case means nothing, in lower case."""
    return [value.lower() for value in head.get(name, ())]


def pairs(head: Head) -> tuple[tuple[str, str], ...]:
    """Return headers as the engine wants them, duplicates kept."""
    return tuple((name, value) for name, values in head.items() for value in values)


def check_headers(headers: Headers, limits: Limits) -> None:
    """Refuse headers that servers read differently, or that are too much.

    Raises:
        MalformedRequest: For a second one of those that matter, the twin of one
            with an underscore, or two stories about where the body ends.
    """
    seen: set[bytes] = set()
    count = size = 0
    for key, value in headers:
        count, size = count + 1, size + len(key) + len(value)
        name = key.lower()
        plain = name.replace(b"_", b"-") if b"_" in name else name
        if plain in SINGLE and (plain in seen or plain != name):
            said = plain.decode()
            raise MalformedRequest(
                "duplicate_header", f"the header {said} comes twice, or as a twin"
            )
        seen.add(plain)
    if count > limits.headers or size > limits.head:
        said = f"over {limits.headers} headers, or over {limits.head} bytes of them"
        raise MalformedRequest("head_too_large", said, status=431)
    if b"transfer-encoding" in seen:
        _check_transfer(head_of(headers))


def _check_transfer(head: Head) -> None:
    if "content-length" in head or tokens(head, "transfer-encoding") != ["chunked"]:
        raise MalformedRequest(
            "ambiguous_framing",
            "a body has a Content-Length, or is chunked and nothing else",
        )


def declared_length(head: Head) -> int | None:
    """Return what `Content-Length` says; None when there is none.

    Raises:
        MalformedRequest: When it is no plain number.
    """
    said = head.get("content-length")
    if not said:
        return None
    if not _LENGTH.fullmatch(said[0]):
        raise MalformedRequest("bad_content_length", "Content-Length is no number")
    return int(said[0])


def without_overrides(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Drop what names another method or path, and twins that would do so too."""
    return _without(headers, OVERRIDES)


def _without(
    headers: Headers, names: frozenset[bytes] | set[bytes]
) -> list[tuple[bytes, bytes]]:
    """Drop headers of these names, of which those of `OVERRIDES` are some."""
    return [
        item
        for item in headers
        if (name := item[0].lower()) not in names
        and (b"_" not in name or name.replace(b"_", b"-") not in OVERRIDES)
    ]


def describing(
    headers: Headers,
    size: int | None,
    extra: Mapping[str, str | None],
    *,
    kind: str | None = None,
) -> list[tuple[bytes, bytes]]:
    """Describe the body that is sent, if any, and do what the decision says.

    A body that was judged was written by us: its type is spelled in one way only.

    An encoded answer could be relayed but has to be decoded to be observed, so
    none is asked for. It is said by name: a client such as httpx, left without the
    header, adds one of its own.
    """
    ours = _DESCRIBED if kind is None else _WRITTEN
    if extra:
        ours |= {name.encode() for name in extra}
    body = [] if size is None else [(b"content-length", b"%d" % size)]
    if kind is not None:
        body.insert(0, (b"content-type", kind.encode()))
    kept = _without(headers, ours)
    set_by_us = [
        (name.encode(), value.encode())
        for name, value in extra.items()
        if value is not None
    ]
    return [*kept, *body, (b"accept-encoding", b"identity"), *set_by_us]
