from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from openai.types import FileDeleted, FileObject

from imagegate.simulator import Behaviour, Received, Simulator, create_simulator
from imagegate.simulator.call import Call
from imagegate.simulator.counter import Counter
from imagegate.simulator.dialect import place_of
from imagegate.simulator.files import Files
from imagegate.simulator.forms import Upload
from imagegate.simulator.refusal import Refusal

Serve = Callable[[Simulator], str]
LINES = ("lines.jsonl", b'{"custom_id": "a"}\n')
PNG = b"\x89PNG"
PURPOSES: list[Any] = [
    *("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
]


@pytest.fixture
def fresh(serve: Serve) -> openai.OpenAI:
    url = serve(create_simulator())
    return openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)


def test_a_file_is_uploaded_shown_read_and_deleted(client: openai.OpenAI) -> None:
    made = client.files.create(file=LINES, purpose="batch")
    shown = client.files.retrieve(made.id)
    content = client.files.content(made.id)
    gone = client.files.delete(made.id)

    FileObject.model_validate(made.model_dump(), strict=True)
    FileDeleted.model_validate(gone.model_dump(), strict=True)
    assert shown == made
    assert content.read() == LINES[1]
    assert (made.filename, made.bytes, made.status) == (*LINES[:1], 19, "processed")
    assert made.expires_at == made.created_at + 30 * 86_400
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        client.files.content(made.id)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_every_purpose_is_taken(client: openai.OpenAI, purpose: Any) -> None:
    expiry: Any = {"anchor": "created_at", "seconds": 3600}
    made = client.files.create(file=LINES, purpose=purpose, expires_after=expiry)

    assert made.purpose == purpose
    assert made.expires_at == made.created_at + 3600


def test_only_what_comes_of_a_batch_expires_by_itself(client: openai.OpenAI) -> None:
    assert client.files.create(file=LINES, purpose="vision").expires_at is None


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\r\r\n--x\r\n", b"", b"\r\n"])
def test_the_bytes_stay_as_they_are(client: openai.OpenAI, content: bytes) -> None:
    made = client.files.create(file=("ä b.png", content), purpose="vision")

    assert client.files.content(made.id).read() == content
    assert made.filename == "ä b.png"


def test_files_are_listed_newest_first_by_purpose_and_page_by_page(
    fresh: openai.OpenAI,
) -> None:
    idents = [fresh.files.create(file=LINES, purpose="vision").id for _ in "abc"]
    other = fresh.files.create(file=LINES, purpose="batch").id

    page = fresh.files.list(purpose="vision", limit=2)
    rest = fresh.files.list(purpose="vision", after=idents[1])

    assert [file.id for file in page.data] == idents[:0:-1]
    assert [file.id for file in page] == idents[::-1]
    assert [file.id for file in rest] == idents[:1]
    assert [file.id for file in fresh.files.list(order="asc")] == [*idents, other]
    assert len(fresh.files.list().data) == 4


@pytest.mark.parametrize("purpose", ["assistants", "user_data"])
def test_some_files_are_not_for_download(client: openai.OpenAI, purpose: Any) -> None:
    made = client.files.create(file=LINES, purpose=purpose)

    with pytest.raises(openai.BadRequestError, match="Not allowed to download"):
        client.files.content(made.id)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"purpose": "fun"}, "purpose"),
        ({"expires_after": {"anchor": "now", "seconds": 3600}}, "expires_after.anchor"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, None),
        ({"expires_after": {"anchor": "created_at"}}, "expires_after.seconds"),
        ({"extra_body": {"model": "gpt-5"}}, "model"),
        ({"file": ("lines.txt", b"{}")}, ""),
        ({"file": ("lines.jsonl", b"\xff\xfe{\0")}, ""),
    ],
)
def test_what_no_file_is_like_is_refused(
    client: openai.OpenAI, asked: dict[str, Any], param: str | None
) -> None:
    whole: Any = {"file": LINES, "purpose": "batch", **asked}

    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(**whole)

    assert refused.value.param == (
        "expires_after.seconds" if param is None else param or None
    )


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "file"),
        ({"file": "a"}, "purpose"),
        ({"file": "a", "purpose": "batch"}, "file"),
    ],
)
def test_a_file_comes_in_a_form(url: str, body: dict[str, Any], param: str) -> None:
    answer = httpx2.post(
        f"{url}/v1/files", json=body, headers={"authorization": "Bearer k"}
    )

    assert answer.json()["error"]["param"] == param


def test_a_file_beyond_the_room_is_refused() -> None:
    body = {
        "purpose": "vision",
        "file": Upload(filename="a", content_type="image/png", content=PNG),
    }
    path = "/v1/files"
    call = Call(
        received=Received(method="POST", path=path, query="", headers=[]),
        place=place_of(path),
        behaviour=Behaviour(),
        body=body,
    )

    with pytest.raises(Refusal) as refused:
        Files(Counter(0), keep=2, most=3).create(call)
    assert refused.value.status == 413
    assert Files(Counter(0), keep=2, most=4).create(call).status == 200


def test_files_beyond_the_room_push_out_the_oldest() -> None:
    files = Files(Counter(0), keep=2, most=10)

    def added(size: int) -> str:
        return files.add(b"x" * size, filename="a", purpose="b", seconds=None).id

    few, many = [added(1) for _ in "abc"], [added(9), added(2)]

    assert [files.find(ident) is None for ident in few] == [True, True, True]
    assert [files.find(ident) is None for ident in many] == [True, False]
