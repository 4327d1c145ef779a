"""Exchanges from top to bottom, in the order of the wire."""

from __future__ import annotations

import base64
import datetime
import itertools
import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

import httpx2
import msgspec
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagegate import shipped
from imagegate.engine.body import read_body_now
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.exchange import NOTHING, Cut, Ended, Exchange, Fed, Ruling
from imagegate.engine.fingerprint import Fingerprints
from imagegate.engine.gate import Context, Gate
from imagegate.engine.policy import digest
from imagegate.engine.records import (
    AnswerRecord,
    CompletionRecord,
    DecisionRecord,
    EchoRecord,
    FindingRecord,
    GeneratingRecord,
    ImageRecord,
    MismatchRecord,
    Record,
    ToolRecord,
)
from imagegate.engine.report import common
from imagegate.engine.surface import IMAGE_DEPLOYMENT_HEADER, find_door
from imagegate.policyfile import check_policy

TODAY = datetime.date(2026, 11, 20)
CATALOGUE = shipped.catalogue()
POLICY = """
version: 1
name: exchange
owner: o@example.com
mode: {mode}
models: {{ default: gpt-image-1-mini, gpt-image-1-mini: {{}}, otherwise: block }}
settings: {{ quality: {{ max: medium, default: medium, otherwise: lower }} }}
state: {{ previous_response: allow }}
surface: {{ images_api: {images}, realtime: {realtime} }}
"""


def gate(
    mode: str = "enforce",
    images: str = "enforce",
    realtime: str = "refuse",
    more: str = "",
) -> Gate:
    """Lay the policy of these tests out."""
    text = POLICY.format(mode=mode, images=images, realtime=realtime) + more
    found = check_policy(text.encode(), catalogue=CATALOGUE, today=TODAY)
    assert found.policy is not None, found.problems
    return Gate(found.policy, CATALOGUE, hash_key=b"key")


GATE = gate()
OBSERVING = gate("observe")
TOOL = {"type": "image_generation", "model": "gpt-image-1-mini", "quality": "low"}
ECHO = {**TOOL, "n": 1, "size": "auto", "background": "auto", "moderation": "auto"}
PIXELS = base64.b64encode(
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (1024).to_bytes(4, "big") * 2 + bytes(400)
).decode()


def exchange(
    *,
    by: Gate = GATE,
    method: str = "POST",
    path: str = "/v1/responses",
    **context: Any,
) -> Exchange:
    """Begin an exchange at a door."""
    door = find_door(method, path)
    return Exchange(by, Context(decision_id="d-1", door=door, date=TODAY, **context))


def ask(to: Exchange, *tools: dict[str, Any], **members: Any) -> Ruling:
    """Send a request."""
    body = {"model": "gpt-5", "input": "x", **members, "tools": list(tools)}
    return to.request(read_body_now(json.dumps(body).encode()))


def base(**changes: Any) -> dict[str, Any]:
    """Return what the records of these exchanges share."""
    written = Record(
        decision_id="d-1",
        policy="exchange",
        policy_digest=digest(GATE.policy),
        policy_mode="enforce",
        principal_id="anonymous",
        principal_source="none",
        principal_verified=False,
        provider="openai",
        door="responses.create",
        family="openai",
        transport="sse",
    )
    return common(msgspec.structs.replace(written, **changes))


def event(kind: str, **members: Any) -> bytes:
    """Frame an event as providers do."""
    data = json.dumps({"type": kind, **members})
    return f"event: {kind}\ndata: {data}\n\n".encode()


def turn(kind: str, number: int, *, quality: str = "low", **members: Any) -> bytes:
    """Frame an event with the response in it."""
    tools = [{**ECHO, "quality": quality}]
    response = {"id": "resp_1", "object": "response", "tools": tools, **members}
    return event(f"response.{kind}", sequence_number=number, response=response)


def call(kind: str, number: int, **members: Any) -> bytes:
    """Frame an event of the image call."""
    return event(
        f"response.image_generation_call.{kind}",
        sequence_number=number,
        output_index=0,
        item_id="ig_1",
        **members,
    )


ITEM = {
    "id": "ig_1",
    "type": "image_generation_call",
    "status": "generating",
    "action": "generate",
    "background": "opaque",
    "output_format": "png",
    "quality": "low",
    "size": "1024x1024",
    "revised_prompt": "A grey tabby",
    "result": PIXELS,
}
USED = {"image_gen": {"input_tokens": 40, "output_tokens": 196, "total_tokens": 236}}
ADDED = event(
    "response.output_item.added",
    sequence_number=2,
    output_index=0,
    item={"id": "ig_1", "type": "image_generation_call", "status": "in_progress"},
)
DONE = event("response.output_item.done", sequence_number=6, output_index=0, item=ITEM)
COMPLETED = turn(
    "completed",
    7,
    status="completed",
    model="gpt-5",
    output=[ITEM],
    tool_usage=USED,
)
STREAM = (
    turn("created", 0, status="in_progress", background=False),
    turn("in_progress", 1, status="in_progress"),
    ADDED,
    call("in_progress", 3),
    call("generating", 4),
    call("partial_image", 5, partial_image_index=0, partial_image_b64=PIXELS),
    DONE,
    COMPLETED,
)

