"""What one JSON text means: every shape the providers are known to send."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.events import (
    EchoedTool,
    Event,
    FinishedItem,
    ImageEvent,
    ImageUsage,
    ItemAdded,
    PartialImage,
    Payload,
    ResponseEvent,
    StreamError,
    ToolsAdded,
    Undecodable,
    Unobservable,
)
from imagegate.engine.meaning import read_answer, read_event, read_made
from imagegate.engine.reducer import Message, message

CALL = "response.image_generation_call."
PNG = "iVBORw0KGgoAAAANSUhEUgAABgAAAAQACAIAAADACqoC"
IMAGE = Payload(length=len(PNG), media="png", dimensions="1536x1024")
SETTINGS = {
    "size": "1536x1024",
    "quality": "low",
    "background": "opaque",
    "output_format": "png",
}
TOOL = {
    "type": "image_generation",
    "background": "auto",
    "moderation": "auto",
    "n": 1,
    "output_compression": 100,
    "output_format": "webp",
    "quality": "low",
    "size": "auto",
}
ITEM = {
    "id": "ig_0a",
    "type": "image_generation_call",
    "status": "generating",
    "action": "generate",
    "revised_prompt": "A grey tabby cat",
    "result": PNG,
    **SETTINGS,
}


def read(value: object) -> tuple[Event, ...]:
    found = read_event(message(json.dumps(value).encode()), end=7)
    assert all(event.end == 7 for event in found)
    return found


def answer(value: object) -> tuple[Event, ...]:
    return read_answer(message(json.dumps(value).encode()), end=7)


@pytest.mark.parametrize("turn", ["in_progress", "generating", "completed", "new"])
def test_a_turn_of_an_image_call(turn: str) -> None:
    """A turn that is new to us is reported under its own name."""
    event = {"sequence_number": 4, "output_index": 0, "item_id": "ig_0a"}

    assert read({"type": CALL + turn, **event}) == (
        ImageEvent(
            type=CALL + turn, sequence_number=4, output_index=0, item_id="ig_0a", end=7
        ),
    )


def test_a_partial_image() -> None:
    """Where it belongs, by which it is counted; what it shows is nobody's business."""
    event = {
        "type": CALL + "partial_image",
        "sequence_number": 5,
        "output_index": 0,
        "item_id": "ig_0a",
        "partial_image_index": 0,
        "partial_image_b64": PNG,
        **SETTINGS,
    }

    assert read(event) == (
        PartialImage(
            type=CALL + "partial_image",
            sequence_number=5,
            output_index=0,
            item_id="ig_0a",
            end=7,
        ),
    )


def test_a_partial_image_may_lack_all_but_its_type() -> None:
    """One without a name is counted with those to come."""
    assert read({"type": CALL + "partial_image"}) == (
        PartialImage(type=CALL + "partial_image", end=7),
    )


@pytest.mark.parametrize("family", ["image_generation", "image_edit"])
def test_the_images_api_streams_the_same_facts(family: str) -> None:
    """Its final event is a finished item with its usage."""
    usage = {"input_tokens": 50, "output_tokens": 196, "total_tokens": 246}
    partial = {"type": f"{family}.partial_image", "b64_json": PNG}
    final = {"type": f"{family}.completed", "b64_json": PNG, "usage": usage}

    assert read(partial) == (PartialImage(type=f"{family}.partial_image", end=7),)
    assert read(final | SETTINGS) == (
        FinishedItem(
            type=f"{family}.completed",
            image=IMAGE,
            usage=ImageUsage(input_tokens=50, output_tokens=196, total_tokens=246),
            size="1536x1024",
            quality="low",
            background="opaque",
            output_format="png",
            end=7,
        ),
    )


def finished(kind: str, **more: Any) -> FinishedItem:
    return FinishedItem(
        type=kind,
        output_index=0,
        item_id="ig_0a",
        status="generating",
        action="generate",
        image=IMAGE,
        size="1536x1024",
        quality="low",
        background="opaque",
        output_format="png",
        end=7,
        **more,
    )


def test_an_item_is_added() -> None:
    """Before there is an image."""
    item = {"id": "ig_0a", "type": "image_generation_call", "status": "in_progress"}
    event = {"type": "response.output_item.added", "output_index": 0, "item": item}

    assert read(event) == (ItemAdded(output_index=0, item_id="ig_0a", end=7),)


def test_a_finished_item_is_known_by_its_result() -> None:
    """`status: generating` on a finished item is ordinary."""
    event = {
        "type": "response.output_item.done",
        "sequence_number": 7,
        "output_index": 0,
        "item": ITEM,
    }

    assert read(event) == (finished("response.output_item.done", sequence_number=7),)


