"""Batch files: each line judged at its own door, and no way to hide another line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asking import CATALOGUE, TODAY, door, encode, policy, request, tool
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine import batch
from imagegate.engine.batch import Judged, Staged, staged_by
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block, Change, Forward, Rewrite, Violation
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.form import Form, read_form
from imagegate.engine.request import Request

UPLOAD = "POST /v1/files"
CAP = "settings: { quality: { max: medium, default: medium, otherwise: lower } }\n"
BLOCK = "settings: { quality: { max: medium, default: medium, otherwise: block } }\n"
NO_END = "what could be the end of a line is not escaped"


def line(body: object, name: str = "a", url: str = "/v1/responses") -> bytes:
    return encode({"custom_id": name, "method": "POST", "url": url, "body": body})


def image(quality: str = "high", **members: object) -> dict[str, Any]:
    return request(tool(quality=quality), **members)


def form(content: bytes, purpose: str = "batch") -> Form:
    parts = [
        b'name="purpose"\r\n\r\n' + purpose.encode(),
        b'name="file"; filename="batch.jsonl"\r\n\r\n' + content,
    ]
    start = b"--b\r\nContent-Disposition: form-data; "
    data = b"".join(start + part + b"\r\n" for part in parts) + b"--b--\r\n"
    found = run(read_form(data, b"b"))
    assert isinstance(found, Form)
    return found


def run(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def judged(content: bytes, rules: str = "", at: str = UPLOAD) -> Judged:
    match, decider = door(at), Decider(policy(rules), CATALOGUE)
    upload = Request(match=match, date=TODAY)
    staged = staged_by(form(content), match)
    assert staged is not None
    found = run(staged.judged(upload, decider.decide))
    assert isinstance(found, Judged)
    return found


def sent(found: Judged) -> bytes:
    return b"".join(map(bytes, found.content))


def said(found: Judged) -> list[Change | Violation]:
    decision = found.decision
    match decision:
        case Block():
            return [*decision.violations]
        case Rewrite():
            return [*decision.changes]
        case _:
            return []


# -- judging ------------------------------------------------------------------------


def test_lines_that_keep_to_the_policy_go_on_as_they_came() -> None:
    content = line(image("low"), "a") + b"\n" + line({"input": "x"}, "b") + b"\n"
    found = judged(content, CAP)

    assert isinstance(found.decision, Rewrite | Forward)
    assert sent(judged(content)) == content
    assert isinstance(judged(content).decision, Forward)
    assert found.url == "/v1/responses"


def test_each_line_is_brought_down_where_it_asks_for_too_much() -> None:
    lines = [line(image(quality), quality) for quality in ("high", "low", "high")]
    found = judged(b"\n".join(lines), CAP)
    told = [json.loads(each) for each in sent(found).splitlines()]

    assert [x["body"]["tools"][0]["quality"] for x in told] == [
        "medium",
        "low",
        "medium",
    ]
    assert [x["custom_id"] for x in told] == ["high", "low", "high"]
    assert [(x.pointer, x.field) for x in said(found)] == [
        ("/file/1/body/tools/0/quality", "quality"),
        ("/file/3/body/tools/0/quality", "quality"),
    ]
    tools = [x.pointer for x in found.decision.tools]
    assert tools == [f"/file/{number}/body/tools/0" for number in (1, 2, 3)]


def test_one_line_that_is_refused_refuses_the_file_and_names_itself() -> None:
    found = judged(line(image("low")) + b"\n" + line(image("high")), BLOCK)

    assert isinstance(found.decision, Block)
    (violation,) = said(found)
    assert violation.pointer == "/file/2/body/tools/0/quality"
    assert violation.message.startswith("line 2: ")


def test_what_only_is_observed_names_its_line() -> None:
    rule = "{ max: medium, default: medium, otherwise: block, mode: observe }"
    found = judged(line(image()), f"settings: {{ quality: {rule} }}\n")

    (observed,) = found.decision.observed
    assert isinstance(found.decision, Forward)
    assert observed.pointer.startswith("/file/1/body/")


def test_lines_of_the_images_api_are_judged_at_its_door() -> None:
    body = {"model": "gpt-image-2", "prompt": "a cat", "quality": "high"}
    found = judged(line(body, url="/v1/images/generations"), CAP)

    assert json.loads(sent(found))["body"]["quality"] == "medium"


def test_a_line_for_a_closed_route_is_refused_and_for_an_open_one_goes_on() -> None:
    chat = line({"model": "gpt-5", "messages": []}, url="/v1/chat/completions")
    refused = judged(chat, "surface: { chat_completions: refuse }")

    assert sent(judged(chat)) == chat + b"\n"
    assert [x.by.rule for x in said(refused)] == ["surface.chat_completions"]


def test_lines_that_hold_nothing_are_left_out_and_counted() -> None:
    one = line(image())
    found = judged(b"\r\n" + one + b"\n\n \t\n" + one + b"\n\n", CAP)
    assert sent(found).count(b"\n") == 2
    places = [each.pointer.partition("/body")[0] for each in said(found)]
    assert places == ["/file/2", "/file/5"]


def test_a_project_has_batches_as_well() -> None:
    at = "POST /api/projects/p/openai/v1/files"
    assert judged(line(image()), CAP, at).url == "/v1/responses"


@pytest.mark.parametrize("url", ["/v1/responses", "/responses"])
def test_azure_spells_routes_in_its_own_way(url: str) -> None:
    for at in ("POST /openai/files", "POST /openai/v1/files"):
        assert judged(line({"input": "x"}, url=url), at=at).url == url


def test_a_line_cannot_have_the_header_that_would_name_a_deployment() -> None:
    rules = """
    models: { gpt-image-2: {}, default: gpt-image-2 }
    deployments: { two: gpt-image-2 }
    """
    found = judged(line(request(tool(model="two"))), rules, "POST /openai/v1/files")

    assert isinstance(found.decision, Block)
    assert [x.by.rule for x in said(found)] == ["always.header"]


# -- reading ------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("between", [b"\n", b"\r\n"])
def test_lines_may_end_as_lines_do(ending: bytes, between: bytes) -> None:
    lines = [line({"input": "x"}, str(number)) for number in range(3)]

    found = judged(between.join(lines) + ending)
    assert sent(found) == b"\n".join(lines) + b"\n"


def test_a_line_may_be_longer_than_what_is_looked_through_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch, "_STRETCH", 50)
    lines = [line({"input": "x" * size}, str(size)) for size in (300, 1, 0, 700)]

    assert sent(judged(b"\n".join(lines))) == b"\n".join(lines) + b"\n"


def test_others_get_a_turn_between_lines() -> None:
    match, many = door(UPLOAD), 3 * batch._BREATH
    content = b"\n".join(line({"input": "x"}, str(n)) for n in range(many))
    decide = Decider(policy(), CATALOGUE).decide
    staged = Staged(data=memoryview(content), match=match)

    turns = len(list(staged.judged(Request(match=match, date=TODAY), decide)))
    assert turns >= many // batch._BREATH


SAID: list[tuple[object, str, str, str]] = [
    (b"", "bad_batch", "/file", "there is no `file`, or it has no lines"),
    (b"{", "invalid_json", "/file/1", "line 1, byte 1: the body is not JSON"),
    (b"[]", "not_an_object", "/file/1", "line 1: the body is not a JSON object"),
    (b"\n \n", "bad_batch", "/file", "there is no `file`, or it has no lines"),
    ([{"input": "x"}, b'{"a":1,"a":2}'], "duplicate_key", "/file/2/body/a", "line 2: "),
    ([b'{"tools":{}}'], "wrong_shape", "/file/1/body/tools", "line 1: "),
    ([b'{"input":"\xff"}'], "not_utf8", "/file/1", "line 1, byte "),
    (line({}) + b"x", "trailing_data", "/file/1", "line 1, byte "),
    (b'{"custom_id":"a","method":"POST","url":"/v1/responses"}', "bad_batch",
     "/file/1", "line 1: it has `custom_id`, `method`, `url` and `body`, and no more"),
    (line({})[:-1] + b',"name":1}', "bad_batch", "/file/1", "line 1: it has"),
    (line({}).replace(b"POST", b"GET"), "bad_batch", "/file/1", "line 1: `custom_id`"),
    (line({}, ""), "bad_batch", "/file/1", "line 1: `custom_id` and `url` are strings"),
    (line({}).replace(b'"a"', b"7"), "bad_batch", "/file/1", "line 1: `custom_id`"),
    (line({}, url="/v1/nothing"), "route_not_allowed", "/file/1/url", "line 1: "),
    (line({}, url="/v1/Responses"), "path_not_canonical", "/file/1/url", "line 1: "),
    (line({}, url="/v1/responses?a"), "path_not_canonical", "/file/1/url", "line 1: "),
    (line({}, url="/v1/conversations"), "bad_batch", "/file/1/url",
     "line 1: a batch calls no such route"),
    (line({}, url="/v1/responses/resp_1/cancel"), "bad_batch", "/file/1/url", "line 1"),
    (line({}) + b"\n" + line({}, url="/v1/images/edits"), "bad_batch", "/file/2/url",
     "line 2: its `url` is another one than that of the first line"),
    (line({"input": "a\u2028b"}), "bad_batch", "/file/1", f"line 1: {NO_END}"),
    (line({"input": "a\x85b"}), "bad_batch", "/file/1", f"line 1: {NO_END}"),
    (b"{\r" + line({})[1:], "bad_batch", "/file/1", f"line 1: {NO_END}"),
    (b"{\x0b" + line({})[1:], "invalid_json", "/file/1", "line 1, byte "),
]  # fmt: skip


@pytest.mark.parametrize(("content", "code", "pointer", "message"), SAID)
def test_what_cannot_be_judged_is_refused_with_its_line(
    content: object, code: str, pointer: str, message: str
) -> None:
    if isinstance(content, list):
        marks = [line("HERE").replace(b'"HERE"', encode(body)) for body in content]
        content = b"\n".join(marks)
    assert isinstance(content, bytes)

    with pytest.raises(MalformedRequest) as refused:
        judged(content)
    error = refused.value
    assert (error.code, error.pointer) == (code, pointer)
    assert error.message.startswith(message)


def test_a_long_line_is_looked_through_in_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch, "_STRETCH", 10)
    with pytest.raises(MalformedRequest, match=NO_END):
        judged(line({"input": "äöü\u2029"}))


def test_a_file_has_no_more_lines_than_the_api_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch, "MAX_LINES", 3)
    judged(b"\n".join([line({})] * 3))
    with pytest.raises(MalformedRequest, match="the file has over 3 lines"):
        judged(b"\n".join([line({})] * 4))


def test_a_file_has_no_more_to_be_told_of_than_there_is_memory_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tool of thirty bytes earns a kilobyte of reasons."""
    lines = b"\n".join([line(image())] * 3)
    told = len(said(judged(lines, CAP))) + 3  # the tools are told of too
    monkeypatch.setattr(batch, "MAX_TOLD", told)
    assert isinstance(judged(lines, CAP).decision, Rewrite)

    monkeypatch.setattr(batch, "MAX_TOLD", told - 1)
    with pytest.raises(MalformedRequest) as caught:
        judged(lines, CAP)
    assert (caught.value.code, caught.value.pointer) == ("bad_batch", "/file")