GENERATING = GeneratingRecord(
    **base(),
    type="response.image_generation_call.generating",
    sequence_number=4,
    output_index=0,
    item_id="ig_1",
    response_id="resp_1",
    settings=({"model": "gpt-image-1-mini", "quality": "low"},),
    settings_from="request",
)
IMAGE = ImageRecord(
    **base(),
    type="response.output_item.done",
    sequence_number=6,
    output_index=0,
    item_id="ig_1",
    response_id="resp_1",
    made=True,
    status="generating",
    action="generate",
    size="1024x1024",
    quality="low",
    background="opaque",
    output_format="png",
    model="gpt-image-1-mini",
    media="png",
    dimensions="1024x1024",
    image_bytes=len(PIXELS) * 3 // 4,
)
FINISHED = CompletionRecord(
    **base(),
    outcome="completed",
    status=200,
    response_id="resp_1",
    upstream_request_id="req_1",
    model="gpt-5",
    images=1,
    partial_images=1,
    generating=1,
    usage_image_gen={"input_tokens": 40, "output_tokens": 196, "total_tokens": 236},
    image_model="gpt-image-1-mini",
    echo="verified",
    echo_verified=("model", "quality"),
    echo_unverified=("n",),
    bytes_out=sum(map(len, STREAM)),
)


def begun(to: Exchange, content_type: str = "text/event-stream") -> Exchange:
    """Ask for an image, and let the answer begin."""
    ask(to, TOOL)
    to.response(200, content_type, request_id="req_1\n")
    return to


def relay(to: Exchange, chunks: Iterable[bytes]) -> tuple[bytes, list[AnswerRecord]]:
    """Feed an answer to its end; return what is relayed and recorded."""
    chunks = [*chunks]
    fed = [*map(to.feed, chunks), to.close()]
    records = [record for each in fed for record in each.records]
    return relayed(chunks, fed), records


def relayed(chunks: Iterable[bytes], fed: Iterable[Fed]) -> bytes:
    """Return what goes on of an answer: all of it, or all up to a cut."""
    sent = b""
    for chunk, each in zip(chunks, fed, strict=False):
        if each.cut is not None:
            return sent + each.cut.relay
        sent += chunk
    return sent


def completion(to: Exchange, how: Ended = "ended") -> CompletionRecord:
    """End an exchange; return its last record."""
    record = to.close(how).records[-1]
    assert isinstance(record, CompletionRecord)
    return record


# -- a request and its answer ---------------------------------------------------


def test_an_image_from_the_request_to_the_end() -> None:
    """A decision, an image on its way, a finished one, and the completion."""
    to = exchange(bytes_in=77)

    asked = ask(to, {**TOOL, "quality": "high"})

    effective = {
        "model": "gpt-image-1-mini",
        "quality": "high",
        "moderation": "auto",
        "size": "auto",
        "background": "auto",
        "output_format": "png",
        "output_compression": 100,
        "partial_images": 0,
        "action": "auto",
    }
    found = asked.record.tools[0].effective
    assert asked.refusal is None
    assert asked.record == DecisionRecord(
        **base(transport="http"),
        event="imagegate.request_rewritten",
        decision="rewrite",
        method="POST",
        route="/v1/responses",
        tools=(
            ToolRecord(
                pointer="/tools/0",
                carrier="tools",
                requested={"model": "gpt-image-1-mini", "quality": "high"},
                effective=found,
                enforced={"model": "gpt-image-1-mini", "quality": "medium"},
            ),
        ),
        tools_count=1,
        changes=(
            FindingRecord(
                pointer="/tools/0/quality",
                field="quality",
                verdict="change",
                before="high",
                after="medium",
                rule="settings.quality.max",
                layer="baseline",
                mode="enforce",
            ),
        ),
        changes_count=1,
        bytes_in=77,
    )
    assert {**found, **effective} == found

    to = begun(exchange())
    fed = [to.feed(chunk) for chunk in STREAM]

    assert [each.records for each in fed] == [
        (), (), (), (), (GENERATING,), (), (IMAGE,), ()
    ]  # fmt: skip
    assert to.close() == Fed(records=(FINISHED,))


def test_the_answer_is_known_by_name_as_soon_as_it_says_it() -> None:
    """A client may go on with it from then on."""
    to = exchange()
    ask(to, TOOL)
    to.response(200, "text/event-stream")
    assert to.response_id is None

    to.feed(STREAM[0])

    assert to.response_id == "resp_1"


