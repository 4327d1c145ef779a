"""Multipart forms, read as leniently as the standard library does."""

from __future__ import annotations

import email.policy
import re
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from typing import Any

import msgspec

from imagegate.simulator.refusal import refusal

_NUMBER = re.compile(r"-?[0-9]+")
_WORDS = {"true": True, "false": False}


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was sent along."""

    filename: str
    content_type: str
    content: bytes


def is_form(content_type: str | None) -> bool:
    """Tell whether a body is a form."""
    return (content_type or "").lower().startswith("multipart/form-data")


def read_form(body: bytes, *, content_type: str) -> dict[str, Any]:
    """Return the fields of a form as the object that they stand for."""
    head = b"Content-Type: %b\r\n\r\n" % content_type.encode("latin-1")
    message = BytesParser(EmailMessage, policy=email.policy.HTTP).parsebytes(
        head + body
    )
    if not message.is_multipart():
        raise refusal("We could not parse the multipart form data of your request.")
    fields: dict[str, Any] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        _put(fields, str(name), _value(part))
    return fields


def _value(part: MIMEPart) -> Any:  # noqa: ANN401 - what a field stands for
    content = part.get_payload(decode=True)
    content = content if isinstance(content, bytes) else b""
    filename = part.get_filename()
    if filename is not None:
        kind = part.get_content_type()
        return Upload(filename=filename, content_type=kind, content=content)
    text = content.decode("utf-8", "replace")
    return int(text) if _NUMBER.fullmatch(text) else _WORDS.get(text, text)


def _put(fields: dict[str, Any], name: str, value: Any) -> None:  # noqa: ANN401 - likewise
    """Put a value where a name such as `svg[model]` or `image[]` says."""
    first, *steps = re.findall(r"[^\[\]]+|\[\]", name) or [name]
    if not steps:
        fields[first] = value
    elif steps[0] == "[]":
        fields.setdefault(first, []).append(value)
    else:
        _put(fields.setdefault(first, {}), _joined(steps), value)


def _joined(steps: list[str]) -> str:
    first, *others = steps
    return first + "".join(step if step == "[]" else f"[{step}]" for step in others)
