"""A scanner for each kind of answer, with one interface."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from imagegate.engine.events import (
    FinishedItem,
    ImageEvent,
    Payload,
    ResponseEvent,
    Undecodable,
    Unobservable,
)
from imagegate.engine.scanner import (
    JsonScanner,
    Scanner,
    read_message,
    scanner_for,
)
from imagegate.engine.sse import SseScanner


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("text/event-stream", SseScanner),
        ("Text/Event-Stream ; charset=utf-8", SseScanner),
        ("application/json", JsonScanner),
        ("application/json; charset=utf-8", JsonScanner),
        ("application/problem+json", JsonScanner),
        ("text/html", type(None)),
        ("image/png", type(None)),
        ("", type(None)),
    ],
)
def test_the_content_type_chooses(content_type: str, kind: type) -> None:
    """Parameters and case make no difference."""
    assert type(scanner_for(content_type)) is kind


@pytest.mark.parametrize("size", [1 << 30, 65536, 1000, 1])
def test_a_json_answer_is_told_at_its_end(size: int) -> None:
    """However it came, and with an image of any length."""
    result = "QUJD" * (200 if size == 1 else 250_000)
    item = {"type": "image_generation_call", "result": result, "id": "ig"}
    answer = {"object": "response", "id": "r", "status": "completed", "output": [item]}
    body = json.dumps(answer).encode()
    scanner: Scanner = JsonScanner()

    early = [scanner.feed(body[at : at + size]) for at in range(0, len(body), size)]
    assert not any(early)
    assert scanner.close() == [
        FinishedItem(
            type="response",
            output_index=0,
            item_id="ig",
            image=Payload(length=len(result)),
            end=len(body),
        ),
        ResponseEvent(
            type="response",
            response_id="r",
            status="completed",
            output=("image_generation_call",),
            items=("ig",),
            end=len(body),
        ),
    ]
    assert scanner.close() == []


@pytest.mark.parametrize("size", [1400, 64 * 1024])
@pytest.mark.parametrize("unit", [b"A", b'"a":1,', b"["])
def test_an_answer_of_any_length_takes_bounded_memory(unit: bytes, size: int) -> None:
    """An image of 45 MB is ordinary; anything else is given up in time."""
    scanner, piece = JsonScanner(), unit * (size // len(unit))
    scanner.feed(b'{"object":"response","output":[{"result":"')
    tracemalloc.start()
    for _ in range((45_000_000 if size > 1400 else 4_000_000) // size):
        scanner.feed(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1_500_000


def test_a_string_goes_on_behind_an_escaped_quote() -> None:
    """Wherever the chunks are cut, and however long it is."""
    scanner = JsonScanner()
    chunks = [
        b'{"object":"response","id":"r","output":[{"type":"image_generation_call",'
        b'"result":"' + b"A" * 20_000,
        *[b"A" * 999 + b"\\", b'"'] * 3,
        b"A" * 1000,
        b'"}]}',
    ]
    for chunk in chunks:
        scanner.feed(chunk)

    item, _ = scanner.close()
    assert isinstance(item, FinishedItem)
    assert item.image == Payload(length=20_000 + 3 * 1001 + 1000)


def test_an_answer_that_broke_off_in_a_long_string_is_told() -> None:
    """With all that came of it, read or not."""
    scanner = JsonScanner()
    for chunk in (b'{"longer":"', b"A" * 20_000, b"A" * 5_000):
        scanner.feed(chunk)

    told = Undecodable(reason="not_json", length=25_011, end=25_011)
    assert scanner.close() == [told]


def test_an_answer_that_broke_off_is_told() -> None:
    """Half a JSON object is none."""
    scanner = JsonScanner()
    scanner.feed(b'{"object":"response"')

    assert scanner.close() == [Undecodable(reason="not_json", length=20, end=20)]
    assert scanner.feed(b"}") == []


def test_images_of_an_answer_that_breaks_off_are_told_as_far_as_they_came() -> None:
    """Whoever was sent the first of two may leave before the second is through."""
    image = {"type": "image_generation_call", "result": "iVBORw0KGgo" + "A" * 9_000}
    output = [{"id": f"ig_{number}", **image} for number in range(2)]
    said = {"id": "resp_1", "object": "response", "status": "completed"}
    data = json.dumps({**said, "output": output, "tools": []}).encode()

    for end in (*range(1, len(data), 997), len(data) - 1):
        scanner = JsonScanner()
        scanner.feed(data[:end])
        *told, last = scanner.close()
        made = [item for item in told if isinstance(item, FinishedItem)]
        assert isinstance(last, Undecodable)
        assert sum(item.has_result for item in made) == data[:end].count(b'"result": "')
        names = [each.response_id for each in told if isinstance(each, ResponseEvent)]
        assert names == ["resp_1"] * bool(made)
        assert all(each.incomplete for each in told)


def test_images_are_told_whatever_is_said_behind_them() -> None:
    """Echoed tools can be more than is kept of an answer."""
    image = {"type": "image_generation_call", "id": "ig_1", "result": "A" * 9_000}
    tools = [{"type": "function", "description": "x" * 4_000}] * 200
    said = {"object": "response", "id": "resp_1", "output": [image], "tools": tools}
    scanner = JsonScanner()
    scanner.feed(json.dumps(said).encode())

    item, response, last = scanner.close()

    assert isinstance(item, FinishedItem)
    assert isinstance(response, ResponseEvent)
    assert isinstance(last, Unobservable)
    assert (item.item_id, item.image) == ("ig_1", Payload(length=9_000))
    assert (response.response_id, response.status) == ("resp_1", None)


def test_an_empty_answer_says_nothing() -> None:
    """As a 204 or a HEAD has it."""
    assert JsonScanner().close() == []


def test_a_whole_message_is_one_event() -> None:
    """Framing is not this room's business."""
    data = b'{"type":"response.image_generation_call.generating","item_id":"ig"}'

    assert read_message(data) == (
        ImageEvent(
            type="response.image_generation_call.generating",
            item_id="ig",
            end=len(data),
        ),
    )