def test_what_an_image_cost_is_in_the_completion() -> None:
    """By the table that the gate was given; hashes are in the decision."""
    priced = Gate(GATE.policy, CATALOGUE, hash_key=b"key", prices=shipped.prices())
    to = exchange(by=priced)
    body = read_body_now(
        json.dumps({"input": "x", "user": "u", "tools": [TOOL]}).encode()
    )
    marks = Fingerprints(prompt="aa", user="bb")
    used = {
        **USED["image_gen"],
        "input_tokens_details": {"text_tokens": 40, "image_tokens": 0},
    }

    ruling = to.request(body, fingerprints=marks)
    to.response(200, "text/event-stream")
    to.feed(DONE)
    to.feed(turn("completed", 7, status="completed", tool_usage={"image_gen": used}))
    record = completion(to)

    assert (ruling.record.prompt_hmac, ruling.record.user_hmac) == ("aa", "bb")
    assert (record.cost_amount, record.cost_currency) == ("0.001648", "USD")
    assert (record.cost_basis, record.cost_prices) == ("usage", "2026-11-21")


def test_a_refused_request_ends_where_it_began() -> None:
    """The client gets what the SDK raises; the completion says refused."""
    to = exchange()

    asked = ask(to, {**TOOL, "model": "gpt-image-1.5"})

    assert asked.refusal is not None
    error = openai.OpenAI(api_key="k")._make_status_error_from_response(
        httpx2.Response(
            asked.refusal.status,
            headers=list(asked.refusal.headers),
            content=asked.refusal.body,
            request=httpx2.Request("POST", "http://127.0.0.1/v1/responses"),
        )
    )
    assert (error.status_code, error.code, error.param) == (
        403,
        "image_policy_violation",
        "tools[0].model",
    )
    assert asked.record.event == "imagegate.request_blocked"
    assert to.close() == Fed(
        records=(
            CompletionRecord(
                **base(transport="http"),
                outcome="refused",
                status=403,
                echo="unchecked",
            ),
        )
    )


def test_what_cannot_be_read_is_refused() -> None:
    """The record says where, and nothing of what."""
    to = exchange()

    asked = to.malformed(MalformedRequest("not_utf8", "no text", pointer="byte 7"))

    assert (asked.decision, asked.record.event) == (None, "imagegate.request_malformed")
    assert asked.record.violations[0].pointer == "byte 7"
    assert asked.refusal is not None
    assert asked.refusal.status == 400


def test_it_says_where_it_came_in_and_by_which_policy_it_ends() -> None:
    """Whatever policy holds by then."""
    to = exchange()

    assert to.match == find_door("POST", "/v1/responses")
    assert to.rules == GATE.digest


def test_where_there_is_no_door_there_is_no_way() -> None:
    """Nothing is read for it."""
    to = exchange(path="/v1/nothing")
    assert to.match is None

    asked = to.request()

    assert (asked.decision, asked.record.door) == (None, None)
    assert asked.refusal is not None
    assert asked.refusal.status == 404
    assert completion(to).outcome == "refused"


# -- cuts -----------------------------------------------------------------------


ECHOED = MismatchRecord(
    at="tools[0]",
    field="quality",
    observed="high",
    sent="low",
    rule="settings.quality.max",
    layer="baseline",
    mode="enforce",
)


def contradiction(
    action: Literal["cut", "cancel", "recorded"], kind: str, **changes: Any
) -> EchoRecord:
    """Write down that the echo says high."""
    return EchoRecord(
        **base(**changes),
        type=kind,
        sequence_number=None if kind == "response" else 0,
        response_id="resp_1",
        action=action,
        contradictions=(ECHOED,),
        contradictions_count=1,
    )


def test_a_contradicting_echo_ends_the_stream_behind_it() -> None:
    """In a form for which the SDK raises, and nothing goes on after it."""
    to = begun(exchange())
    created = turn("created", 0, quality="high", background=True)
    ping = b": ping\n\n"

    first = to.feed(ping + created[:40])
    second = to.feed(created[40:] + b"".join(STREAM[1:]))

    assert first == NOTHING
    assert second.records == (contradiction("cut", "response.created"),)
    assert second.cancel == "resp_1"
    assert second.cut is not None
    assert second.cut.relay == created[40:]
    assert second.cut.error == second.cut.refusal.sse
    assert second.cut.refusal.error["param"] == "tools[0].quality"
    assert to.feed(STREAM[1]) == to.message(STREAM[1]) == NOTHING
    last = completion(to)
    assert (last.outcome, last.echo) == ("cut", "contradicted")
    assert last.bytes_out == len(ping + created)


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_cut_falls_on_a_boundary_however_the_lines_end(
    ends: bytes, size: int
) -> None:
    """A client reads the events up to there, and then the error."""
    to = begun(exchange())
    stream = turn("created", 0, quality="high") + STREAM[1]
    stream = stream.replace(b"\n", ends)

    chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
    fed = [*map(to.feed, chunks)]

    cuts = [each.cut for each in fed if each.cut is not None]
    sent = relayed(chunks, fed)
    whole = sent + cuts[0].error
    texts = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n")
    kinds = [text.split(b"\n")[0] for text in texts if text.strip(b"\n")]
    assert len(cuts) == 1
    assert [kind.strip(b"\n") for kind in kinds[:1]] == [b"event: response.created"]
    assert stream.startswith(sent)
    assert whole.endswith(cuts[0].error)
    assert texts[-2].strip(b"\n").startswith(b"event: error")
    assert completion(to).bytes_out == len(sent)