def test_a_failed_item_has_no_result_and_a_code() -> None:
    """The message is not kept."""
    error = {"code": "moderation_blocked", "message": "your prompt …", "type": "x"}
    item = {"id": "ig", "type": "image_generation_call", "result": None}
    event = {
        "type": "response.output_item.done",
        "item": item | {"error": error, "status": "failed"},
    }

    (found,) = read(event)

    assert found == FinishedItem(
        type="response.output_item.done",
        item_id="ig",
        status="failed",
        error_code="moderation_blocked",
        end=7,
    )
    assert isinstance(found, FinishedItem)
    assert not found.has_result


@pytest.mark.parametrize("kind", ["additional_tools", "tool_search_output"])
@pytest.mark.parametrize("turn", ["added", "done"])
def test_an_item_that_brings_image_tools(kind: str, turn: str) -> None:
    """Tools may come in the middle of a stream."""
    item = {"id": "at_1", "type": kind, "tools": [{"type": "function"}, TOOL]}
    event = {"type": f"response.output_item.{turn}", "output_index": 2, "item": item}

    assert read(event) == (
        ToolsAdded(
            output_index=2,
            item_id="at_1",
            tools=(EchoedTool(at="tools[1]", settings=TOOL),),
            end=7,
        ),
    )


@pytest.mark.parametrize("item", [{"type": "message"}, {"tools": [{}]}, None, [], "x"])
def test_another_item_says_nothing(item: object) -> None:
    """Nor does one without the kind that was promised."""
    assert read({"type": "response.output_item.done", "item": item}) == ()


@pytest.mark.parametrize(
    "turn", ["created", "queued", "in_progress", "completed", "failed", "incomplete"]
)
def test_a_response_at_a_turn_of_its_life(turn: str) -> None:
    """Everything an auditor asks of the Response object."""
    details = {"image_tokens": 0, "text_tokens": 40}
    spent = {
        "input_tokens": 40,
        "input_tokens_details": details,
        "output_tokens": 196,
        "output_tokens_details": {"image_tokens": 196, "text_tokens": 0},
        "total_tokens": 236,
        "cached_tokens": 3,
    }
    response = {
        "id": "resp_0a",
        "status": turn,
        "background": False,
        "model": "gpt-6-astra",
        "error": {"code": "server_error", "message": "…"},
        "incomplete_details": {"reason": "content_filter"},
        "output": [ITEM, {"type": "message"}, {"no": "type"}],
        "tools": [TOOL],
        "tool_usage": {"image_gen": spent, "web_search": {"num_requests": 0}},
    }
    kind = "response." + turn

    assert read({"type": kind, "sequence_number": 8, "response": response}) == (
        finished(kind, sequence_number=8),
        ResponseEvent(
            type=kind,
            sequence_number=8,
            response_id="resp_0a",
            status=turn,
            background=False,
            model="gpt-6-astra",
            tools=(EchoedTool(at="tools[0]", settings=TOOL),),
            output=("image_generation_call", "message", ""),
            items=("ig_0a",),
            usage=ImageUsage(
                input_tokens=40,
                output_tokens=196,
                total_tokens=236,
                input_image_tokens=0,
                input_text_tokens=40,
                output_image_tokens=196,
                output_text_tokens=0,
                cached_tokens=3,
            ),
            error_code="server_error",
            incomplete_reason="content_filter",
            end=7,
        ),
    )


@pytest.mark.parametrize("response", [None, {}, [], "x", {"tools": {}, "output": 1}])
def test_a_bare_response_is_still_a_turn(response: object) -> None:
    """What is absent is None, the turn itself is told."""
    assert read({"type": "response.completed", "response": response}) == (
        ResponseEvent(type="response.completed", end=7),
    )


def echo(*tools: object) -> ResponseEvent:
    event = {"type": "response.created", "response": {"tools": tools, "output": []}}
    (found,) = read(event)
    assert isinstance(found, ResponseEvent)
    return found


def test_no_image_tool_is_not_no_echo() -> None:
    """An empty tuple says that tools were echoed."""
    assert echo({"type": "function"}).tools == ()
    assert echo().tools == ()
    assert echo().output == ()


