"""Requests of the Images API that ask for too much: as JSON, and as a form."""

from __future__ import annotations

from case import Draft
from disguises import spelled
from forming import BOUNDARY, EVIL, Field, formed
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
    members = drawn(draft)
    if draft.maybe(0.5):
        _as_form(draft, members)
        return
    if draft.maybe(0.1):
        key = draft.pick(ODD_KEYS, "key")(draft.random.choice([*_SETTINGS, "n"]))
        members.append((key, f"x{CANARY}"))
    draft.body = members
    spelled(draft)


def drawn(draft: Draft) -> Pairs:
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


def _as_form(draft: Draft, members: Pairs) -> None:
    """Write the members as a form, mostly well."""
    pen = Pen(random=draft.random)
    fields = [_field(pen, name, value) for name, value in members if value is not None]
    if draft.maybe(0.1):
        each = draft.random.choice(fields)
        fields.append(Field(name=f"{each.name}[]", content=f"x{CANARY}".encode()))
        draft.story.append("listed as well")
    if draft.maybe(0.6):
        fields.append(_file(draft))
    formed(draft, fields)


def _field(pen: Pen, name: str, value: object) -> Field:
    text = value if isinstance(value, str) else pen.write(value)
    return Field(name=name, content=text.encode("utf-8", "surrogatepass"))


def _file(draft: Draft) -> Field:
    """Draw a file, maybe one that has another form inside."""
    mark = f"--{BOUNDARY}"
    contents = [
        b"PNG", b"\x89PNG\r\n\x1a\n" * 9, b"",
        f"A\r\n{mark}x\r\n{EVIL}\r\n".encode(),
        f"A\n{mark}\n{EVIL}\n".replace("\r\n", "\n").encode(),
        f"A\r{mark}\r{EVIL}\r".replace("\r\n", "\r").encode(),
        f"A\r\n{mark} \r\n{EVIL}\r\n".encode(),
        f"{mark}\r\n{EVIL}\r\n".encode(),
    ]  # fmt: skip
    names = ["a.png", "", 'a";name="model', "a\\", "ö.png", f"{CANARY}", "a;b", "../a"]
    field_names = ["image", "image[]", "mask", "markup", "model", "quality", "n"]
    return Field(
        name=draft.random.choice([*field_names[:3] * 3, *field_names]),
        content=draft.random.choice(contents),
        filename=draft.random.choice([*names[:1] * 5, *names]),
        lines=draft.random.choice([["Content-Type: image/png"]] * 4 + [[], ["A: b"]]),
    )