def test_observing_cuts_nothing() -> None:
    """The same bytes pass, and the verdict is on record."""
    to = begun(exchange(by=OBSERVING))
    created = turn("created", 0, quality="high")

    fed = to.feed(created)

    assert fed.cut is None
    assert [type(record) for record in fed.records] == [EchoRecord]


def test_a_response_says_what_it_is_made_of() -> None:
    """With the piece that says so, for the client may refer to it next."""
    to = begun(exchange())
    made = [{"type": "reasoning", "id": "rs_1"}, {"type": "message", "id": "msg_1"}]
    done = event("response.completed", response={"output": made})

    assert to.feed(done[:-1]).items == ()
    assert to.feed(done[-1:]).items == ("rs_1", "msg_1")
    assert to.feed(b": more\n\n").items == ()


def test_a_background_answer_is_cancelled() -> None:
    """It is relayed whole; what it promises is called off."""
    to = begun(exchange(), "application/json")
    body = json.dumps(
        {
            "id": "resp_1",
            "object": "response",
            "status": "queued",
            "background": True,
            "tools": [{**ECHO, "quality": "high"}],
        }
    ).encode()

    fed, last = to.feed(body), to.close()

    assert fed == NOTHING
    assert last.cancel == "resp_1"
    assert last.cut is None
    assert last.records[0] == contradiction("cancel", "response", transport="http")
    assert isinstance(last.records[1], CompletionRecord)
    assert last.records[1].outcome == "accepted"


def test_a_whole_answer_is_recorded_not_cut() -> None:
    """The image is paid for; its response is known, though it is told last."""
    to = begun(exchange(), "application/json; charset=utf-8")
    body = {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "tools": [{**ECHO, "quality": "high"}],
        "output": [{**ITEM, "quality": "high"}],
    }

    relayed, records = relay(to, [json.dumps(body).encode()])

    assert json.loads(relayed) == body
    assert [type(record) for record in records] == [
        ImageRecord,
        EchoRecord,
        CompletionRecord,
    ]
    assert isinstance(records[0], ImageRecord)
    assert records[0].response_id == "resp_1"
    assert records[0].mismatches == (msgspec.structs.replace(ECHOED, at=""),)
    assert records[1] == contradiction("recorded", "response", transport="http")


def test_state_that_brings_in_a_tool_is_cut() -> None:
    """The request had no tool; an earlier response did."""
    to = exchange()
    ask(to, previous_response_id="resp_0")
    to.response(200, "text/event-stream")

    assert to.feed(turn("created", 0, quality="high")).cut is not None


@pytest.mark.parametrize("header", ["img", None], ids=["sent", "written"])
def test_a_deployment_in_a_header_leaves_the_echoed_model_open(
    header: str | None,
) -> None:
    """Whoever put it there; nothing is cut for what a provider may well say."""
    deployments = "deployments: { img: gpt-image-1-mini }\n"
    text = (
        POLICY.format(mode="enforce", images="enforce", realtime="refuse") + deployments
    )
    found = check_policy(text.encode(), catalogue=CATALOGUE, today=TODAY)
    assert found.policy is not None
    to = exchange(by=Gate(found.policy, CATALOGUE), path="/openai/v1/responses")
    headers = () if header is None else ((IMAGE_DEPLOYMENT_HEADER, header),)
    tool = {"type": "image_generation", "model": "img", "quality": "low"}
    body = json.dumps({"model": "gpt-5", "input": "x", "tools": [tool]}).encode()

    to.request(read_body_now(body), headers)
    to.response(200, "text/event-stream")
    tools = [{**ECHO, "model": "gpt-image-1.5"}]
    fed = to.feed(event("response.created", response={"id": "r", "tools": tools}))

    assert (fed.cut, fed.records) == (None, ())
    assert "model" in completion(to).echo_unverified


def test_a_header_that_was_taken_out_leaves_nothing_open() -> None:
    """A tool that the provider kept is measured by the policy, and stops the stream."""
    text = (
        POLICY.format(mode="enforce", images="enforce", realtime="refuse")
        + "tool: strip\n"
    )
    found = check_policy(text.encode(), catalogue=CATALOGUE, today=TODAY)
    assert found.policy is not None
    to = exchange(by=Gate(found.policy, CATALOGUE), path="/openai/v1/responses")
    headers = ((IMAGE_DEPLOYMENT_HEADER, "img"),)

    to.request(read_body_now(b'{"model":"gpt-5","input":"x"}'), headers)
    to.response(200, "text/event-stream")
    tools = [{**ECHO, "model": "gpt-image-1.5"}]
    fed = to.feed(event("response.created", response={"id": "r", "tools": tools}))

    assert fed.cut is not None


