"""Forms as nobody would write them, where readers disagree most.

They do on names, on what comes twice, on where a part ends, and on which boundary is
meant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from case import Draft
from verdict import CANARY


@dataclass(kw_only=True)
class Field:
    """One part of a form, as it is to be written."""

    name: str
    content: bytes
    filename: str | None = None
    lines: list[str] = field(default_factory=list)
    disposition: str | None = None


BOUNDARY = "form-boundary-7f3a"
EVIL = f'Content-Disposition: form-data; name="model"\r\n\r\ngpt-{CANARY}'
_NAMES: list[Callable[[str], str]] = [
    str.title,
    lambda name: f"{name} ",
    lambda name: f" {name}",
    lambda name: f"{name}[]",
    lambda name: f"{name}[0]",
    lambda name: f"{name}[model]",
    lambda name: f"svg[{name}]",
    lambda name: f"[{name}]",
    lambda name: f"{name}]",
    lambda name: f"{name}\0",
    lambda name: name.replace("o", "%6f").replace("i", "%69"),
    lambda name: name.replace("o", "\uff4f").replace("i", "\u0131"),
    lambda name: f"{name}.x",
    lambda name: f"{name}&n=9",
]
_DISPOSITIONS: list[str] = [
    "form-data; name={name}",
    "form-data; name='{name}'",
    "form-data; name*=utf-8''{name}",
    'form-data; name="prompt"; name="{name}"',
    'form-data; name="{name}"; name="prompt"',
    "form-data; name=\"prompt\"; name*=utf-8''{name}",
    'form-data;name="{name}"',
    'form-data; NAME="{name}"',
    'FORM-DATA; name="{name}"',
    'form-data; filename="a"; name="{name}"',
    'form-data; name="{name}"; filename=""',
    "form-data; name=\"{name}\"; filename*=utf-8''a",
    'attachment; name="{name}"',
    'form-data; x="\\"; name="prompt\\""; name="{name}"',
    'form-data; name="pro\\mpt"; x="; name={name}"',
    'form-data; name="x\r\n ; name={name}"',
    'form-data;\r\n name="{name}"',
]
_LINES: list[str] = [
    "Content-Transfer-Encoding: base64",
    "Content-Transfer-Encoding: quoted-printable",
    "Content-Type: text/plain; charset=utf-16",
    "Content-Type: application/json",
    "Content-Type: multipart/mixed; boundary=inner",
    'Content-Disposition: form-data; name="model"',
    "Content-Type: text/plain",
    "Content-Length: 3",
    " folded",
    "X: y",
]
_WHOLE: list[Callable[[bytes, bytes], bytes]] = [
    lambda data, _: data.replace(b"\r\n", b"\n"),
    lambda data, _: data.replace(b"\r\n", b"\r"),
    lambda data, _: b"preamble\r\n" + data,
    lambda data, _: b"\r\n" + data,
    lambda data, mark: data + mark + b"\r\n" + EVIL.encode() + b"\r\n" + mark + b"--",
    lambda data, _: data + b"epilogue",
    lambda data, mark: data.replace(mark + b"--", mark),
    lambda data, mark: data.replace(mark + b"\r\n", mark + b" \t\r\n", 1),
    lambda data, mark: data.replace(mark + b"\r\n", mark + b"x\r\n", 1),
    lambda data, mark: data.replace(mark, mark.upper(), 1),
    lambda data, mark: mark + b"--\r\n" + data,
    lambda data, mark: data[: len(data) // 2] + mark + b"--\r\n" + data,
    lambda data, _: data[:-6],
    lambda data, _: data[:-2],
    lambda data, _: data.replace(b"\r\n\r\n", b"\n\r\n", 1),
    lambda data, _: data.replace(b"\r\n\r\n", b"\r\n", 1),
    lambda data, _: data[:0],
    lambda data, _: data.decode("latin-1").encode("utf-16"),
]
_TYPES = [
    'multipart/form-data; boundary="{boundary}"',
    "multipart/form-data;boundary={boundary}",
    "Multipart/Form-Data; boundary={boundary}",
    "multipart/form-data; BOUNDARY={boundary}",
    "multipart/form-data; boundary={boundary}; charset=utf-16",
    "multipart/form-data; boundary={boundary}; boundary=other",
    "multipart/form-data; boundary=other; boundary={boundary}",
    "multipart/form-data; boundary*=utf-8''{boundary}",
    "multipart/mixed; boundary={boundary}",
    "multipart/form-data, application/json; boundary={boundary}",
    "multipart/form-data; x=y; boundary={boundary}",
    "multipart/form-data",
    "application/json; boundary={boundary}",
    "application/x-www-form-urlencoded",
]


def formed(draft: Draft, fields: list[Field], *, odd: bool = True) -> None:
    """Write a form of fields, mostly well; always if it is not to be odd."""
    draft.random.shuffle(fields)
    if odd and draft.maybe(0.3):
        _disguise(draft, draft.random.choice(fields))
    data = b"".join(_written(each) for each in fields)
    data += f"--{BOUNDARY}--\r\n".encode()
    if odd and draft.maybe(0.2):
        number = draft.random.randrange(len(_WHOLE))
        draft.story.append(f"form {number}")
        data = _WHOLE[number](data, f"--{BOUNDARY}".encode())
    spelled_type = "multipart/form-data; boundary={boundary}"
    if odd and draft.maybe(0.12):
        spelled_type = draft.pick(_TYPES, "type")
    draft.headers.append(("Content-Type", spelled_type.format(boundary=BOUNDARY)))
    draft.data = data
    draft.story.append("form")


def _disguise(draft: Draft, each: Field) -> None:
    way = draft.random.random()
    if way < 0.35:
        each.name = draft.pick(_NAMES, "name")(each.name)
        number = draft.random.random()
        each.content = each.content if number < 0.3 else f"x{CANARY}".encode()
    elif way < 0.7:
        each.disposition = draft.pick(_DISPOSITIONS, "disposition")
        each.content = each.content if draft.maybe(0.3) else f"x{CANARY}".encode()
    else:
        each.lines.append(draft.pick(_LINES, "line"))


def _written(each: Field) -> bytes:
    shape = each.disposition or 'form-data; name="{name}"'
    first = f"Content-Disposition: {shape.replace('{name}', each.name)}"
    if each.filename is not None:
        first += f'; filename="{each.filename}"'
    head = "\r\n".join([f"--{BOUNDARY}", first, *each.lines, "", ""])
    return head.encode("utf-8", "surrogatepass") + each.content + b"\r\n"
