"""Requests of the Images API that ask for too much: as JSON, and as a form.

Forms are where readers disagree most: on names, on what comes twice, on where a part
ends, and on which boundary is meant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from case import Draft
from disguises import spelled
from hiding import ODD_KEYS, VALUES
from spelling import Pairs, Pen
from verdict import CANARY

_PATHS = [
    "/v1/images/generations", "/v1/images/edits", "/openai/v1/images/generations",
    "/openai/images/edits", "/api/projects/p/openai/v1/images/generations",
    "/openai/deployments/img-mini-prod/images/generations",
    "/openai/deployments/img-mini-prod/images/edits",
    "/openai/deployments/img-2-prod/images/generations",
    "/openai/deployments/img-dear/images/generations",
    f"/openai/deployments/{CANARY}/images/generations",
    "/openai/deployments/IMG-MINI-PROD/images/generations",
    "/openai/deployments/img-mini-prod/../img-dear/images/generations",
    "/v1/images/variations",
]  # fmt: skip
_OWN: dict[str, list[object]] = {
    "n": [1, 2, 4, 10, "4", None, True, 1.0, "1", -1, [4]],
    "response_format": ["b64_json", "url"],
    "style": ["vivid"],
    "user": ["u"],
    "stream": [True, False],
    "images": [[{"image_url": "data:,A"}]],
    "tools": [[{"type": "image_generation", "model": f"gpt-{CANARY}"}]],
}
_SETTINGS = ("model", "quality", "size", "moderation", "background", "output_format")


def pictured(draft: Draft) -> None:
    """Turn to the Images API."""
    draft.path = draft.pick(_PATHS[:6] if draft.maybe(0.5) else _PATHS, "at")
    members = _members(draft)
    if draft.maybe(0.5):
        _as_form(draft, members)
        return
    if draft.maybe(0.1):
        key = draft.pick(ODD_KEYS, "key")(draft.random.choice([*_SETTINGS, "n"]))
        members.append((key, f"x{CANARY}"))
    draft.body = members
    spelled(draft)


def _members(draft: Draft) -> Pairs:
    """Draw members: any, or good ones and one that is not."""
    return _good_members(draft) if draft.maybe(0.5) else _any_members(draft)


def _good_members(draft: Draft) -> Pairs:
    random = draft.random
    model = "gpt-image-1-mini" if draft.path.startswith("/v1") else "img-mini-prod"
    members = Pairs([("prompt", "x"), ("model", model), ("quality", "low")])
    members += [("size", "1024x1024"), ("moderation", "auto"), ("n", 1)]
    if draft.maybe(0.3):
        members.remove(random.choice(members))
    if draft.maybe(0.3):
        name = random.choice([name for name, _ in members])
        members.append((name, f"x{CANARY}"))
        draft.story.append(f"{name} twice")
    elif draft.maybe(0.5):
        name = random.choice(sorted(_OWN))
        members = Pairs([each for each in members if each[0] != name])
        members.append((name, random.choice(_OWN[name])))
    random.shuffle(members)
    return members


def _any_members(draft: Draft) -> Pairs:
    random = draft.random
    members = Pairs([("prompt", "x")])
    names = [*_SETTINGS, "partial_images", "input_fidelity", "complexity", "svg"]
    for name in random.sample(names, random.randint(0, 3)):
        members.append((name, random.choice(VALUES[name])))
    for name in random.sample(sorted(_OWN), random.choice([0, 0, 1, 1, 2])):
        members.append((name, random.choice(_OWN[name])))
    if draft.maybe(0.25):
        members.append((random.choice(_SETTINGS), f"gpt-image-{CANARY}"))
    if draft.maybe(0.12):
        members.append(random.choice(members))
        draft.story.append("twice")
    random.shuffle(members)
    return members


# -- forms ------------------------------------------------------------------------


@dataclass(kw_only=True)
class _Field:
    """One part of a form, as it is to be written."""

    name: str
    content: bytes
    filename: str | None = None
    lines: list[str] = field(default_factory=list)
    disposition: str | None = None


BOUNDARY = "form-boundary-7f3a"
_EVIL = f'Content-Disposition: form-data; name="model"\r\n\r\ngpt-{CANARY}'
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
    lambda data, mark: data + mark + b"\r\n" + _EVIL.encode() + b"\r\n" + mark + b"--",
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


def _as_form(draft: Draft, members: Pairs) -> None:
    """Write the members as a form, mostly well."""
    pen = Pen(random=draft.random)
    fields = [_field(pen, name, value) for name, value in members if value is not None]
    if draft.maybe(0.1):
        each = draft.random.choice(fields)
        fields.append(_Field(name=f"{each.name}[]", content=f"x{CANARY}".encode()))
        draft.story.append("listed as well")
    if draft.maybe(0.6):
        fields.append(_file(draft))
    draft.random.shuffle(fields)
    if draft.maybe(0.3):
        _disguise(draft, draft.random.choice(fields))
    data = b"".join(_written(each) for each in fields)
    data += f"--{BOUNDARY}--\r\n".encode()
    if draft.maybe(0.2):
        number = draft.random.randrange(len(_WHOLE))
        draft.story.append(f"form {number}")
        data = _WHOLE[number](data, f"--{BOUNDARY}".encode())
    spelled_type = "multipart/form-data; boundary={boundary}"
    if draft.maybe(0.12):
        spelled_type = draft.pick(_TYPES, "type")
    draft.headers.append(("Content-Type", spelled_type.format(boundary=BOUNDARY)))
    draft.data = data
    draft.story.append("form")


def _field(pen: Pen, name: str, value: object) -> _Field:
    text = value if isinstance(value, str) else pen.write(value)
    return _Field(name=name, content=text.encode("utf-8", "surrogatepass"))


def _file(draft: Draft) -> _Field:
    """Draw a file, maybe one that has another form inside."""
    mark = f"--{BOUNDARY}"
    contents = [
        b"PNG", b"\x89PNG\r\n\x1a\n" * 9, b"",
        f"A\r\n{mark}x\r\n{_EVIL}\r\n".encode(),
        f"A\n{mark}\n{_EVIL}\n".replace("\r\n", "\n").encode(),
        f"A\r{mark}\r{_EVIL}\r".replace("\r\n", "\r").encode(),
        f"A\r\n{mark} \r\n{_EVIL}\r\n".encode(),
        f"{mark}\r\n{_EVIL}\r\n".encode(),
    ]  # fmt: skip
    names = ["a.png", "", 'a";name="model', "a\\", "ö.png", f"{CANARY}", "a;b", "../a"]
    field_names = ["image", "image[]", "mask", "markup", "model", "quality", "n"]
    return _Field(
        name=draft.random.choice([*field_names[:3] * 3, *field_names]),
        content=draft.random.choice(contents),
        filename=draft.random.choice([*names[:1] * 5, *names]),
        lines=draft.random.choice([["Content-Type: image/png"]] * 4 + [[], ["A: b"]]),
    )


def _disguise(draft: Draft, each: _Field) -> None:
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


def _written(each: _Field) -> bytes:
    shape = each.disposition or 'form-data; name="{name}"'
    first = f"Content-Disposition: {shape.replace('{name}', each.name)}"
    if each.filename is not None:
        first += f'; filename="{each.filename}"'
    head = "\r\n".join([f"--{BOUNDARY}", first, *each.lines, "", ""])
    return head.encode("utf-8", "surrogatepass") + each.content + b"\r\n"
