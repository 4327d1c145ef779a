"""Image edits come as forms: judged like the JSON that they stand for."""

from __future__ import annotations

import email.policy
from email.parser import BytesParser
from typing import Any

import httpx2
import openai
import pytest
from driving import Call, Inner, Notebook, gate, governed, request

pytestmark = pytest.mark.anyio
GATE = gate("limits: { images_api_n: 2 }\nsurface: { images_api: enforce }")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PATH = "/v1/images/edits"
MADE = b'{"created":1,"data":[{"b64_json":"iVBORw0KGgo="}]}'


def sent_by_the_sdk(**options: Any) -> tuple[bytes, bytes]:
    """Return the type and the body of an edit, as openai-python writes it."""
    seen: list[tuple[bytes, bytes]] = []

    def take(asked: httpx2.Request) -> httpx2.Response:
        seen.append((asked.headers["content-type"].encode(), asked.read()))
        return httpx2.Response(200, json={"created": 1, "data": []})

    transport = httpx2.MockTransport(take)
    with (
        httpx2.Client(transport=transport) as http,
        openai.OpenAI(api_key="k", http_client=http) as client,
    ):
        client.images.edit(prompt="a hat", **options)
    return seen[0]


def fields(inner: Inner) -> dict[str, list[bytes]]:
    """Read what went on with another reader."""
    [kind] = inner.header(b"content-type")
    head = b"Content-Type: %b\r\n\r\n" % kind
    message = BytesParser(policy=email.policy.HTTP).parsebytes(head + inner.bodies[0])
    found: dict[str, list[bytes]] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        found.setdefault(str(name), []).append(content)
    return found


async def post(
    kind: bytes, body: bytes, inner: Inner, audit: Notebook | None = None
) -> Call:
    app = governed(inner, audit or Notebook(), by=GATE)
    scope = request(path=PATH, headers=[(b"content-type", kind)])
    return await Call(app, scope, (body[:100], body[100:])).whole()


async def test_an_edit_is_brought_down_and_its_images_are_left_alone() -> None:
    inner, audit = Inner(MADE), Notebook()
    kind, body = sent_by_the_sdk(
        model="gpt-image-1-mini", quality="high", image=[PNG, PNG], mask=PNG, n=2
    )

    call = await post(kind, body, inner, audit)

    assert call.status == 200, call.body
    assert fields(inner) == {
        "prompt": [b"a hat"],
        "model": [b"gpt-image-1-mini"],
        "quality": [b"medium"],
        "image[]": [PNG, PNG],
        "mask": [PNG],
        "n": [b"2"],
    }
    assert inner.header(b"content-length") == [str(len(inner.bodies[0])).encode()]
    assert audit.events == ["request_rewritten", "image_finished", "exchange_finished"]
    [change] = audit.decision.changes
    assert (change.pointer, change.before, change.after) == (
        "/quality",
        "high",
        "medium",
    )


async def test_the_boundary_is_ours_and_new() -> None:
    kind, body = sent_by_the_sdk(model="gpt-image-1-mini", quality="low", image=PNG)
    first, second = Inner(MADE), Inner(MADE)

    await post(kind, body, first)
    await post(kind, body, second)

    kinds = {kind, *first.header(b"content-type"), *second.header(b"content-type")}
    assert len(kinds) == 3


@pytest.mark.parametrize(
    ("options", "param"),
    [({"model": "dall-e-2"}, "model"), ({"model": "gpt-image-1-mini", "n": 3}, "n")],
)
async def test_what_is_forbidden_is_refused(
    options: dict[str, Any], param: str
) -> None:
    inner = Inner(MADE)

    call = await post(*sent_by_the_sdk(image=PNG, **options), inner)

    assert call.status == 403
    assert f'"param":"{param}"'.encode() in call.body
    assert inner.scopes == []


async def test_what_can_be_read_in_two_ways_is_refused() -> None:
    inner = Inner(MADE)
    kind, body = sent_by_the_sdk(model="gpt-image-1-mini", image=PNG)

    assert (await post(kind, b"\r\n" + body, inner)).code == "bad_form"
    assert (await post(kind + b"; charset=x", body, inner)).status == 415
    assert (await post(b"text/plain", body, inner)).status == 415
    assert inner.scopes == []


async def test_forms_are_for_images_only() -> None:
    inner = Inner(MADE)
    kind, body = sent_by_the_sdk(model="gpt-image-1-mini", image=PNG)
    app = governed(inner, Notebook(), by=GATE)

    call = await Call(app, request(headers=[(b"content-type", kind)]), (body,)).whole()

    assert call.code == "unsupported_media_type"
    assert inner.scopes == []