def test_tools_in_the_output_are_told_apart() -> None:
    """They were not in the echo of the request."""
    response = {
        "output": [{"type": "message"}, {"type": "additional_tools", "tools": [TOOL]}]
    }
    (found,) = read({"type": "response.completed", "response": response})

    assert found == ResponseEvent(
        type="response.completed",
        output=("message", "additional_tools"),
        output_tools=(EchoedTool(at="output[1].tools[0]", settings=TOOL),),
        end=7,
    )


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(
            {"type": "error", "code": "c", "message": "m", "param": "p"}, id="flat"
        ),
        pytest.param(
            {"type": "error", "error": {"code": "c", "message": "m", "param": "p"}},
            id="nested",
        ),
        pytest.param({"error": {"code": "c", "message": "m", "param": "p"}}, id="bare"),
    ],
)  # fmt: skip
def test_an_error_in_every_form(event: dict[str, object]) -> None:
    """The message may quote a prompt and is not kept."""
    assert read(event) == (StreamError(code="c", end=7),)


def test_a_nested_error_says_its_type() -> None:
    """The flat form has no place for one."""
    error = {"type": "image_generation_user_error", "code": "moderation_blocked"}

    assert read({"type": "error", "sequence_number": 2, "error": error}) == (
        StreamError(
            sequence_number=2,
            code="moderation_blocked",
            error_type="image_generation_user_error",
            end=7,
        ),
    )


@pytest.mark.parametrize(
    ("said", "status"), [(429, 429), (599, 599), (99, None), (10**6, None), ("x", None)]
)
def test_an_error_on_a_websocket_says_its_status(
    said: object, status: int | None
) -> None:
    """It is what an answer over HTTP would have."""
    event = {"type": "error", "status": said, "error": {"code": "c"}}

    assert read(event) == (StreamError(code="c", status=status, end=7),)


@pytest.mark.parametrize(
    "value",
    [{}, {"type": None}, {"type": 7}, {"type": "response.output_text.done"},
     {"type": "keepalive"}, {"object": "chat.completion.chunk"}],
)  # fmt: skip
def test_any_other_event_says_nothing(value: object) -> None:
    """Unknown types pass in silence."""
    assert read(value) == ()


TOOLS = (
    b'{"type":"response.created","object":"response","tools":[%b],'
    b'"response":{"tools":[%b]}}'
)


def test_a_delta_says_nothing() -> None:
    """Nor need the rest of it be JSON."""
    text = b'{"type":"response.output_text.delta","delta":"a"'

    assert read_event(message(text)) == ()


def test_items_of_a_conversation_are_told() -> None:
    """An image made in the background may be read there and nowhere else."""
    message_item = {"id": "msg_1", "type": "message", "content": []}
    items = {"object": "list", "data": [message_item, ITEM, 1, "x"], "has_more": False}
    (alone,) = answer(ITEM)
    (listed,) = answer(items)
    compact = {"id": "resp_c", "object": "response.compaction", "output": items["data"]}

    assert answer(compact) == (listed,)
    assert isinstance(alone, FinishedItem)
    assert isinstance(listed, FinishedItem)
    assert (alone.type, alone.item_id, alone.has_result) == ("items", "ig_0a", True)
    assert (listed.type, listed.item_id, listed.output_index) == ("items", "ig_0a", 1)
    assert listed.size == SETTINGS["size"]


@pytest.mark.parametrize(
    "said", [{"object": "list"}, {"object": "list", "data": {"0": ITEM}}, {"data": []}]
)
def test_a_list_without_items_tells_nothing(said: dict[str, Any]) -> None:
    """Models are listed too, and files."""
    assert answer(said) == ()


@pytest.mark.parametrize("text", [b"[DONE]", b"", b"  ", b" [DONE] "])
def test_the_sentinel_is_silent(text: bytes) -> None:
    """It is an ordinary part of a stream."""
    assert read_event(message(text)) == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "not_json"),
        (b"null", "not_an_object"),
        (b'"{}"', "not_an_object"),
        (TOOLS.replace(b"%b", b"9" * 5_000), "not_json"),
        (b"[" * 50_000 + b"]" * 50_000, "too_deep"),
    ],
)
def test_what_is_no_object_is_told(text: bytes, reason: Any) -> None:
    """In streams and in answers alike."""
    told = Undecodable(reason=reason, length=len(text), end=7)

    assert read_event(message(text), end=7) == (told,)
    assert read_answer(message(text), end=7) == (told,)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b'{"type":"response.completed","a":', "response.completed"),
        (b' { "type" : "response.output_item.done" ,', "response.output_item.done"),
        (b'{"type":"' + CALL.encode() + b'x",', CALL + "x"),
        (b'{"a":1', None),
    ],
)
def test_what_was_given_up_is_told_if_it_could_matter(
    text: bytes, kind: str | None
) -> None:
    """Its type is told when it came first."""
    given_up = Message(text=text, length=9_000_000, whole=False)

    assert read_event(given_up, end=7, incomplete=True) == (
        Unobservable(type=kind, length=9_000_000, end=7, incomplete=True),
    )