def test_a_secret_pasted_as_a_name_is_in_no_record() -> None:
    """Plain letters or not; the client, who sent it, is told where it stands."""
    body = {
        "model": "gpt-5",
        "input": "x",
        "tools": [{**TOOL, "skabcdef": 1, "svg": {"skabcdef": 1}}],
        "skabcdef": {"tools": [TOOL]},
    }
    to = exchange()

    ruling = to.request(read_body_now(json.dumps(body).encode()))

    assert ruling.refusal is not None
    assert b"skabcdef" in ruling.refusal.body
    assert b"skabcdef" not in msgspec.json.encode(ruling.record)
    assert {finding.pointer for finding in ruling.record.violations} == {
        "/tools/0/?",
        "/tools/0/svg/?",
        "/?/tools/0",
    }


def test_in_process_streams_are_cut_too() -> None:
    """They keep the name of their transport."""
    to = begun(exchange(transport="in_process"))

    fed = to.feed(turn("created", 0, quality="high"))

    assert fed.cut is not None
    assert fed.records == (
        contradiction("cut", "response.created", transport="in_process"),
    )


# -- other transports and doors -------------------------------------------------


def test_a_websocket_is_told_message_by_message() -> None:
    """A cut is a message of its own, on the lane of the request."""
    path: dict[str, Any] = {"method": "WEBSOCKET", "transport": "websocket"}
    lane = exchange(**path, stream_id="b")
    ask(lane, TOOL, type="response.create")
    messages = [part.partition(b"data: ")[2].strip() for part in STREAM]
    wrong = turn("created", 0, quality="high").partition(b"data: ")[2].strip()

    fed = [lane.message(data) for data in messages]

    on = {"transport": "websocket", "door": "responses.connect"}
    assert [record for each in fed for record in each.records] == [
        msgspec.structs.replace(GENERATING, **on),
        msgspec.structs.replace(IMAGE, **on),
    ]
    assert completion(lane).outcome == "completed"

    other = exchange(**path, stream_id="b")
    ask(other, TOOL, type="response.create")
    last = other.message(wrong)

    assert last.cut is not None
    assert last.cut.relay == wrong
    assert json.loads(last.cut.error)["stream_id"] == "b"
    assert completion(exchange(**path)).outcome == "truncated"


def test_a_resumed_stream_is_a_replay() -> None:
    """Its events are recorded again, and say so."""
    to = exchange(method="GET", path="/v1/responses/resp_1")
    to.request()
    to.response(200, "text/event-stream")

    _, records = relay(to, STREAM[4:])

    assert [record.replay for record in records] == [True] * 3
    assert isinstance(records[0], GeneratingRecord)
    assert (records[0].response_id, records[0].settings_from) == ("resp_1", "unknown")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/conversations/conv_1/items",
        "/v1/conversations/conv_1/items/ig_1",
        "/v1/responses/resp_2/input_items",
    ],
)
def test_an_image_that_is_read_from_a_conversation_is_recorded(path: str) -> None:
    """It may have been made in the background, and be told nowhere else."""
    made = {"id": "ig_1", "type": "image_generation_call", "result": PIXELS}
    alone = path.endswith("ig_1")
    said = made if alone else {"object": "list", "data": [made], "has_more": False}
    to = exchange(method="GET", path=path)
    to.request()
    to.response(200, "application/json")

    told = to.feed(json.dumps(said).encode(), last=True).records

    (record,) = told
    assert isinstance(record, ImageRecord)
    assert (record.type, record.item_id, record.made) == ("items", "ig_1", True)
    assert (record.replay, record.dimensions) == (True, "1024x1024")
    # It was made by another answer than the one that was asked for.
    assert record.response_id is None


@pytest.mark.parametrize("entry", [{"url": "https://x/secret"}, {"url": "", "x": 1}])
def test_an_image_that_is_told_by_its_address_was_made(entry: dict[str, Any]) -> None:
    """Providers that keep images for an hour answer so; the address stays theirs."""
    to = exchange(path="/v1/images/generations")
    to.request(read_body_now(b'{"prompt":"x","model":"gpt-image-1-mini"}'))
    to.response(200, "application/json")

    records = to.feed(json.dumps({"created": 1, "data": [entry]}).encode(), last=True)
    last = completion(to)

    made = bool(entry["url"])
    assert [type(record) for record in records.records] == [ImageRecord] * made
    assert (last.images, to.started) == (int(made), int(made))
    assert b"secret" not in msgspec.json.encode([*records.records, last])
    for record in records.records:
        assert isinstance(record, ImageRecord)
        assert (record.made, record.image_bytes) == (True, None)


