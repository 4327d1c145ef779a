"""Batches of the stand-in, as the real clients see them, and what it received."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from azure.ai.projects import AIProjectClient
from azure.core.credentials import AccessToken
from openai.types import Batch, ImagesResponse
from openai.types.responses import Response

from imagegate.simulator import Behaviour, Received, Simulator, create_simulator
from imagegate.simulator.batch_lines import MOST_LINES, Validation
from imagegate.simulator.batch_work import Clerk
from imagegate.simulator.batches import Batches
from imagegate.simulator.call import Call
from imagegate.simulator.counter import Counter
from imagegate.simulator.dialect import place_of
from imagegate.simulator.files import Files
from imagegate.simulator.refusal import Refusal
from imagegate.simulator.wire import Answer, json_answer

Serve = Callable[[Simulator], str]
TOOL: Any = {"type": "image_generation", "model": "gpt-image-1-mini", "quality": "low"}
ASKED: Any = {"model": "gpt-6-luna", "input": "a cat", "tools": [TOOL]}
DRAWN: Any = {"model": "gpt-image-1-mini", "quality": "low", "prompt": "a cat"}
KEY = {"authorization": "Bearer k"}


def line(custom_id: str, body: object, url: str = "/v1/responses") -> bytes:
    """Spell a line oddly, so that one which was written anew would not be equal."""
    whole = {"custom_id": custom_id, "method": "POST", "url": url, "body": body}
    return json.dumps(whole, separators=(" , ", " :  ")).encode()


def begun(
    client: openai.OpenAI, *lines: bytes, endpoint: Any = "/v1/responses", **more: Any
) -> Batch:
    """Begin a batch of these lines."""
    file = client.files.create(file=("a.jsonl", b"\n".join(lines)), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more
    )


def ended(client: openai.OpenAI, batch: Batch) -> Batch:
    """Ask how far a batch is until it is over."""
    deadline = time.monotonic() + 20
    while batch.status not in {"completed", "failed", "expired", "cancelled"}:
        assert time.monotonic() < deadline, batch
        batch = client.batches.retrieve(batch.id)
    return batch


def entries(client: openai.OpenAI, ident: str | None) -> list[Any]:
    assert ident
    content = client.files.content(ident).read()
    return [json.loads(entry) for entry in content.splitlines()]


def test_every_line_is_answered_as_a_request_of_its_own_is(
    client: openai.OpenAI,
) -> None:
    batch = begun(client, line("a", ASKED), line("b", ASKED), metadata={"k": "v"})
    done = ended(client, batch)

    first, second = entries(client, done.output_file_id)
    alone = client.responses.create(**ASKED)
    assert (batch.status, done.status) == ("validating", "completed")
    Batch.model_validate(batch.model_dump(), strict=True)
    Batch.model_validate(done.model_dump(), strict=True)
    assert done.request_counts
    assert done.request_counts.model_dump() == {"total": 2, "completed": 2, "failed": 0}
    assert (done.model, done.metadata) == ("gpt-6-luna", {"k": "v"})
    assert (done.error_file_id, done.errors) == (None, None)
    assert (first["custom_id"], second["custom_id"]) == ("a", "b")
    assert set(first) == {"id", "custom_id", "response", "error"}
    assert first["id"].startswith("batch_req_")
    assert (first["response"]["status_code"], first["error"]) == (200, None)
    assert first["response"]["request_id"]
    response = Response.model_validate(first["response"]["body"])
    assert response.output[0].type == "image_generation_call"
    assert response.output[0].result
    assert shape(response) == shape(alone)
    assert client.responses.retrieve(response.id).status == "completed"
    assert done.usage
    assert alone.usage
    assert done.usage.total_tokens == 2 * alone.usage.total_tokens


def shape(response: Response) -> Any:
    """Return what does not depend on when a response was made."""
    whole = response.model_dump(exclude={"id", "created_at", "completed_at"})
    for item in whole["output"]:
        del item["id"]
        item.pop("result", None)
    return whole


def test_the_moments_of_a_batch_follow_each_other(client: openai.OpenAI) -> None:
    done = ended(client, begun(client, line("a", ASKED)))

    assert done.in_progress_at
    assert done.finalizing_at
    assert done.completed_at
    assert (
        done.created_at < done.in_progress_at < done.finalizing_at < done.completed_at
    )
    assert done.expires_at == done.created_at + 86_400
    assert (done.failed_at, done.cancelled_at, done.expired_at) == (None, None, None)


def test_lines_are_seen_as_they_came(
    client: openai.OpenAI, simulator: Simulator
) -> None:
    lines = [line("ä", ASKED), line("b", ASKED)]
    batch = begun(client, lines[0], b"  ", lines[1] + b"\r", b"")
    ended(client, batch)

    upload = [each for each in simulator.received if each.path == "/v1/files"][-1]
    seen = [each for each in simulator.received if each.method == "BATCH"][-2:]
    assert b"\n".join([lines[0], b"  ", lines[1] + b"\r\n"]) in upload.body
    assert [each.body for each in seen] == lines
    assert {each.path for each in seen} == {"/v1/responses"}
    assert [each.header("authorization") for each in seen] == ["Bearer k"] * 2
    assert [(each.status, each.outcome) for each in seen] == [(200, "finished")] * 2
    assert all(each.ended.is_set() and each.sent for each in seen)


CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "a"}]}


@pytest.mark.parametrize(
    ("endpoint", "body", "tokens"),
    [
        ("/v1/images/generations", DRAWN, 40 + 272),
        ("/v1/images/edits", {**DRAWN, "images": [{"file_id": "file-a"}]}, 40 + 272),
        ("/v1/chat/completions", CHAT, 14),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "a"}, 1),
    ],
)
def test_other_routes_are_asked_in_batches_too(
    client: openai.OpenAI, endpoint: str, body: Any, tokens: int
) -> None:
    done = ended(client, begun(client, line("a", body, endpoint), endpoint=endpoint))

    (entry,) = entries(client, done.output_file_id)
    alone: Any = client.post(endpoint.removeprefix("/v1"), body=body, cast_to=object)
    assert entry["response"]["body"].keys() == alone.keys()
    assert done.usage
    assert done.usage.total_tokens == tokens
    if "images" in endpoint:
        answer = ImagesResponse.model_validate(entry["response"]["body"])
        assert answer.data
        assert answer.data[0].b64_json


def test_what_is_refused_is_in_the_error_file(client: openai.OpenAI) -> None:
    lines = [
        line("good", ASKED),
        line("bad", {**ASKED, "tools": [{**TOOL, "quality": "best"}]}),
        line("ordered", {**ASKED, "metadata": {"simulator": "status=500"}}),
        line("streamed", {**ASKED, "stream": True}),
    ]
    done = ended(client, begun(client, *lines))

    errors = entries(client, done.error_file_id)
    assert done.status == "completed"
    assert done.request_counts
    assert done.request_counts.model_dump() == {"total": 4, "completed": 1, "failed": 3}
    assert [entry["custom_id"] for entry in errors] == ["bad", "ordered", "streamed"]
    assert [entry["response"]["status_code"] for entry in errors] == [400, 500, 400]
    faults = [entry["response"]["body"]["error"] for entry in errors]
    assert [fault["param"] for fault in faults] == ["tools[0].quality", None, "stream"]
    assert [entry["error"] for entry in errors] == [None] * 3
    assert len(entries(client, done.output_file_id)) == 1


def test_what_is_not_played_is_not_found(client: openai.OpenAI) -> None:
    asked = line("a", {"input": "a"}, "/v1/moderations")
    done = ended(client, begun(client, asked, endpoint="/v1/moderations"))

    (entry,) = entries(client, done.error_file_id)
    assert (done.output_file_id, done.model) == (None, None)
    assert entry["response"]["status_code"] == 404


GOOD = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": ASKED}


@pytest.mark.parametrize(
    ("wrong", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"[]", "invalid_json_line", None),
        ({"custom_id": None}, "missing_required_parameter", "custom_id"),
        ({"custom_id": 1}, "invalid_type", "custom_id"),
        ({"custom_id": "first"}, "duplicate_custom_id", "custom_id"),
        ({"method": "GET"}, "invalid_value", "method"),
        ({"url": "/v1/embeddings"}, "url_mismatch", "url"),
        ({"url": "/responses"}, "url_mismatch", "url"),
        ({"body": None}, "missing_required_parameter", "body"),
        ({"body": "a"}, "invalid_type", "body"),
        ({"body": {"model": "gpt-5"}}, "model_mismatch", "body.model"),
    ],
)
def test_a_wrong_line_fails_the_batch(
    client: openai.OpenAI,
    simulator: Simulator,
    wrong: Any,
    code: str,
    param: str | None,
) -> None:
    spelled = wrong if isinstance(wrong, bytes) else json.dumps(GOOD | wrong).encode()

    failed = ended(client, begun(client, line("first", ASKED), b"", spelled))

    assert failed.status == "failed"
    assert failed.failed_at
    assert failed.errors
    assert failed.errors.object == "list"
    assert [
        (error.code, error.line, error.param, bool(error.message))
        for error in failed.errors.data or ()
    ] == [(code, 3, param, True)]
    assert failed.request_counts
    assert failed.request_counts.total == 0
    assert (failed.output_file_id, failed.error_file_id) == (None, None)
    paths = [f"{each.method} {each.path}" for each in simulator.received]
    uploaded = paths[::-1].index("POST /v1/files")
    assert "BATCH /v1/responses" not in paths[-uploaded:]


def test_every_wrong_line_is_told(client: openai.OpenAI) -> None:
    failed = ended(client, begun(client, b"{", line("a", ASKED), b"}", line("a", 1)))

    assert failed.errors
    assert [error.line for error in failed.errors.data or ()] == [1, 3, 4]


def test_an_empty_file_fails(client: openai.OpenAI) -> None:
    failed = ended(client, begun(client, b"\n \n"))

    assert failed.errors
    assert [error.code for error in failed.errors.data or ()] == ["empty_file"]


def test_there_are_so_many_lines_and_no_more(client: openai.OpenAI) -> None:
    lines = (line(str(number), {}) for number in range(MOST_LINES + 3))

    failed = ended(client, begun(client, *lines))

    assert failed.errors
    assert [error.code for error in failed.errors.data or ()] == ["too_many_tasks"]


def test_a_model_may_be_left_out() -> None:
    validation = Validation("/v1/responses", azure=False)
    for number, body in enumerate([{}, {"model": "a"}, {"model": 1}, {"model": "a"}]):
        validation.take(number, line(str(number), body))
    validation.end()

    assert validation.errors == []


def test_a_batch_is_cancelled_and_keeps_what_it_has(client: openai.OpenAI) -> None:
    lines = [line(name, ASKED) for name in "abc"]
    batch = begun(client, *lines, metadata={"simulator": "stall_at=1"})
    deadline = time.monotonic() + 20
    while not (batch.request_counts and batch.request_counts.completed):
        assert time.monotonic() < deadline, batch
        batch = client.batches.retrieve(batch.id)

    cancelling = client.batches.cancel(batch.id)
    done = ended(client, cancelling)

    assert [each.status for each in (batch, cancelling, done)] == [
        "in_progress",
        "cancelling",
        "cancelled",
    ]
    assert cancelling.cancelling_at
    assert done.cancelled_at
    assert done.request_counts
    assert done.request_counts.model_dump() == {"total": 3, "completed": 1, "failed": 0}
    (answered,) = entries(client, done.output_file_id)
    unanswered = entries(client, done.error_file_id)
    assert answered["custom_id"] == "a"
    assert [entry["custom_id"] for entry in unanswered] == ["b", "c"]
    assert [entry["response"] for entry in unanswered] == [None, None]
    assert {entry["error"]["code"] for entry in unanswered} == {"batch_cancelled"}
    with pytest.raises(openai.ConflictError, match="'cancelled'"):
        client.batches.cancel(batch.id)


def test_a_batch_expires(client: openai.OpenAI) -> None:
    lines = [line(name, ASKED) for name in "ab"]
    done = ended(
        client, begun(client, *lines, metadata={"simulator": "expire_at=1 delay_ms=1"})
    )

    (answered,) = entries(client, done.output_file_id)
    (unanswered,) = entries(client, done.error_file_id)
    assert (done.status, bool(done.expired_at)) == ("expired", True)
    assert (answered["custom_id"], unanswered["custom_id"]) == ("a", "b")
    assert unanswered["error"]["code"] == "batch_expired"


def test_batches_are_listed_newest_first_and_page_by_page(serve: Serve) -> None:
    url = serve(create_simulator(behaviour="bits=0"))
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as client:
        idents = [begun(client, line("a", ASKED)).id for _ in "abc"]

        assert [batch.id for batch in client.batches.list(limit=2)] == idents[::-1]
        rest = client.batches.list(after=idents[1]).data
        assert [batch.id for batch in rest] == idents[:1]
        with pytest.raises(openai.NotFoundError, match="No batch found"):
            client.batches.retrieve("batch_none")


def test_what_a_batch_came_to_expires_when_told(client: openai.OpenAI) -> None:
    expiry: Any = {"anchor": "created_at", "seconds": 3600}
    lines = (line("a", ASKED), line("b", {}))
    done = ended(client, begun(client, *lines, output_expires_after=expiry))

    for ident in (done.output_file_id, done.error_file_id):
        assert ident
        file = client.files.retrieve(ident)
        assert file.expires_at == file.created_at + 3600
        assert file.purpose == "batch_output"


def test_a_batch_outlives_its_file(client: openai.OpenAI) -> None:
    lines = [line(name, ASKED) for name in "ab"]
    batch = begun(client, *lines, metadata={"simulator": "delay_ms=1"})
    client.files.delete(batch.input_file_id)

    assert ended(client, batch).status == "completed"


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"input_file_id": None}, "input_file_id"),
        ({"input_file_id": "file-none"}, "input_file_id"),
        ({"input_file_id": 1}, "input_file_id"),
        ({"endpoint": None}, "endpoint"),
        ({"endpoint": "/responses"}, "endpoint"),
        ({"endpoint": "/v1/batches"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"output_expires_after": {"seconds": 3600}}, "output_expires_after.anchor"),
        ({"input_blob": "https://a"}, "input_blob"),
    ],
)
def test_what_no_batch_takes_is_refused(
    client: openai.OpenAI, changed: Any, param: str
) -> None:
    file = client.files.create(file=("a.jsonl", b"{}"), purpose="batch")
    whole = {
        "input_file_id": file.id,
        "endpoint": "/v1/responses",
        "completion_window": "24h",
    }

    with pytest.raises(openai.BadRequestError) as refused:
        client.post("/batches", body=whole | changed, cast_to=object)
    assert refused.value.param == param


def test_a_file_must_be_meant_for_batches(client: openai.OpenAI) -> None:
    file = client.files.create(file=("a.jsonl", b"{}"), purpose="vision")

    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.batches.create(
            input_file_id=file.id, endpoint="/v1/responses", completion_window="24h"
        )


class Credential:
    """A token for anybody."""

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        return AccessToken("token", 4_000_000_000)


# Azure takes the route with its version and without, in the file and outside of it.
SPELLINGS = [
    ("/v1/responses", "/v1/responses"),
    ("/responses", "/responses"),
    ("/v1/responses", "/responses"),
]
HEADER = {"x-ms-oai-image-generation-deployment": "img"}


@pytest.mark.parametrize(("endpoint", "spelled"), SPELLINGS)
def test_azure_classic(
    url: str, simulator: Simulator, endpoint: str, spelled: str
) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=url,
        azure_deployment="my-batch",
        api_key="k",
        api_version="2025-04-01-preview",
    ) as client:
        asked = {"endpoint": endpoint, "extra_headers": HEADER}
        done = ended(client, begun(client, line("a", ASKED, spelled), **asked))
        (entry,) = entries(client, done.output_file_id)

    output: Any = entry["response"]["body"]["output"][0]
    seen = [each for each in simulator.received if each.method == "BATCH"][-1]
    assert output["status"] == "generating"
    assert seen.path == "/openai/v1/responses"
    assert seen.header("api-key") == "k"
    assert simulator.received[-1].path.startswith("/openai/files/")


def test_azure_v1(url: str) -> None:
    drawn = line("a", {**DRAWN, "model": "img"}, "/v1/images/generations")
    with openai.OpenAI(base_url=f"{url}/openai/v1", api_key="k") as client:
        done = ended(client, begun(client, drawn, endpoint="/v1/images/generations"))
        (entry,) = entries(client, done.output_file_id)

    assert entry["response"]["body"]["data"]


def test_a_foundry_project(url: str, simulator: Simulator) -> None:
    project = AIProjectClient(f"{url}/api/projects/p", Credential())
    with project, project.get_openai_client() as client:
        asked = {"extra_headers": HEADER}
        done = ended(client, begun(client, line("a", ASKED), **asked))

    seen = [each for each in simulator.received if each.method == "BATCH"][-1]
    assert done.status == "completed"
    assert seen.path == "/api/projects/p/openai/v1/responses"


@pytest.mark.anyio
async def test_openai_asynchronously(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        content = line("a", ASKED)
        file = await client.files.create(file=("a.jsonl", content), purpose="batch")
        batch = await client.batches.create(
            input_file_id=file.id, endpoint="/v1/responses", completion_window="24h"
        )
        async with asyncio.timeout(20):
            while batch.status != "completed":
                batch = await client.batches.retrieve(batch.id)

    assert batch.output_file_id


def test_requests_show_the_lines_too(serve: Serve) -> None:
    url = serve(create_simulator(behaviour="bits=0", expose_requests=True))
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as client:
        ended(client, begun(client, line("a", ASKED)))

    shown = httpx2.get(f"{url}/__simulator/requests").json()
    assert [each["method"] for each in shown].count("BATCH") == 1


# What can only be seen from inside.


class Alone:
    """Batches without a server; everything is answered with one sentence."""

    def __init__(self, *, keep: int = 10, **most: int) -> None:
        counter = Counter(0)
        self.files = Files(counter, keep=100)
        clerk = Clerk(
            counter=counter,
            files=self.files,
            answering=self._answer,
            notebook=deque(),
            **most,
        )
        self.batches = Batches(clerk, keep=keep)
        self.work: set[asyncio.Task[Any]] = set()

    def begin(self, *lines: bytes, behaviour: Behaviour | None = None) -> str:
        """Begin a batch and return its id."""
        file = self.files.add(
            b"\n".join(lines), filename="a.jsonl", purpose="batch", seconds=None
        )
        body = {
            "input_file_id": file.id,
            "endpoint": "/v1/responses",
            "completion_window": "24h",
        }
        before = asyncio.all_tasks()
        made = read(self.batches.create(called(body, behaviour=behaviour)))
        self.work = asyncio.all_tasks() - before
        return str(made["id"])

    async def over(self, ident: str) -> Any:
        """Return the batch that was begun last when nothing more happens."""
        await asyncio.wait(self.work, timeout=20)
        return self.shown(ident)

    def shown(self, ident: str) -> Any:
        return read(self.batches.retrieve(called({}, ident=ident)))

    @staticmethod
    def _answer(received: Received) -> Answer:
        if b"break" in received.body:
            raise ValueError("broken")
        return json_answer({"text": "x" * 100})


def read(answer: Answer) -> Any:
    return json.loads(b"".join(answer.pieces))


def called(
    body: dict[str, Any], *, ident: str = "", behaviour: Behaviour | None = None
) -> Call:
    path = "/v1/batches"
    return Call(
        received=Received(method="POST", path=path, query="", headers=[]),
        place=place_of(path),
        behaviour=behaviour or Behaviour(),
        body=body,
        ident=ident,
    )


@pytest.mark.anyio
async def test_a_file_that_is_too_large_is_refused() -> None:
    with pytest.raises(Refusal, match="too large"):
        Alone(most_input=1).begin(line("a", {}))


@pytest.mark.anyio
async def test_what_there_is_no_room_for_is_left_out() -> None:
    alone = Alone(most_output=1)

    done = await alone.over(alone.begin(line("a", {}), line("b", {})))

    assert done["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    file = alone.files.find(done["error_file_id"])
    assert file
    assert json.loads(file.content)["error"]["code"] == "output_too_large"


@pytest.mark.anyio
async def test_work_that_breaks_down_fails_its_batch() -> None:
    alone = Alone()

    failed = await alone.over(alone.begin(line("a", {"input": "break"})))

    (error,) = failed["errors"]["data"]
    assert (failed["status"], error["code"]) == ("failed", "server_error")


@pytest.mark.anyio
async def test_old_batches_are_forgotten_with_their_work() -> None:
    alone = Alone(keep=1)
    first = alone.begin(line("a", {}), behaviour=Behaviour(stall_at=0))
    (work,) = alone.work
    second = alone.begin(line("a", {}))

    await asyncio.wait({work}, timeout=20)

    assert work.cancelled()
    assert (await alone.over(second))["status"] == "completed"
    with pytest.raises(Refusal):
        alone.shown(first)


@pytest.mark.anyio
async def test_a_batch_is_cancelled_before_it_has_begun() -> None:
    alone = Alone()
    ident = alone.begin(line("a", {}))

    cancelling, again = (
        read(alone.batches.cancel(called({}, ident=ident))) for _ in range(2)
    )
    now = await alone.over(ident)

    assert cancelling["status"] == "cancelling"
    assert again == cancelling
    assert now["status"] == "cancelled"
    assert (now["in_progress_at"], now["output_file_id"]) == (None, None)