def test_what_was_given_up_and_cannot_matter_is_silent() -> None:
    """Such as a text with its log probabilities."""
    given_up = Message(
        text=b'{"type":"response.output_text.done"', length=9_000_000, whole=False
    )

    assert read_event(given_up) == ()


def test_a_queued_answer() -> None:
    """A background response is judged by its echo before the work starts."""
    response = {
        "object": "response",
        "id": "resp_0a",
        "status": "queued",
        "background": True,
        "output": [],
        "tools": [TOOL],
    }

    assert answer(response) == (
        ResponseEvent(
            type="response",
            response_id="resp_0a",
            status="queued",
            background=True,
            output=(),
            tools=(EchoedTool(at="tools[0]", settings=TOOL),),
            end=7,
        ),
    )


def test_a_finished_answer() -> None:
    """Its items come before it, in the order of the output."""
    events = answer({"object": "response", "error": None, "output": [ITEM]})

    assert events == (
        finished("response"),
        ResponseEvent(
            type="response", output=("image_generation_call",), items=("ig_0a",), end=7
        ),
    )


def test_items_are_named_by_ids_that_somebody_can_refer_to() -> None:
    """What was cut short names nothing, and might name too much."""
    idents = ["rs_1", None, 7, "", "x" * 1025, "\0", "msg_1", "x" * 1024]
    output = [{"type": "message", "id": ident} for ident in idents]
    (found,) = answer({"object": "response", "output": [{}, *output]})

    assert isinstance(found, ResponseEvent)
    assert found.items == ("rs_1", "msg_1", "x" * 1024)


def test_an_images_answer() -> None:
    """The settings are said once, and an entry may say its own."""
    body = {
        "created": 1790000000,
        "data": [{"b64_json": PNG}, {"url": "https://…", "size": "1024x1024"}, None],
        "quality": "low",
        "size": "1536x1024",
    }

    assert answer(body) == (
        FinishedItem(
            type="images", output_index=0, image=IMAGE, quality="low",
            size="1536x1024", end=7,
        ),
        FinishedItem(
            type="images", output_index=1, elsewhere=True, quality="low",
            size="1024x1024", end=7,
        ),
        FinishedItem(
            type="images", output_index=2, quality="low", size="1536x1024", end=7
        ),
    )  # fmt: skip


def test_an_images_answer_says_once_what_all_of_it_took() -> None:
    usage = {"input_tokens": 40, "output_tokens": 544, "total_tokens": 584}
    body = {"created": 1, "data": [{"b64_json": PNG}, {"b64_json": PNG}]}

    *made, told = answer({**body, "usage": usage})

    assert len(made) == 2
    assert told == ResponseEvent(type="images", usage=ImageUsage(**usage), end=7)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'{"object":"response","id":"r","output":[%b,{"a', 2),
        (b'{"object":"response","id":"r","output":[%b],"b":tr', 2),
        (b'{"created":1,"data":[{"b64_json":"iVBORw0KGgo', 1),
        (b'{"object":"response","id":"r","output":[{"type":"message","c', 0),
        (b'{"object":"response","a":', 0),
        (b'{"a":', 0),
    ],
)
def test_images_of_an_answer_that_breaks_off(text: bytes, told: int) -> None:
    """They are told with the name of the answer; nothing else of it is believed."""
    found = read_answer(message(text.replace(b"%b", json.dumps(ITEM).encode())), end=7)

    *made, last = found
    assert isinstance(last, Undecodable)
    assert len(made) == told
    assert all(isinstance(each, FinishedItem) for each in made[:1])
    assert made[1:] == [
        ResponseEvent(type="response", response_id="r", end=7, incomplete=True)
    ] * (told - 1 if told else 0)


_PICTURE = b'{"type":"%s","b64_json":"iVBORw0KGgo'
_PART = b'{"type":"%spartial_image","item_id":"ig_1","partial_image_b64":"iVBORw0KGgo'
_UNTYPED = b'{"b64_json":"iVBORw0KGgo'
_ITEM_DONE = b'{"type":"response.output_item.done","output_index":3,"item":%b'