@pytest.mark.parametrize("named", ["sk-proj-0a1b2c", "a-cat-on-a-hot-tin-roof"])
def test_a_path_is_no_way_into_the_records(named: str) -> None:
    """What has not the shape of an identifier may be a key, or a prompt."""
    to = exchange(method="GET", path=f"/v1/responses/{named}")
    ruling = to.request()
    to.response(404, "application/json")

    last = completion(to)

    assert last.response_id is None
    assert named.encode() not in msgspec.json.encode([ruling.record, last])


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/models"), ("POST", "/v1/conversations")]
)
def test_a_door_without_images_is_only_relayed(method: str, path: str) -> None:
    """Whatever passes there looks like; a body is judged all the same."""
    to = exchange(method=method, path=path)
    to.request(read_body_now(b'{"items":[]}', places=("/items/*/tools",)))
    to.response(200, "text/event-stream")

    relayed, records = relay(to, STREAM)

    assert relayed == b"".join(STREAM)
    assert [type(record) for record in records] == [CompletionRecord]
    assert isinstance(records[0], CompletionRecord)
    assert (records[0].outcome, records[0].echo) == ("completed", "unchecked")


def test_a_door_that_is_passed_unseen_is_not_measured() -> None:
    """Its images are recorded all the same."""
    to = exchange(by=gate(images="pass"), path="/v1/images/generations")
    asked = to.request()
    to.response(200, "application/json")
    body = {"created": 1, "data": [{"b64_json": PIXELS}], "quality": "high"}

    _, records = relay(to, [json.dumps(body).encode()])

    assert asked.record.inspected is False
    assert [type(record) for record in records] == [ImageRecord, CompletionRecord]
    assert isinstance(records[0], ImageRecord)
    assert (records[0].made, records[0].quality) == (True, None)


@pytest.mark.parametrize(
    ("content_type", "encoding", "why"),
    [
        ("text/event-stream", "gzip", "content_encoding"),
        ("text/event-stream", "gzip, br", "content_encoding"),
        ("text/html", "", "content_type"),
        ("text/event-stream", " Identity ", None),
    ],
)
def test_what_cannot_be_observed_is_said_once(
    content_type: str, encoding: str, why: str | None
) -> None:
    """At the end, and the bytes pass."""
    to = exchange()
    ask(to, TOOL)
    to.response(200, content_type, content_encoding=encoding)

    to.feed(STREAM[4])
    assert completion(to).unobserved == why


# -- the end --------------------------------------------------------------------

HOWS: tuple[Ended, ...] = (
    "ended", "client_left", "upstream_error", "timeout", "shutdown", "refused"
)  # fmt: skip


@pytest.mark.parametrize("how", HOWS)
def test_the_answers_own_word_counts_before_what_befell_it(how: Ended) -> None:
    """Clients leave when they have what they want."""
    whole, half = begun(exchange()), begun(exchange())
    relay(half, [])
    half = begun(exchange())
    half.feed(b"".join(STREAM[:-1]))
    whole.feed(b"".join(STREAM))

    assert completion(whole, how).outcome == "completed"
    assert completion(half, how).outcome == ("truncated" if how == "ended" else how)


@pytest.mark.parametrize(
    ("status", "content_type", "body", "outcome"),
    [
        (200, "application/json", b"{}", "completed"),
        (200, "application/json", b'{"object":"resp', "truncated"),
        (200, "application/json", b"", "completed"),
        (200, "text/event-stream", b"data: [DONE]\n\n", "truncated"),
        (200, "text/event-stream", STREAM[0], "truncated"),
        (200, "text/html", b"<html>", "completed"),
        (500, "text/html", b"<html>", "failed"),
        (401, "application/json", b'{"error":{"code":"no"}}', "failed"),
        (307, "", b"", "failed"),
        (302, "text/html", b"<html>", "failed"),
        (200, "text/event-stream", event("error", code="x"), "failed"),
    ],
)
def test_an_answer_that_ends_by_itself(
    status: int, content_type: str, body: bytes, outcome: str
) -> None:
    """A stream owes a terminal event; the rest is whole when it can be read."""
    to = exchange()
    ask(to, TOOL)
    to.response(status, content_type)
    to.feed(body)

    assert completion(to).outcome == outcome


def test_no_answer_is_the_providers_fault_unless_the_shell_knows_better() -> None:
    """There is a record in any case."""
    asked, left = exchange(), exchange()
    ask(asked, TOOL)
    ask(left, TOOL)

    assert completion(asked).outcome == "upstream_error"
    assert completion(left, "client_left").outcome == "client_left"


@pytest.mark.parametrize("how", ["timeout", "upstream_error", "client_left"])
def test_an_error_in_the_providers_place_says_less_than_its_cause(how: Ended) -> None:
    """The shell that answered knows; of the provider's own error it only ends."""
    ours, theirs = exchange(), exchange()
    for to in (ours, theirs):
        ask(to, TOOL)
        to.response(504, "application/json")
        to.feed(b'{"error":{"code":"head_timeout"}}', last=True)

    assert completion(ours, how).outcome == how
    assert completion(theirs).outcome == "failed"


def test_an_answer_that_the_shell_breaks_off_is_cut() -> None:
    """Whatever it said before."""
    to = begun(exchange())
    to.feed(b"".join(STREAM))

    assert completion(to, "cut").outcome == "cut"


