"""Arrays of tools that came before: what is remembered, and that nobody notices."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from asking import CATALOGUE, TODAY, body, door, encode, policy, request, tool
from bodies import forgotten
from hypothesis import assume, example, given
from hypothesis import strategies as st
from msgspec import Raw

from imagegate.engine import familiar as module
from imagegate.engine import toolset
from imagegate.engine.body import Body, read_body_now
from imagegate.engine.decision import Rewrite
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.familiar import MAX_CASE, MAX_LENGTH, MEMORY, Memory, read_again
from imagegate.engine.gate import Context, Gate
from imagegate.engine.policy import Policy
from imagegate.engine.tools import Carrier
from imagegate.engine.value import DELETE, Edit

JSON = dict[str, Any]
FUNCTION: JSON = {
    "type": "function",
    "name": "f",
    "parameters": {"type": "object", "properties": {"tools": {"type": "array"}}},
}
MCP = {"type": "mcp", "server_label": "s", "authorization": "sk-CANARY"}
POLICY = """\
models: { gpt-image-2: {}, otherwise: { use: gpt-image-2 } }
settings: { quality: { max: medium, default: low, otherwise: lower } }
limits: { tools: 2 }
fields: { unknown: strip }
"""
POLICIES = [
    policy(POLICY),
    policy(POLICY + "tool: strip\n"),
    policy(POLICY + "teams: { a: { match: { team: design }, tool: block } }\n"),
    policy("tool: block\n"),
]

scalars: st.SearchStrategy[Any] = st.sampled_from(
    ["low", "high", 1, 1.5, None, True, "é", "gpt-image-1", {}]
)
keys = st.sampled_from(["quality", "model", "size", "x", "tools", "input_image_mask"])
images = st.dictionaries(keys, scalars, max_size=3).map(lambda more: tool(**more))
others = st.sampled_from(
    [
        FUNCTION,
        MCP,
        {**FUNCTION, "strict": None, "Type": "x"},
        {"type": "custom", "name": "c"},
        {"type": "web_search", "search_context_size": 1.50},
        {"type": "Image_Generation"},
        {"type": "namespace", "name": "n", "tools": [tool(quality="high")]},
        {"name": "no type"},
        1,
    ]
)
arrays = st.lists(images | others, max_size=3)
inputs = st.sampled_from(
    [
        "hi",
        [{"role": "user", "content": "hi"}],
        [{"type": "additional_tools", "tools": [tool(quality="high")]}],
        [{"type": "item_reference", "id": "msg_1"}],
    ]
)
choices = st.sampled_from(
    [None, "auto", "required", {"type": "image_generation"}, {"type": "mcp"}]
)
requests: st.SearchStrategy[JSON] = st.fixed_dictionaries(
    {"tools": arrays},
    optional={"input": inputs, "tool_choice": choices, "x": st.just({"tools": []})},
)


def doubled(data: bytes) -> bytes:
    """Let a tool have two members of one name."""
    return data.replace(b'"type":"function"', b'"type":"function","name":"g"')


spellings: st.SearchStrategy[Callable[[JSON], bytes]] = st.sampled_from(
    [
        encode,
        lambda value: json.dumps(value).encode(),
        lambda value: json.dumps(value, indent=1, ensure_ascii=False).encode(),
        lambda value: doubled(encode(value)),
    ]
)


def outcome(rules: Policy, data: bytes, places: Sequence[str]) -> object:
    """Return all that can be known of a request."""
    gate, match = Gate(rules, CATALOGUE), door()
    context = Context(decision_id="d", door=match, date=TODAY)
    try:
        read = read_body_now(data, places=places)
    except MalformedRequest as error:
        return error.code, error.message, error.pointer, error.status
    case = read.case
    decided = gate.decide(context.asks(match, read))
    decision = decided.decision
    edits = decision.edits if isinstance(decision, Rewrite) else ()
    return case, decided, sent(read, edits), sent(read), seen(read), read.items


def sent(read: Body, edits: Sequence[Edit] = ()) -> bytes:
    """Write a body."""
    return bytes(read.rewritten(edits))


def seen(read: Body) -> object:
    """Return the tools of a body, in order."""
    return [
        (each.pointer, each.kind, tool.pointer, tool.type, tool.value.plain())
        for each in read.carriers
        for tool in each.tools
    ]


@given(
    st.sampled_from(POLICIES),
    st.lists(st.tuples(requests, spellings), min_size=1, max_size=3),
    st.sampled_from(
        [
            ("/tools", "/input/*/tools"),
            ("/input/*/tools", "/tools"),
            ("/x/tools",),
        ]
    ),
)
@example(
    POLICIES[0],
    [(request(tool(quality="high")), encode), (request(tool(quality="auto")), encode)],
    ("/tools",),
)
@example(POLICIES[0], [({"tools": [tool(), tool(), tool(), 1]}, encode)], ("/tools",))
def test_nobody_notices_that_tools_came_before(
    rules: Policy, asked: list[tuple[JSON, Any]], places: tuple[str, ...]
) -> None:
    """Case, decision, record, bytes and errors are those of the first time."""
    texts = [spell(value) for value, spell in asked] * 2
    MEMORY.forget()
    warm = [outcome(rules, text, places) for text in texts]
    for text, found in zip(texts, warm, strict=True):
        with forgotten():
            assert outcome(rules, text, places) == found


@given(arrays, st.integers(0, 3), st.sampled_from([b'"low"', DELETE]))
def test_edits_have_the_effect_that_they_had(
    array: list[JSON], index: int, value: Any
) -> None:
    """Those of the tools, of all of them, and of what is not there."""
    edits: list[list[Edit]] = [
        [(f"/tools/{index}/quality", value), ("/user", b'"u"')],
        [(f"/tools/{index}/quality", value), ("/user", b'"v"')],
        [(f"/tools/{index}", value)],
        [("/tools", value)],
        [("/max_tool_calls", b"1")],
    ]
    data = encode({"tools": array, "stream": True})

    def written(each: list[Edit]) -> object:
        try:
            return sent(read_body_now(data), each)
        except (LookupError, MalformedRequest) as error:
            return repr(error)

    MEMORY.forget()
    warm = [written(each) for each in edits * 2]
    for each, found in zip(edits * 2, warm, strict=True):
        with forgotten():
            assert written(each) == found


ORDINARY = request(tool(quality="high"), FUNCTION)


def known(value: object) -> bool:
    """Whether the tools of a request are remembered once they were read."""
    MEMORY.forget()
    body(value)
    return body(value).familiar is not None


@pytest.mark.parametrize(
    ("tools", "kept"),
    [
        ([], True),
        ([tool(quality="high"), FUNCTION], True),
        ([{"type": "custom", "name": "c"}, {"type": "web_search"}], True),
        ([MCP], False),
        ([tool(), MCP], False),
        ([{**FUNCTION, "authorization": "sk-CANARY"}], False),
        ([tool(input_image_mask={"file_id": "f"})], False),
        ([tool(svg={"model": "sk-CANARY"})], False),
        ([tool(unheard_of="sk-CANARY")], False),
        ([tool(model="x" * MAX_CASE)], False),
        ([{**FUNCTION, "description": "x" * MAX_LENGTH}], False),
        ([{"type": "code_interpreter", "container": {}}], False),
    ],
)
def test_only_what_holds_no_secret_is_remembered(
    tools: list[object], *, kept: bool
) -> None:
    """A documented member of a tool of which nobody is told anything in private."""
    assert known(request(*tools)) is kept
    assert ("CANARY" in repr(MEMORY._found)) is False


def test_only_the_tools_at_the_top_are_remembered() -> None:
    """Where others stand, the same bytes mean something else."""
    MEMORY.forget()
    read_body_now(encode({"x": {"tools": [FUNCTION]}}), places=("/x/tools",))

    assert not MEMORY._found


def test_tools_that_came_before_are_left_closed_until_somebody_looks() -> None:
    """What he finds is his own."""
    body(ORDINARY)
    one, other = body(ORDINARY), body(ORDINARY)
    mine, his = one.carriers[0].tools[0], other.carriers[0].tools[0]
    mine.value.put("quality", mine.value)

    assert one.carriers is one.carriers
    assert mine.value is not his.value
    assert [his.plain("quality"), his.type] == ["high", "image_generation"]
    assert seen(body(ORDINARY)) == seen(other)


def test_tools_are_written_once_for_the_same_edits() -> None:
    """Those of a case are the same each time."""
    edits = [("/tools/0/quality", b'"low"')]
    MEMORY.forget()
    first = sent(body(ORDINARY), edits)
    again = body(ORDINARY)
    assert again.familiar is not None
    changes = again.familiar.written(tuple(edits))
    assert changes is not None

    assert sent(again, edits) == first
    assert b'"low"' in first
    assert again.familiar.written(tuple(edits)) is changes
    here = changes.below["tools"].here
    assert isinstance(here, bytes)
    assert here in first


def carrier(text: str) -> tuple[Raw, Carrier]:
    """Read an array of tools."""
    read = read_body_now(b'{"tools":%b}' % text.encode())
    value = read.get("tools")
    assert value is not None
    return Raw(text.encode()), read_again(value)


def test_no_more_is_remembered_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of arrays, nor of bytes."""
    named = [carrier(f'[{{"type":"custom","name":"{number}"}}]') for number in range(9)]
    memory = Memory()
    monkeypatch.setattr(module, "MAX_ARRAYS", 2)
    for raw, each in named:
        memory.keep(raw, each)
        assert memory.recall(raw) is not None
        assert len(memory._found) <= 2
    monkeypatch.setattr(module, "MAX_ARRAYS", 99)
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    memory.forget()
    for raw, each in named:
        memory.keep(raw, each)
        assert len(memory._found) * len(raw) <= 100