@pytest.mark.parametrize("rest", [b"", b'","size":"10', b'","size":"1024x1024"'])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        (_PICTURE % b"image_generation.completed", [FinishedItem]),
        (_PICTURE % b"image_edit.completed", [FinishedItem]),
        (_PART % CALL.encode(), [PartialImage]),
        (_ITEM_DONE % json.dumps(ITEM).encode()[:-80], [FinishedItem]),
        (_PICTURE % b"response.created", []),
        (_UNTYPED, [FinishedItem]),
        (b'{"item":{"id":"ig_1","result":"iVBORw0KGgo', [FinishedItem]),
        (b'{"item":{"id":"ig_1","output":"iVBORw0KGgo', []),
        (b'{"item":{"result":1,"b":"', []),
    ],
)
def test_images_of_an_event_that_breaks_off(
    text: bytes, told: list[type], rest: bytes
) -> None:
    """Of the Images API one event has all of a picture, and none comes before."""
    found = read_event(message(text + rest), end=7, incomplete=True)

    *made, last = found
    assert isinstance(last, Undecodable)
    assert [type(each) for each in made] == told
    assert [each.end for each in found] == [7] * len(found)
    assert read_event(message(text + rest), end=7)[:-1] == ()


def test_an_error_answer() -> None:
    """The same value as in a stream."""
    body = {"error": {"type": "invalid_request_error", "code": "c", "param": "tools"}}

    assert answer(body) == (
        StreamError(code="c", error_type="invalid_request_error", end=7),
    )


@pytest.mark.parametrize("value", [{}, {"object": "list", "data": []}])
def test_another_answer_says_nothing(value: object) -> None:
    """Such as a list of input items."""
    assert answer(value) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    | st.sampled_from(["image_generation_call", "image_generation", "\0", "\x000"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from([
            "type", "tools", "output", "result", "error", "id", "tool_usage",
            "image_gen", "response", "item", "object", "data", "created",
            "partial_image_b64", "input_tokens_details", "sequence_number",
        ]),
        inner,
        max_size=6,
    ),
    max_leaves=12,
)  # fmt: skip


@given(
    kind=st.sampled_from([
        "response.created", CALL + "partial_image", "response.output_item.done",
        "image_edit.completed", "error",
    ]),
    more=st.dictionaries(
        st.sampled_from(["response", "item", "error", "partial_image_b64"]), JSON
    ),
    whole=JSON,
)  # fmt: skip
def test_any_json_is_read(kind: str, more: dict[str, Any], whole: Any) -> None:
    """No value of an unexpected kind raises, or hides the event."""
    assert read({**more, "type": kind}) or kind == "response.output_item.done"
    answer(whole)


# -- what a batch made ----------------------------------------------------------------


def made(body: object) -> tuple[Event, ...] | None:
    line = {"custom_id": "a", "response": {"body": body}}
    return read_made(message(json.dumps(line).encode()), end=7)


def test_a_line_of_a_batch_tells_its_images_and_whose_they_are() -> None:
    response = {"object": "response", "id": "resp_1", "output": [{}, ITEM]}
    found = made(response)

    assert found is not None
    [image] = found
    assert isinstance(image, FinishedItem)
    assert (image.type, image.response_id, image.end) == ("batch", "resp_1", 7)
    assert (image.item_id, image.output_index, image.image) == ("ig_0a", 1, IMAGE)


def test_images_without_names_have_no_place_that_another_line_has_too() -> None:
    found = made({"created": 1, "data": [{"b64_json": PNG}, {"b64_json": PNG}]})

    assert found is not None
    assert [getattr(each, "output_index", 7) for each in found] == [None, None]


@pytest.mark.parametrize("body", [None, [], {}, {"error": {"code": "x"}}, "text"])
def test_a_line_without_images_tells_nothing(body: object) -> None:
    assert made(body) == ()


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"a":1}', b"[" * 100_000])
def test_what_is_no_line_of_a_batch_is_known_as_such(line: bytes) -> None:
    assert read_made(message(line)) is None


def test_a_line_of_which_too_little_was_kept_is_told_as_unread() -> None:
    lost = Message(text=b'{"custom_id":', length=9, whole=False)
    assert read_made(lost, end=3) == (Unobservable(type=None, length=9, end=3),)


def test_a_line_of_a_batch_that_breaks_off_tells_the_images_that_came() -> None:
    response = {"object": "response", "id": "resp_1", "output": [ITEM]}
    whole = json.dumps({"custom_id": "a", "response": {"body": response}}).encode()
    found = read_made(message(whole[:-2]), end=7)

    assert found is not None
    image, lost = found
    assert isinstance(image, FinishedItem)
    assert (image.item_id, image.response_id) == ("ig_0a", "resp_1")
    assert isinstance(lost, Undecodable)