@pytest.mark.parametrize("how", ["client_left", "shutdown"])
def test_a_request_that_never_became_whole_was_not_refused(how: Ended) -> None:
    """Nobody was there to be told no."""
    to = exchange()
    to.malformed(MalformedRequest("client_left", "m", status=499))

    assert completion(to, how).outcome == how


def test_what_only_the_end_tells_is_told_with_the_last_piece() -> None:
    """So that it can be written before that piece goes on, and is told once."""
    to = exchange()
    ask(to, TOOL)
    to.response(200, "application/json")
    data = json.dumps({"object": "response", "status": "completed", "output": [ITEM]})

    assert to.feed(data[:-1].encode()).records == ()
    last = to.feed(data[-1:].encode(), last=True)
    assert [type(record) for record in last.records] == [ImageRecord]
    closing = to.close()
    assert [type(record) for record in closing.records] == [CompletionRecord]


def test_an_answer_that_cannot_be_read_any_more_is_only_relayed() -> None:
    """What it said before is kept; that it was not seen whole is said."""
    to = begun(exchange())
    to.feed(b"".join(STREAM[:5]))
    before = to.observing

    to.blind()

    assert (before, to.observing) == (True, False)
    assert to.feed(DONE) == NOTHING
    record = completion(to)
    assert (record.unobserved, record.generating, record.images) == (
        "content_encoding",
        1,
        0,
    )


def test_a_websocket_that_nobody_looks_into_owes_no_terminal_event() -> None:
    """It ends, and that is that."""
    to = exchange(
        by=gate(realtime="pass"),
        method="WEBSOCKET",
        path="/v1/realtime",
        transport="websocket",
    )

    assert to.request().refusal is None
    assert completion(to).outcome == "completed"


def test_a_stream_that_breaks_off_in_an_event_tells_it_still() -> None:
    """Some clients take it; it cuts nothing."""
    to = begun(exchange())
    half = turn("created", 0, quality="high").rstrip()

    assert to.feed(half) == NOTHING
    last = to.close()
    assert last.cut is None
    assert last.records[0] == contradiction("recorded", "response.created")


# -- promises -------------------------------------------------------------------

STREAMS = st.sampled_from(
    [
        b"".join(STREAM),
        b"".join(STREAM).replace(b"\n", b"\r\n"),
        b"".join(STREAM).replace(b"\n", b"\r"),
        b"\xef\xbb\xbf: hello\n\n" + b"".join(STREAM[:-1]),
        STREAM[0] + turn("in_progress", 0, quality="high") + ADDED,
        ADDED + turn("in_progress", 0, quality="high") + STREAM[4][:-2],
        b"data: null\n\n" + b"".join(STREAM[4:]) + b"data: [DONE]\n\n",
    ]
)


@given(stream=STREAMS, places=st.lists(st.integers(0, 6_000), max_size=40))
@settings(max_examples=150)
def test_chunks_make_no_difference(stream: bytes, places: list[int]) -> None:
    """The records are the same, and what comes out is what came in."""
    marks = sorted({0, len(stream), *(min(at, len(stream)) for at in places)})
    chunks = [stream[a:b] for a, b in itertools.pairwise(marks)]

    whole, pieces = begun(exchange()), begun(exchange())
    expected = relay(whole, [stream])
    fed = [pieces.feed(chunk) for chunk in chunks]
    records = [record for each in [*fed, pieces.close()] for record in each.records]

    assert records == expected[1]
    assert relayed(chunks, fed) == expected[0]
    assert stream.startswith(expected[0])


def head(to: Exchange, status: int, content_type: str, data: bytes) -> None:
    """Let the answer begin, with an id that may be anything."""
    to.response(status, content_type, request_id=data.decode("latin-1"))


def end(how: Ended, to: Exchange, _: bytes) -> Fed:
    """Let the exchange end."""
    return to.close(how)


CALLS: dict[str, Callable[[Exchange, bytes], Fed | Ruling | None]] = {
    "ask": lambda to, _: ask(to, TOOL),
    "ask-badly": lambda to, _: ask(to, {**TOOL, "model": "dall-e-3"}),
    "ask-nothing": lambda to, _: to.request(),
    "malformed": lambda to, _: to.malformed(MalformedRequest("not_utf8", "no text")),
    "sse": lambda to, data: head(to, 200, "text/event-stream", data),
    "json": lambda to, data: head(to, 500, "application/json", data),
    "nothing": lambda to, data: head(to, 204, "", data),
    "feed": lambda to, data: to.feed(data + STREAM[4]),
    "wrong": lambda to, _: to.feed(turn("created", 0, quality="high")),
    "message": lambda to, data: to.message(data),
    **{how: partial(end, how) for how in HOWS},
}


@given(st.lists(st.tuples(st.sampled_from(sorted(CALLS)), st.binary(max_size=64))))
@settings(max_examples=300)
def test_one_completion_whatever_the_order(calls: list[tuple[str, bytes]]) -> None:
    """And nothing that anybody does raises."""
    to = exchange()

    done = [CALLS[name](to, data) for name, data in [*calls, ("ended", b"")]]

    records = [each for fed in done if isinstance(fed, Fed) for each in fed.records]
    ends = [record for record in records if isinstance(record, CompletionRecord)]
    assert len(ends) == 1
    assert ends == records[-1:]