# -- files ---------------------------------------------------------------------------

IMAGE = "iVBORw0KGgo" + "A" * 9000


def made(name: str, body: object, **more: object) -> bytes:
    """Write a line of what a batch made."""
    answer = {"status_code": 200, "request_id": "req_1", "body": body}
    whole = {"id": "batch_req_1", "custom_id": name, "response": answer, "error": None}
    return json.dumps(whole | more).encode()


def call(name: str, **more: object) -> dict[str, Any]:
    done = {"status": "completed", "quality": "low", "result": IMAGE}
    return {"type": "image_generation_call", "id": name, **done, **more}


def answer(name: str, *output: object) -> dict[str, Any]:
    return {"id": name, "object": "response", "output": [*output]}


PICTURES = {"created": 1, "quality": "high", "data": [{"b64_json": IMAGE}] * 2}
FILE = b"\n".join(
    [
        made("a", answer("resp_1", {"type": "message"}, call("ig_1"), call("ig_2"))),
        made("b", answer("resp_2", call("ig_3"))),
        b"",
        made("c", {"error": {"code": "server_error"}}, error=None),
        made("d", None, response=None, error={"code": "batch_expired"}),
        made("e", PICTURES),
        b"",
    ]
)


@pytest.mark.parametrize("size", [1 << 30, 4096, 1000, 7])
@pytest.mark.parametrize("tail", [b"", b"\n"])
def test_a_file_tells_what_a_batch_made(size: int, tail: bytes) -> None:
    scanner = scanner_for("application/octet-stream", lines=True)
    assert scanner is not None
    data = FILE.rstrip() + tail

    events: list[Any] = []
    for at in range(0, len(data), size):
        events += scanner.feed(data[at : at + size])
    events += scanner.close()

    told = [(x.item_id, x.response_id, x.quality, x.image.length) for x in events]
    assert told == [
        ("ig_1", "resp_1", "low", len(IMAGE)),
        ("ig_2", "resp_1", "low", len(IMAGE)),
        ("ig_3", "resp_2", "low", len(IMAGE)),
        (None, None, "high", len(IMAGE)),
        (None, None, "high", len(IMAGE)),
    ]
    assert {x.type for x in events} == {"batch"}
    assert [x.output_index for x in events] == [1, 2, 0, None, None]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"\x89PNG\r\n\x1a\n" + FILE,
        b'{"custom_id":',
        b"[1]\n" + FILE,
        b'{"messages": []}\n' + FILE,
        b"[" * 100_000 + b"\n" + FILE,
    ],
)
def test_any_other_file_goes_by(data: bytes) -> None:
    scanner = scanner_for("application/json", lines=True)
    assert scanner is not None
    assert [*scanner.feed(data), *scanner.feed(b"more"), *scanner.close()] == []


def test_a_line_that_says_too_much_is_told_as_unread() -> None:
    scanner = scanner_for("", lines=True)
    assert scanner is not None
    long = made("a", answer("resp_1", *[call("ig_1", strange=1)] * 20_000))

    *_, event, after = scanner.feed(
        long + b"\n" + made("b", answer("r", call("ig"))) + b"\n"
    )
    assert isinstance(event, Unobservable)
    assert isinstance(after, FinishedItem)


def test_a_line_that_breaks_off_tells_the_images_that_came() -> None:
    whole = made("a", answer("resp_1", call("ig_1"), call("ig_2")))
    for cut in range(whole.rindex(b'"result"') + 12, len(whole)):
        scanner = scanner_for("", lines=True)
        assert scanner is not None

        events: list[Any] = [*scanner.feed(whole[:cut]), *scanner.close()]

        *images, lost = events
        assert isinstance(lost, Undecodable)
        told = [(x.item_id, x.response_id) for x in images if x.type == "batch"]
        assert told == [("ig_1", "resp_1"), ("ig_2", "resp_1")], cut


@pytest.mark.parametrize("junk", [b"{bad", b"[1]", b'{"a":1}', b"junk"])
def test_a_line_that_nobody_reads_hides_no_other(junk: bytes) -> None:
    scanner = scanner_for("", lines=True)
    assert scanner is not None
    lines = [made(n, answer(f"resp_{n}", call(f"ig_{n}"))) for n in "ab"]

    one, lost, two = scanner.feed(b"\n".join([lines[0], junk, lines[1], b""]))
    assert [getattr(x, "item_id", 0) for x in (one, two)] == ["ig_a", "ig_b"]
    assert isinstance(lost, Undecodable)
