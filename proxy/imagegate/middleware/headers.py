"""Headers: what they say, and which of a request's the inner application gets.

An application sends the same names all day long, in the same order. So what follows
from the names alone is found out once and remembered; values are not, for credentials
are among them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.interface import choosing
from imagegate.engine.surface import IMAGE_DEPLOYMENT_HEADER
from imagegate.middleware.setup import Limits

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
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
_IN_PARTS = frozenset((b"accept-encoding", b"if-range", b"range"))
"""Ask for an answer of which nobody could read what is told."""
_DESCRIBED = OVERRIDES | _FRAMING | _IN_PARTS
_WRITTEN = _DESCRIBED | {b"content-type"}
"""What describes a body that is given on, and one that we wrote."""
_LENGTH = re.compile(r"[0-9]{1,18}")


MAX_REMEMBERED: Final = 256
"""How many heads are remembered by their names."""
MAX_LENGTH: Final = 2_048
"""Bytes of the names; a longer head is no ordinary one, and found out about anew."""


class Names:
    """What follows from the names of headers alone.

    Args:
        names: As they came, in their order.

    Attributes:
        length: Of all names together.
        places: Where the headers of each name are, in lower case.
        twice: The name of one of `SINGLE` that comes twice, or as a twin, if any.
        choosing: The names of those that choose something.
    """

    def __init__(self, names: Sequence[bytes]) -> None:
        self._lower = [name.lower() for name in names]
        self._kept: dict[frozenset[bytes], tuple[int, ...]] = {}
        self.length = sum(map(len, names))
        self.places: dict[str, list[int]] = {}
        for at, each in enumerate(names):
            self.places.setdefault(each.decode("latin-1").lower(), []).append(at)
        self.twice = _twice(self._lower)
        named = [(name, "") for name in self.places]
        self.choosing = tuple([name for name, _ in choosing(named)])

    def kept(self, unwanted: frozenset[bytes]) -> tuple[int, ...]:
        """Say where those are that are neither unwanted, nor of `OVERRIDES`, nor twins.

        Args:
            unwanted: In lower case; sets of names that are written here, of which
                there are few.
        """
        found = self._kept.get(unwanted)
        if found is None:
            found = self._kept[unwanted] = tuple(
                at
                for at, name in enumerate(self._lower)
                if name not in unwanted and name.replace(b"_", b"-") not in OVERRIDES
            )
        return found


def _twice(names: Iterable[bytes]) -> str | None:
    seen: set[bytes] = set()
    for name in names:
        plain = name.replace(b"_", b"-")
        if plain in SINGLE and (plain in seen or plain != name):
            return plain.decode()
        seen.add(plain)
    return None


_remembered = lru_cache(MAX_REMEMBERED)(Names)


def _names_of(headers: Headers) -> Names:
    names = tuple([name for name, _ in headers])
    short = sum(map(len, names)) <= MAX_LENGTH
    return _remembered(names) if short else Names(names)


class Head:
    """Headers, by their names in lower case; the values as they were sent.

    Args:
        headers: As they came.
    """

    __slots__ = ("_headers", "_names")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._headers = [*headers]  # the scope's own list is anybody's to change
        self._names = _names_of(self._headers)

    def __contains__(self, name: str) -> bool:
        """Whether there is a header of this name."""
        return name in self._names.places

    def get(self, name: str) -> list[str]:
        """Return the values of a header."""
        places = self._names.places.get(name)
        if places is None:
            return []
        # Only this is white space in HTTP; `str.strip` takes U+0085 and U+00A0 too.
        return [self._headers[at][1].decode("latin-1").strip(" \t") for at in places]

    def first(self, name: str) -> str | None:
        """Return the first value of a header, if it is there."""
        places = self._names.places.get(name)
        if places is None:
            return None
        return self._headers[places[0]][1].decode("latin-1").strip(" \t")

    def request_id(self) -> str | None:
        """Return the provider's id of a request; what Azure's front refuses has its."""
        return self.first("x-request-id") or self.first("apim-request-id")

    def tokens(self, name: CaseInsensitive) -> list[str]:
        """Return the values of a header whose case means nothing, in lower case."""
        return [value.lower() for value in self.get(name)] if name in self else []

    def choosing(self) -> tuple[tuple[str, str], ...]:
        """Return those that choose something, as the engine wants them."""
        names = self._names.choosing
        if not names:
            return ()
        return tuple([(name, value) for name in names for value in self.get(name)])

    def without(
        self, unwanted: frozenset[bytes] = frozenset()
    ) -> list[tuple[bytes, bytes]]:
        """Return the headers, less some.

        What names another method or path is never among them, nor a twin of such.
        """
        headers = self._headers
        return [headers[at] for at in self._names.kept(unwanted)]

    def check(self, limits: Limits) -> None:
        """Refuse headers that servers read differently, or that are too much.

        Raises:
            MalformedRequest: For a second one of those that matter, the twin of one
                with an underscore, or two stories about where the body ends.
        """
        names, headers = self._names, self._headers
        if names.twice is not None:
            said = f"the header {names.twice} comes twice, or as a twin"
            raise MalformedRequest("duplicate_header", said)
        size = names.length + sum([len(value) for _, value in headers])
        if len(headers) > limits.headers or size > limits.head:
            said = f"over {limits.headers} headers, or over {limits.head} bytes of them"
            raise MalformedRequest("head_too_large", said, status=431)
        if "transfer-encoding" in names.places:
            _check_transfer(self)


def _check_transfer(head: Head) -> None:
    if "content-length" in head or head.tokens("transfer-encoding") != ["chunked"]:
        raise MalformedRequest(
            "ambiguous_framing",
            "a body has a Content-Length, or is chunked and nothing else",
        )


def declared_length(head: Head) -> int | None:
    """Return what `Content-Length` says; None when there is none.

    Raises:
        MalformedRequest: When it is no plain number.
    """
    said = head.first("content-length")
    if said is None:
        return None
    if not _LENGTH.fullmatch(said):
        raise MalformedRequest("bad_content_length", "Content-Length is no number")
    return int(said)


def describing(
    head: Head,
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
        ours |= frozenset(name.encode() for name in extra)
    headers = head.without(ours)
    if kind is not None:
        headers.append((b"content-type", kind.encode()))
    if size is not None:
        headers.append((b"content-length", b"%d" % size))
    headers.append((b"accept-encoding", b"identity"))
    for name, value in extra.items():
        if value is not None:
            headers.append((name.encode(), value.encode()))
    return headers