@given(data=st.binary(), content_type=st.sampled_from(["json", "sse", "ws"]))
def test_no_bytes_raise(data: bytes, content_type: str) -> None:
    """They pass as they are."""
    kinds = {"json": "application/json", "sse": "text/event-stream"}
    to = begun(exchange(), kinds.get(content_type, ""))
    fed = to.message(data) if content_type == "ws" else to.feed(data)

    assert fed.cut is None
    assert isinstance(to.close().records[-1], CompletionRecord)


# -- canaries -------------------------------------------------------------------

CANARIES = ("sk-canary-1", "canary prompt 2", "Y2FuYXJ5LWltYWdl", "https://canary.4")


def plant(value: Any) -> Any:
    """Put canaries into every free string of a value."""
    match value:
        case dict():
            return {key: plant(each) for key, each in value.items()}
        case list():
            return [plant(each) for each in value]
        case "FREE":
            return " ".join(CANARIES)
        case _:
            return value


FREE = plant("FREE")


@pytest.mark.parametrize("mode", [GATE, OBSERVING], ids=["enforce", "observe"])
@pytest.mark.parametrize(
    "tool",
    [
        {**TOOL, "quality": FREE},
        {**TOOL, "size": FREE, "input_image_mask": {"image_url": FREE}},
        {**TOOL, "model": CANARIES[0]},
        {**TOOL, CANARIES[0]: 1, "description": FREE, "name": FREE},
        {**TOOL, "svg": {"model": FREE, CANARIES[0]: FREE}},
        {"type": f"image_generation {FREE}"},
    ],
)
def test_no_canary_of_a_request_sings(mode: Gate, tool: dict[str, Any]) -> None:
    """Not in the record, and not in the refusal."""
    to = exchange(by=mode)

    asked = ask(
        to,
        tool,
        **{
            "input": FREE,
            "prompt": {"id": FREE},
            "user": FREE,
            "instructions": FREE,
            "metadata": {CANARIES[0]: FREE, "x": {"tools": [tool]}},
            "previous_response_id": FREE,
            "tool_choice": {"type": FREE},
            CANARIES[0]: {"tools": [tool]},
        },
    )

    said = msgspec.json.encode(asked.record)
    if asked.refusal is not None:
        said += asked.refusal.body + asked.refusal.sse + asked.refusal.message()
    assert [canary for canary in CANARIES if canary.encode() in said] == []


FREE_TOOL = {
    **ECHO,
    "quality": "FREE",
    "size": "FREE",
    "model": "FREE",
    "description": "FREE",
    "input_image_mask": {"image_url": "FREE"},
    CANARIES[0]: "FREE",
}
FREE_ITEM = {
    "id": "ig_1",
    "type": "image_generation_call",
    "status": "FREE",
    "action": "FREE",
    "size": "FREE",
    "quality": "FREE",
    "background": "FREE",
    "output_format": "FREE",
    "revised_prompt": "FREE",
    "result": CANARIES[2] * 40,
    "error": {"code": "FREE", "message": "FREE"},
}
FREE_RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "FREE",
    "model": "FREE",
    "instructions": "FREE",
    "metadata": {CANARIES[0]: "FREE"},
    "tools": [FREE_TOOL],
    "output": [FREE_ITEM, {"type": "FREE", "tools": [FREE_TOOL]}],
    "error": {"code": "FREE", "message": "FREE"},
    "incomplete_details": {"reason": "FREE"},
    "tool_usage": {"image_gen": {"input_tokens": "FREE", CANARIES[0]: 1}},
}


@pytest.mark.parametrize("by", [GATE, OBSERVING], ids=["enforce", "observe"])
def test_no_canary_of_an_answer_sings(by: Gate) -> None:
    """Not in any record, and not in the error that ends a stream."""
    parts = [
        event("response.created", response=plant(FREE_RESPONSE)),
        call("generating", 1, prompt=FREE),
        event("response.output_item.done", output_index=0, item=plant(FREE_ITEM)),
        event("error", code=FREE, message=FREE, error=plant({"type": "FREE"})),
        event("response.failed", response=plant(FREE_RESPONSE)),
        f"data: {FREE}\n\n".encode(),
    ]
    stream, whole = begun(exchange(by=by)), begun(exchange(by=by), "application/json")

    fed = [stream.feed(part) for part in parts] + [stream.close()]
    fed += [whole.feed(json.dumps(plant(FREE_RESPONSE)).encode()), whole.close()]

    cuts: list[Cut] = [each.cut for each in fed if each.cut is not None]
    said = msgspec.json.encode([each.records for each in fed])
    said += b"".join(cut.error for cut in cuts)
    assert len([record for each in fed for record in each.records]) > 3
    assert [canary for canary in CANARIES if canary.encode() in said] == []