def test_a_file_that_is_refused_often_enough_is_read_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch, "MAX_REFUSED", 3)

    lines = b"\n".join([line(image())] * 9 + [b"no line"])
    assert len(said(judged(lines, BLOCK))) == 4


@pytest.mark.parametrize(
    ("purpose", "staged"),
    [("batch", True), ("vision", False), ("Batch", False), ("", False)],
)
def test_a_purpose_makes_a_batch_file(purpose: str, *, staged: bool) -> None:
    assert (staged_by(form(b"", purpose), door(UPLOAD)) is not None) is staged


SIGNS = st.sampled_from(
    ["\n", "\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
)
HIDDEN = line(image("high"), "hidden").decode()


@given(
    texts=st.lists(st.one_of(SIGNS, st.just(HIDDEN), st.text(max_size=5))),
    escaped=st.booleans(),
)
def test_no_reader_of_lines_finds_one_that_was_not_judged(
    texts: list[str], *, escaped: bool
) -> None:
    """Python's `splitlines` knows more ends of lines than anybody."""
    body = {"input": "".join(texts), "tools": [tool(quality="low")]}
    whole = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": body}
    content = json.dumps(whole, ensure_ascii=escaped).encode("utf-8", "replace")
    try:
        found = judged(content, CAP)
    except MalformedRequest:
        return
    for each in sent(found).decode().splitlines():
        told = json.loads(each)
        assert told["custom_id"] == "a"
        assert told["body"]["tools"][0]["quality"] == "low"


@given(raw=st.binary(max_size=200), before=st.sampled_from([b"", line({}), b"\n"]))
def test_any_bytes_give_a_decision_or_an_error(raw: bytes, before: bytes) -> None:
    try:
        found = judged(before + raw.replace(b"--b", b"--c"))
    except MalformedRequest:
        return
    assert all(isinstance(json.loads(each), dict) for each in sent(found).splitlines())
