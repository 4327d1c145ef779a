"""Readers of multipart forms that disagree about all that can be disagreed about."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from email.parser import BytesParser
from io import BytesIO
from typing import Any

from django.conf import settings  # type: ignore[import-untyped] # has no types
from django.core.files import uploadhandler  # type: ignore[import-untyped] # the same
from django.http import multipartparser  # type: ignore[import-untyped] # the same

Fields = list[tuple[str, str | None]]
"""What a form has, by name; None for a file."""
_LINE = re.compile(rb"\r\n|\n|\r")
_NAME = re.compile(
    r"""\bname\*?=(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^;\s]*))""", re.IGNORECASE
)
_STEPS = re.compile(r"\[([^\]]*)\]")
_INTEGER = re.compile(r"-?[0-9]+")


def _by_email(data: bytes, kind: str) -> Fields:
    """Read as the standard library reads mail: lines end as they like."""
    head = f"Content-Type: {kind}\r\n\r\n".encode("latin-1")
    message = BytesParser().parsebytes(head + data)
    if not message.is_multipart():
        raise ValueError("no form")
    found: Fields = []
    for part in message.get_payload():
        name = str(part.get_param("name", "", "content-disposition"))  # type: ignore[union-attr] # parts are messages
        payload: Any = part.get_payload(decode=True) or b""  # type: ignore[union-attr] # the same
        file = part.get_filename() is not None  # type: ignore[union-attr] # the same
        found.append((name, None if file else payload.decode("utf-8", "replace")))
    return found


def _by_django(data: bytes, kind: str) -> Fields:
    """Read as a server that is used everywhere."""
    if not settings.configured:
        settings.configure()
    meta = {"CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(data))}
    files = [uploadhandler.MemoryFileUploadHandler()]
    try:
        parser = multipartparser.MultiPartParser(meta, BytesIO(data), files, "utf-8")
        post, files = parser.parse()
    except multipartparser.MultiPartParserError as error:
        raise ValueError(error) from None
    found: Fields = [
        (str(name), str(value)) for name, values in post.lists() for value in values
    ]
    return found + [(str(name), None) for name in files]


def _by_splitting(data: bytes, kind: str) -> Fields:
    """Read as ten lines of somebody's own would: cut, and take what looks right."""
    boundary = re.sub(
        r'.*boundary="?([^";]*).*', r"\1", kind, flags=re.IGNORECASE | re.DOTALL
    )
    found: Fields = []
    for part in data.split(b"--" + boundary.encode("latin-1"))[1:]:
        lines = _LINE.split(part.lstrip(b"\r\n"))
        end = lines.index(b"") if b"" in lines else len(lines)
        head = b" ".join(lines[:end]).decode("utf-8", "replace")
        named = _NAME.search(head)
        if named is None:
            continue
        name = next(filter(None, named.groups()), "")
        body = b"\n".join(lines[end + 1 : -1]).decode("utf-8", "replace")
        file = "filename" in head.lower()
        found.append((re.sub(r"\\(.)", r"\1", name), None if file else body))
    return found


READERS: Mapping[str, Callable[[bytes, str], Fields]] = {
    "email": _by_email,
    "django": _by_django,
    "splitting": _by_splitting,
}


def form_readings(
    data: bytes, kind: str, plain: Callable[[str], str]
) -> Iterator[tuple[str, dict[str, Any] | ValueError]]:
    """Yield what a form means to each reader.

    Args:
        data: The form.
        kind: Its `Content-Type`.
        plain: Makes of a name the one that a lenient server may take it for.
    """
    for name, reader in READERS.items():
        try:
            fields = reader(data, kind)
        except ValueError as error:
            yield name, error
            continue
        yield f"{name}, last wins", _shaped(fields)
        yield f"{name}, first wins", _shaped(fields[::-1])
        yield f"{name}, lax", _shaped([(plain(key), each) for key, each in fields])


def _shaped(fields: Fields) -> dict[str, Any]:
    """Make the object that a form stands for: `svg[model]` is a member of a member."""
    top: dict[str, Any] = {}
    for name, text in fields:
        first, *rest = [name.partition("[")[0], *_STEPS.findall(name)]
        *path, last = [first, *rest] if rest and rest[-1] else [first]
        holder = top
        for step in path:
            inner = holder.setdefault(step, {})
            holder = inner if isinstance(inner, dict) else {}
        holder[last] = _value(text)
    return top


def _value(text: str | None) -> object:
    if text is None:
        return {"file": True}
    return int(text) if _INTEGER.fullmatch(text) else text
