"""A batch runs a file that was judged as it was uploaded, by whoever uploaded it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from driving import (
    JSON,
    TOOL,
    Call,
    Inner,
    Notebook,
    asking,
    gate,
    governed,
    request,
)
from starlette.types import Scope

from imagegate.engine.gate import Gate
from imagegate.engine.policy import Principal
from imagegate.gates import Gates
from imagegate.seen import MemorySeen

pytestmark = pytest.mark.anyio
OPEN = "surface: { files: enforce, batches: enforce }"
GATE = gate(OPEN)
STRICT = gate(f"{OPEN}\ntool: block")
BOUNDARY = b"----ours"
FORM = b"multipart/form-data; boundary=" + BOUNDARY
HIGH = {**TOOL, "quality": "high"}


async def who(scope: Scope) -> Principal:
    name = dict(scope["headers"]).get(b"x-who", b"ann").decode()
    return Principal(id=name, source="test", verified=True)


def line(name: str, *tools: dict[str, Any], url: str = "/v1/responses") -> bytes:
    body = {"model": "gpt-5", "input": "a cat", "tools": [*tools]}
    whole = {"custom_id": name, "method": "POST", "url": url, "body": body}
    return json.dumps(whole).encode()


def form(content: bytes, purpose: bytes = b"batch") -> bytes:
    start = b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data; "
    named = (
        b'name="file"; filename="a.jsonl"\r\nContent-Type: application/jsonl\r\n\r\n'
    )
    purposed = b'name="purpose"\r\n\r\n' + purpose + b"\r\n"
    end = b"\r\n--" + BOUNDARY + b"--\r\n"
    return start + purposed + start + named + content + end


class Client:
    """Asks a gateway that keeps what it saw in one store."""

    def __init__(self) -> None:
        self.seen = MemorySeen()
        self.audit = Notebook()
        self.provider = Inner()

    async def upload(
        self, content: bytes, by: Gate = GATE, status: int = 200, **named: Any
    ) -> Call:
        self.provider = Inner(b'{"id":"file-1","object":"file"}', status=status)
        kind = (b"content-type", named.pop("kind", FORM))
        return await self.post("/v1/files", form(content, **named), kind, by)

    async def run(
        self,
        file: str = "file-1",
        endpoint: str = "/v1/responses",
        by: Gate = GATE,
        name: str = "ann",
    ) -> Call:
        self.provider = Inner(b'{"id":"batch_1","object":"batch"}')
        asked = {"input_file_id": file, "endpoint": endpoint}
        data = json.dumps({**asked, "completion_window": "24h"}).encode()
        return await self.post("/v1/batches", data, JSON, by, name)

    async def post(
        self,
        path: str,
        data: bytes,
        kind: tuple[bytes, bytes],
        by: Gate,
        name: str = "ann",
    ) -> Call:
        who_asks = (b"x-who", name.encode())
        app = governed(self.provider, self.audit, by=by, identify=who, seen=self.seen)
        scope = request(path=path, headers=[kind, who_asks])
        return await Call(app, scope, (data[:70], data[70:])).whole()


async def test_lines_are_brought_down_and_the_batch_runs() -> None:
    client = Client()

    uploaded = await client.upload(line("a", HIGH) + b"\n" + line("b"))
    [sent] = client.provider.bodies
    [size] = client.provider.header(b"content-length")
    record = client.audit.decision
    ran = await client.run()

    assert (uploaded.status, ran.status) == (200, 200)
    assert int(size) == len(sent)
    first, second = (json.loads(x) for x in sent.splitlines() if x[:1] == b"{")
    assert first["body"]["tools"][0]["quality"] == "medium"
    assert (first["custom_id"], second["custom_id"]) == ("a", "b")
    assert BOUNDARY not in sent
    assert record.changes[0].pointer == "/file/1/body/tools/0/quality"
    assert record.tools_count == 1


async def test_one_line_that_is_refused_keeps_the_whole_file() -> None:
    client = Client()

    refused = await client.upload(line("a", TOOL) + b"\n" + line("b", HIGH), STRICT)

    assert (refused.status, client.provider.bodies) == (403, [])
    told = json.loads(refused.body)["error"]
    assert told["param"] == "file[1].body.tools[0]"
    assert told["message"].startswith("line 1: ")
    assert (await client.run()).status == 403


async def test_a_line_that_cannot_be_read_is_told_with_its_number() -> None:
    client = Client()

    refused = await client.upload(line("a") + b"\n" + line("b")[:-1])

    assert (refused.status, refused.code) == (400, "invalid_json")
    assert "line 2" in refused.body.decode()
    assert client.audit.events == ["request_malformed", "exchange_finished"]


@pytest.mark.parametrize(
    "other",
    [{"file": "file-2"}, {"endpoint": "/v1/images/generations"}, {"name": "ben"}],
)
async def test_a_batch_of_anything_else_is_refused(other: Any) -> None:
    client = Client()
    await client.upload(line("a", TOOL))

    refused = await client.run(**other)

    assert (refused.status, client.provider.bodies) == (403, [])
    assert (await client.run()).status == 200


async def test_a_file_for_something_else_is_no_batch_file() -> None:
    client = Client()

    assert (await client.upload(line("a", HIGH), purpose=b"user_data")).status == 200
    assert line("a", HIGH) in client.provider.bodies[0]
    assert (await client.run()).status == 403


@pytest.mark.parametrize(
    "more",
    [
        "tool: block",
        "quotas: { requests: { everyone: { day: { max: 9 } } } }",
        "limits: { max_tool_calls: 1 }",
        "fields: { deprecated: strip }",
    ],
)
async def test_a_file_runs_by_no_other_rules_than_it_was_judged_by(more: str) -> None:
    client = Client()
    await client.upload(line("a", TOOL))

    refused = await client.run(by=gate(f"{OPEN}\n{more}"))

    assert (refused.status, client.provider.bodies) == (403, [])
    assert "upload it again" in refused.body.decode()
    assert (await client.run()).status == 200


@pytest.mark.parametrize("status", [302, 400, 500])
async def test_an_upload_that_failed_left_no_file(status: int) -> None:
    client = Client()
    await client.upload(line("a", TOOL), status=status)

    assert (await client.run()).status == 403


async def test_an_upload_makes_nothing_else_known() -> None:
    client, more = Client(), "{ conversation: seen, previous_response: seen }"
    asks = gate(f"{OPEN}\nstate: {more}")
    start = b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data; "
    named = start + b'name="conversation"\r\n\r\nconv_1\r\n'
    kind = (b"content-type", FORM)
    await client.post("/v1/files", named + form(b"x", b"user_data"), kind, asks)

    refused = await client.post(
        "/v1/responses", asking(TOOL, conversation="conv_1"), JSON, asks
    )

    assert (refused.status, refused.code) == (403, "image_policy_violation")


async def test_a_file_of_more_tools_than_are_told_runs() -> None:
    client = Client()
    await client.upload(b"\n".join(line(str(n), TOOL) for n in range(40)))

    assert client.audit.decision.tools_count == 40
    assert (await client.run()).status == 200


async def test_a_file_is_uploaded_as_a_form() -> None:
    client = Client()

    refused = await client.upload(line("a"), kind=b"application/json")

    assert (refused.status, refused.code) == (415, "unsupported_media_type")
    assert "multipart/form-data" in refused.body.decode()


async def test_lines_are_held_against_a_candidate_too() -> None:
    client = Client()
    beside = governed(client.provider, client.audit, by=Gates(GATE, candidate=STRICT))
    scope = request(path="/v1/files", headers=[(b"content-type", FORM)])
    await Call(beside, scope, (form(line("a", TOOL)),)).whole()

    told = client.audit.decision.candidate
    assert told is not None
    assert (told.decision, told.differs) == ("block", True)
    assert told.violations[0].pointer == "/file/1/body/tools/0"