def test_what_is_written_takes_room() -> None:
    """However many edits there are."""
    memory = Memory()
    raw, each = carrier('[{"type":"custom"}]')
    found = memory.keep(raw, each)
    value = read_body_now(b'{"tools":%b}' % bytes(raw)).get("tools")
    assert found is not None
    assert value is not None
    for number in range(5_000):
        memory.write(found, (("/tools/0/name", b"%d" % number),), value)
        if memory.recall(raw) is None:
            return
    pytest.fail("all of it was kept")


@pytest.mark.parametrize("elsewhere", [0, 300])
def test_what_is_remembered_is_no_larger_than_it_says(
    elsewhere: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor where each request has hundreds of tools, and thousands of edits."""
    gate, match = Gate(policy(POLICY.replace("tools: 2", "")), CATALOGUE), door()
    context = Context(decision_id="d", door=match, date=TODAY)
    monkeypatch.setattr(module, "MAX_BYTES", 1 << 18)
    monkeypatch.setattr(toolset, "MOST", 1_000)
    MEMORY.forget()
    tracemalloc.start()
    for number in range(5):
        others = [tool() for _ in range(elsewhere + number % 7)]
        value = request(*[tool()] * 570, {"type": "custom", "name": f"{number}"})
        if others:
            value["input"] = [{"type": "additional_tools", "tools": others}]
        read = body(value)
        decided = gate.decide(context.asks(match, read)).decision
        assert isinstance(decided, Rewrite)
        sent(read, decided.edits)
    del value, others, read, decided
    before = tracemalloc.get_traced_memory()[0]
    MEMORY.forget()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    monkeypatch.undo()
    MEMORY.forget()
    assert before - after < 1 << 18


@given(st.integers(0, 60), st.binary(max_size=2))
def test_any_other_bytes_are_other_tools(index: int, noise: bytes) -> None:
    """Their beginning, length and end may be the same."""
    memory = Memory()
    raw, each = carrier('[{"type":"custom","name":"abc"},{"type":"web_search"}]')
    memory.keep(raw, each)
    other = bytes(raw)[:index] + noise + bytes(raw)[index + len(noise) :]
    assume(other != bytes(raw))

    assert memory.recall(raw) is not None
    assert memory.recall(Raw(other)) is None
