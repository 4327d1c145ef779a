"""What a client says on a WebSocket, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from driving import TOOL, Inner, Notebook, gate, soon
from starlette.types import Receive, Scope, Send
from talking import GENERATING, Provider, accepted, connected, ended, socket

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.policy import Principal
from imagegate.engine.records import DecisionRecord, GeneratingRecord, Record
from imagegate.middleware import Limits
from imagegate.seen import MemorySeen

pytestmark = pytest.mark.anyio
FORBIDDEN = {**TOOL, "model": "gpt-image-2"}


async def test_a_message_is_judged_changed_and_observed(audit: Notebook) -> None:
    provider = Provider()
    async with connected(audit, provider) as client:
        await accepted(client)
        client.ask({**TOOL, "quality": "high"})
        heard = await provider.hears()
        provider.turn("created", quality="medium")
        provider.say(GENERATING, item_id="ig_1", output_index=0, sequence_number=4)
        provider.turn("completed", quality="medium", status="completed")
        said = [await client.hears() for _ in range(3)]
        client.hang_up()
        await client.done()

    assert heard["tools"] == [{**TOOL, "quality": "medium"}]
    assert [each["type"] for each in said] == [
        "response.created",
        GENERATING,
        "response.completed",
    ]
    assert audit.events == [
        "request_forwarded",
        "request_rewritten",
        "image_generating",
        "exchange_finished",
        "exchange_finished",
    ]
    assert ended(audit) == {"connection": "completed", "response.create": "completed"}
    assert {record.transport for record in audit.records} == {"websocket"}


async def test_a_generating_event_is_on_record_before_it_is_relayed() -> None:
    seen: list[int] = []
    audit = Notebook(refusing=lambda record: _note(record, seen, client))
    provider = Provider()
    client = connected(audit, provider)
    async with client:
        await accepted(client)
        client.ask(TOOL)
        await provider.hears()
        provider.turn("created")
        await client.hears()
        provider.say(GENERATING, item_id="ig_1")
        await client.hears()
        client.hang_up()
        await client.done()

    # The acceptance and the first event, and not this one.
    assert seen == [2]


def _note(record: Record, seen: list[int], client: Any) -> bool:
    if isinstance(record, GeneratingRecord):
        seen.append(len(client.sent))
    return False


async def test_a_decision_is_on_record_before_the_message_goes_on() -> None:
    heard: list[int] = []
    provider = Provider()

    def note(record: Record) -> bool:
        if isinstance(record, DecisionRecord):
            heard.append(provider.heard.qsize())
        return False

    async with connected(Notebook(refusing=note), provider) as client:
        await accepted(client)
        client.ask(TOOL)
        await provider.hears()
        client.hang_up()
        await client.done()

    assert heard == [0, 0]


async def test_a_refused_message_leaves_the_connection_open(audit: Notebook) -> None:
    provider = Provider()
    async with connected(audit, provider) as client:
        await accepted(client)
        client.ask(FORBIDDEN, stream_id="a")
        client.ask(TOOL, stream_id="b")

        refused = await client.refused()
        heard = await provider.hears()
        provider.turn("completed", lane="b")
        await client.hears()
        client.hang_up()
        await client.done()

    assert refused == ("image_policy_violation", "a")
    assert heard["stream_id"] == "b"
    assert provider.heard.empty()
    assert ended(audit) == {
        "connection": "completed",
        "response.create": "refused",
        "response.create+": "completed",
    }


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("no json", "not_json"),
        ("", "empty_body"),
        ("[1]", "not_an_object"),
        ('{"type":"response.create","tools":[],"tools":[]}', "duplicate_key"),
        ('{"type":"response.create","Tools":[]}', "ambiguous_key"),
        ({"type": "session.update", "session": {"tools": [TOOL]}}, None),
        ({"type": "response.cancel"}, None),
        ({"tools": [TOOL]}, None),
        ({"type": "response.create", "background": True}, "background"),
        ({"type": "response.create", "stream_id": "a b"}, "bad_stream_id"),
        ({"type": "response.create", "generate": False, "tools": [FORBIDDEN]}, None),
        (
            {
                "type": "response.create",
                "prompt_cache_options": {"prewarm": True},
                "input": [{"type": "additional_tools", "tools": [FORBIDDEN]}],
            },
            None,
        ),
        (
            {
                "type": "response.inject",
                "response_id": "resp_1",
                "input": [{"type": "tool_search_output", "tools": [FORBIDDEN]}],
            },
            None,
        ),
        (
            {"type": "response.steer", "previous_response_id": "r", "input": "x"},
            "steering_unjudged",
        ),
        ("\ud800", "not_utf8"),
    ],
)
@pytest.mark.parametrize("binary", [False, True])
async def test_what_cannot_be_judged_or_is_forbidden_does_not_go_on(
    message: object, code: str | None, audit: Notebook, *, binary: bool
) -> None:
    if binary and message == "\ud800":
        pytest.skip("no bytes are like that")
    provider = Provider()
    async with connected(audit, provider) as client:
        await accepted(client)
        client.write(message, binary=binary)
        said = await client.hears()
        client.hang_up()
        await client.done()

    assert said["type"] == "error"
    if code is not None and code not in {"not_json", "not_an_object", "ambiguous_key"}:
        assert said["error"]["code"] == code
    assert provider.heard.empty()
    assert list(ended(audit).values())[1:] == ["refused"]


async def test_binary_goes_on_as_binary_and_text_as_text(audit: Notebook) -> None:
    provider = Provider()
    async with connected(audit, provider) as client:
        await accepted(client)
        client.ask(TOOL, binary=True)
        client.ask(TOOL)
        first, second = [await soon(provider.heard.get()) for _ in range(2)]
        data = b'{"type":"response.created","response":{"id":"r"}}'
        provider.to_say.put_nowait({"type": "websocket.send", "bytes": data})
        relayed = await client.next()
        client.hang_up()
        await client.done()

    assert json.loads(first["bytes"])["tools"] == [TOOL]
    assert json.loads(second["text"])["tools"] == [TOOL]
    assert relayed == {"type": "websocket.send", "bytes": data}


async def test_bytes_that_are_no_text_are_refused(audit: Notebook) -> None:
    provider = Provider()
    async with connected(audit, provider) as client:
        await accepted(client)
        client.put({"type": "websocket.receive", "bytes": b"\xff\xfe{}"})
        assert await client.refused() == ("not_utf8", None)
        client.hang_up()
        await client.done()

    assert provider.heard.empty()


async def test_a_message_has_the_limit_of_a_body(audit: Notebook) -> None:
    provider = Provider()
    limits = Limits(body=100)
    async with connected(audit, provider, limits=limits) as client:
        await accepted(client)
        client.write({"type": "response.create", "stream_id": "a", "input": "x" * 100})
        assert await client.refused() == ("body_too_large", "a")
        client.hang_up()
        await client.done()


async def test_what_is_steered_and_injected_is_recorded_apart(audit: Notebook) -> None:
    provider = Provider()
    by = gate("state: { previous_response: seen }")
    steer = {"type": "response.steer", "previous_response_id": "resp_1", "input": "y"}
    inject = {"type": "response.inject", "response_id": "resp_1", "input": []}
    told = {"id": "s1", "previous_response_id": "resp_1"}
    async with connected(audit, provider, by=by) as client:
        await accepted(client)
        client.ask(TOOL)
        await provider.hears()
        provider.turn("created")
        await client.hears()
        client.write(inject)
        client.write(steer)
        assert (await provider.hears())["type"] == "response.inject"
        assert (await provider.hears())["type"] == "response.steer"
        provider.say("response.inject.created", response_id="resp_1")
        provider.say("response.steer.accepted", steer=told)
        provider.turn("incomplete")
        provider.turn("created", "resp_2")
        provider.say(GENERATING, item_id="ig_2")
        provider.turn("completed", "resp_2")
        for _ in range(6):
            await client.hears()
        client.hang_up()
        await client.done()

    (image,) = [each for each in audit.records if isinstance(each, GeneratingRecord)]
    decided = {
        each.decision_id: each.message_type
        for each in audit.records
        if isinstance(each, DecisionRecord)
    }
    assert decided[image.decision_id] == "response.steer"
    assert image.response_id == "resp_2"
    assert ended(audit) == {
        "connection": "completed",
        "response.create": "incomplete",
        "response.inject": "completed",
        "response.steer": "completed",
    }


async def test_an_exception_in_judging_is_a_refusal(
    audit: Notebook, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("imagegate.engine.connection.Connection.judge", fail)
    provider = Provider()
    async with connected(audit, provider) as client:
        await accepted(client)
        client.ask(TOOL, stream_id="a")
        assert await client.refused() == ("internal_error", "a")
        client.hang_up()
        await client.done()

    assert provider.heard.empty()
    assert "ZeroDivisionError" in capsys.readouterr().err


async def test_what_cannot_be_recorded_does_not_go_on() -> None:
    audit = Notebook(refusing=lambda each: getattr(each, "message_type", None) == KIND)
    provider = Provider()
    async with connected(audit, provider) as client:
        await accepted(client)
        client.ask(TOOL, stream_id="a")
        assert await client.refused() == ("audit_unavailable", "a")
        client.ask(FORBIDDEN, stream_id="b")
        assert await client.refused() == ("audit_unavailable", "b")
        audit.refusing = None
        client.ask(TOOL, stream_id="c")
        assert (await provider.hears())["stream_id"] == "c"
        client.hang_up()
        await client.done()

    assert provider.heard.empty()


KIND = "response.create"


# -- the handshake ----------------------------------------------------------------


async def test_the_application_sees_the_handshake_and_the_client_the_decision(
    audit: Notebook,
) -> None:
    provider = Provider()
    scope = socket(headers=[(b"authorization", b"Bearer k"), (b"x-original-url", b"/")])
    async with connected(audit, provider, scope=scope) as client:
        message = await accepted(client)
        client.hang_up()
        await client.done()

    names = [name for name, _ in provider.scopes[0]["headers"]]
    assert b"authorization" in names
    assert b"x-original-url" not in names
    decided = audit.records[0].decision_id.encode()
    assert message["headers"] == [(b"x-imagegate-decision", decided)]


async def test_who_asks_is_established_again_at_each_message(audit: Notebook) -> None:
    asked: list[Scope] = []

    async def identify(scope: Scope) -> Principal:
        asked.append(scope)
        return Principal(id="alice", verified=True, source="key")

    provider = Provider()
    async with connected(audit, provider, identify=identify) as client:
        await accepted(client)
        client.ask(TOOL)
        client.ask(TOOL)
        await provider.hears()
        await provider.hears()
        client.hang_up()
        await client.done()

    assert len(asked) == 3
    assert {record.principal_id for record in audit.records} == {"alice"}


async def test_who_may_not_ask_is_refused_before_anything_is_opened(
    audit: Notebook,
) -> None:
    async def identify(_: Scope) -> Principal:
        raise MalformedRequest("unknown_key", "no", status=401)

    inner = Inner()
    client = connected(audit, inner, identify=identify)
    await client.whole()

    assert client.status == 401
    assert inner.scopes == []


@pytest.mark.parametrize("status", [401, 403, 426, 302, 503])
async def test_a_refusal_of_the_applications_is_relayed(
    status: int, audit: Notebook
) -> None:
    kind = "websocket.http.response"
    headers = [
        (b"content-type", b"application/json"),
        (b"x-imagegate-decision", b"a"),
        (b"x-request-id", b"req_1"),
    ]

    async def refusing(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": f"{kind}.start", "status": status, "headers": headers})
        await send({"type": f"{kind}.body", "body": b"{}"})

    client = await connected(audit, refusing).whole()

    assert client.status == status
    assert client.headers["x-imagegate-decision"] == audit.decision.decision_id
    assert client.sent[1]["body"] == b"{}"
    assert audit.completion.status == status
    assert audit.completion.outcome == "failed"
    assert audit.completion.upstream_request_id == "req_1"


async def test_one_that_is_not_accepted_is_on_record(audit: Notebook) -> None:
    async def refusing(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close"})

    client = await connected(audit, refusing).whole()

    assert client.sent == [{"type": "websocket.close"}]
    assert audit.completion.outcome == "failed"


async def test_the_headers_of_azure_hold_for_every_message(audit: Notebook) -> None:
    by = gate("deployments: { mini: gpt-image-1-mini, dear: gpt-image-2 }")
    name = b"x-ms-oai-image-generation-deployment"
    provider = Provider()
    scope = socket("/openai/v1/responses", headers=[(name, b"dear")])
    async with connected(audit, provider, scope=scope, by=by) as client:
        await accepted(client)
        client.ask()
        assert (await client.refused())[0] == "image_policy_violation"
        client.hang_up()
        await client.done()

    assert provider.heard.empty()


async def test_items_that_were_made_on_a_connection_may_be_referred_to(
    audit: Notebook,
) -> None:
    provider = Provider()
    reference = [{"type": "item_reference", "id": "rs_1"}]
    by = gate("state: { item_reference: seen }")
    async with connected(audit, provider, by=by, seen=MemorySeen()) as client:
        await accepted(client)
        client.ask(TOOL)
        await provider.hears()
        provider.turn("created")
        provider.turn("completed", output=[{"type": "reasoning", "id": "rs_1"}])
        await client.hears()
        await client.hears()
        client.ask(input=reference)
        assert (await provider.hears())["input"] == reference
        client.hang_up()
        await client.done()


async def test_what_was_made_on_one_connection_is_known_on_another(
    audit: Notebook,
) -> None:
    by, store = gate("state: { previous_response: seen }"), MemorySeen()
    provider = Provider()
    async with connected(audit, provider, by=by, seen=store) as client:
        await accepted(client)
        client.ask(TOOL)
        await provider.hears()
        provider.turn("created")
        await client.hears()
        client.hang_up()
        await client.done()
    async with connected(audit, provider, by=by, seen=store) as client:
        await accepted(client)
        client.ask(TOOL, previous_response_id="resp_1")
        assert (await provider.hears())["previous_response_id"] == "resp_1"
        client.ask(TOOL, previous_response_id="resp_2")
        assert (await client.refused())[0] == "image_policy_violation"
        client.hang_up()
        await client.done()
