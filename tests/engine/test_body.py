"""Bodies: what is refused, what is found in the others, and what is sent."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import jiter
import orjson
import pytest
from bodies import BODIES, carried, compact, read, refusal, sent
from hypothesis import example, given
from hypothesis import strategies as st
from narrow import Pairs

from imagegate.engine.body import read_body, read_body_now
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.value import DELETE, Edit, Piece, Pieces

BAD = b'"tools":[{"type":"image_generation","quality":"high"}]'
GOOD = b'"tools":[{"type":"image_generation","quality":"low"}]'


def nested(depth: int) -> bytes:
    """Nest namespaces."""
    opening = b'{"type":"namespace","tools":[' * depth
    return b'{"tools":[%b%b]}' % (opening, b"]}" * depth)


@pytest.mark.parametrize(
    ("data", "code", "place"),
    [
        (b"{%b,%b}" % (GOOD, BAD), "duplicate_key", "/tools"),
        (b"{%b,%b}" % (BAD, GOOD), "duplicate_key", "/tools"),
        (b"{%b,%b,%b}" % (GOOD, BAD, GOOD), "duplicate_key", "/tools"),
        (b'{%b,"\\u0074ools":[]}' % GOOD, "duplicate_key", "/tools"),
        (
            b'{"tools":[{"type":"function","name":"f","type":"image_generation"}]}',
            "duplicate_key",
            "/tools/0/type",
        ),
        (
            rb'{"tools":[{"type":"function","\u0074ype":"image\u005fgeneration"}]}',
            "duplicate_key",
            "/tools/0/type",
        ),
        (
            b'{"tools":[{"type":"image_generation","svg":{"model":"a","model":"b"}}]}',
            "duplicate_key",
            "/tools/0/svg/model",
        ),
        (
            b'{"tools":[{"type":"image_generation","svg":{"Model":"a"}}]}',
            "look_alike_key",
            "/tools/0/svg/Model",
        ),
        (
            b'{"tools":[{"type":"function","TYPE":"image_generation"}]}',
            "look_alike_key",
            "/tools/0/TYPE",
        ),
        (b'{"Tools":[]}', "look_alike_key", "/Tools"),
        (b"{%b}{%b}" % (GOOD, BAD), "trailing_data", "byte 55"),
        (b"[{%b}]" % BAD, "not_an_object", ""),
        (b'"{\\"tools\\":[]}"', "not_an_object", ""),
        # Whole, and deeper than any Python reads; a part could be only incomplete.
        (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, "too_deep", ""),
        (b'{"tools":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "too_deep", ""),
        (nested(40), "too_deep", "/tools" + "/0/tools" * 32),
        (b'{"x":%b%b}' % (b"[" * 101, b"]" * 101), "too_deep", "/x"),
        (
            b'{"metadata":{"a":%b%b}}' % (b"[" * 101, b"]" * 101),
            "too_deep",
            "/metadata",
        ),
        (
            b'{"tools":[{"type":"function","parameters":%b1%b}]}'
            % (b'{"a":' * 101, b"}" * 101),
            "too_deep",
            "/tools/0/parameters",
        ),
        (
            b'{"input":[{"type":"x","y":%b1%b}]}' % (b'{"a":' * 101, b"}" * 101),
            "too_deep",
            "/input/0/y",
        ),
        (
            b'{"input":[{"type":"x","y":%b"%b"%b}]}'
            % (b'{"a":' * 101, b"A" * 300_000, b"}" * 101),
            "too_deep",
            "/input/0/y",
        ),
        (b'{"x":{"y":[{"tools\\u0000":[]}]}}', "invalid_key", "/x/y/0"),
        (
            b'{"input":[{"type":"x","y":{"to\\u0000ols":1}}]}',
            "invalid_key",
            "/input/0/y",
        ),
        (
            '{"x":[{"tools\ufffd":1}]}'.encode(),
            "invalid_key",
            "/x/0",
        ),
        (b'{"tools":{}}', "wrong_shape", "/tools"),
        (b'{"tools":"[]"}', "wrong_shape", "/tools"),
        (b'{"tools":{"0":{"type":"x"}}}', "wrong_shape", "/tools"),
        (b'{"tools":[[{"type":"x"}]]}', "wrong_shape", "/tools/0"),
        (b'{"tools":["image_generation"]}', "wrong_shape", "/tools/0"),
        (b'{"tools":[{"type":"x"},{"name":"y"}]}', "wrong_shape", "/tools/1"),
        (b'{"tools":[{"type":["image_generation"]}]}', "wrong_shape", "/tools/0"),
        (b'{"input":1}', "wrong_shape", "/input"),
        (b'{"input":{"0":{}}}', "wrong_shape", "/input"),
        (b'{"input":["x"]}', "wrong_shape", "/input/0"),
        (
            b'{"input":[{"type":"additional_tools","tools":{}}]}',
            "wrong_shape",
            "/input/0/tools",
        ),
        (b'{"input":[{"type":"x","tools":1}]}', "wrong_shape", "/input/0/tools"),
        (b'{"tool_choice":["x"]}', "wrong_shape", "/tool_choice"),
        (b'{"tool_choice":1}', "wrong_shape", "/tool_choice"),
        (b'{"tool_choice":{"mode":"auto"}}', "wrong_shape", "/tool_choice"),
        (
            b'{"tool_choice":{"type":"a","type":"b"}}',
            "duplicate_key",
            "/tool_choice/type",
        ),
        (
            b'{"tool_choice":{"type":"allowed_tools","tools":{}}}',
            "wrong_shape",
            "/tool_choice/tools",
        ),
        (
            b'{"tool_choice":{"type":"allowed_tools","tools":["x"]}}',
            "wrong_shape",
            "/tool_choice/tools/0",
        ),
        (
            b'{"tool_choice":{"type":"allowed_tools","tools":[{"Type":"x"}]}}',
            "look_alike_key",
            "/tool_choice/tools/0/Type",
        ),
        (b'{"temperature":1e400}', "number_out_of_range", "/temperature"),
        (
            b'{"tools":[{"type":"image_generation","n":1e400}]}',
            "number_out_of_range",
            "/tools/0/n",
        ),
        (b'{"x":{"a":[{"tools":1,"b":1,"b":2}]}}', "duplicate_key", "/x/a/0/b"),
        (b'{"x":{"TOOLS":[]}}', "look_alike_key", "/x/TOOLS"),
        (
            b'{"input":[{"type":"y","x":{"Tools":[]}}]}',
            "look_alike_key",
            "/input/0/x/Tools",
        ),
        (
            b'{"input":[{"type":"y","x":{"tools":[{"type":"a","Type":"b"}]}}]}',
            "look_alike_key",
            "/input/0/x/tools/0/Type",
        ),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_bodies_that_have_two_readings_are_refused(
    data: bytes, code: str, place: str
) -> None:
    """Attacks and wrong shapes have a stable code and the exact place."""
    assert refusal(data) == (code, place)


@pytest.mark.parametrize(
    "data",
    [
        b'{"tools":[%b{"type":"a"}]}' % (b'{"type":"a"},' * 1_000),
        b'{"tools":[%b{"type":"a"}]}' % (b'{"type":"a"},' * 21_000),
        b'{"tools":[{"type":"image_generation","svg":[%b0]}]}' % (b"0," * 9_999 * 11),
        b'{"x":{"tools":[%b[]]}}' % (b"[]," * 100_000),
        b'{"x":{"tools":[%b[]]}}' % (b"[[[0],[0],[0]]]," * 9_999 * 2),
        b'{"x":{"tools":1,"y":[%b0]}}' % (b"[%b0]," % (b"0," * 999) * 101),
        b'{"input":[%b{"a":1}]}' % (b'{"a":1},' * 100_000),
    ],
    ids=["tools", "keys", "elements", "below", "lists", "nodes", "items"],
)
def test_bombs_are_refused(data: bytes) -> None:
    """Whatever is opened is bounded, and says so as a matter of size."""
    with pytest.raises(MalformedRequest) as caught:
        read_body_now(data)

    assert (caught.value.code, caught.value.status) == ("too_many_nodes", 413)


def test_a_stack_that_is_nearly_full_is_no_other_error() -> None:
    """The engine is called from deep stacks; their end is a refusal, too."""

    def descend(depth: int) -> None:
        if depth:
            descend(depth - 1)
        else:
            read_body_now(b'{"tools":[{"type":"x"}],"a":[[[[[[[[[[[[]]]]]]]]]]]]}')

    outcomes = set()
    for depth in range(sys.getrecursionlimit() - 200, sys.getrecursionlimit()):
        try:
            descend(depth)
            outcomes.add("read")
        except MalformedRequest as refused:
            outcomes.add(refused.code)
        except RecursionError:
            break  # not even the call fits
    assert outcomes == {"read", "too_deep"}


def test_members_are_at_hand() -> None:
    """By name, and by pointers of names."""
    body = read_body_now(b'{"model":"m","x":{"y":null}}')

    assert list(body.members) == ["model", "x"]
    assert body.get("input") is None
    found = [body.at(pointer) for pointer in ("/x/y", "/a/b", "/model", "")]
    kinds = [value and value.kind for value in found]
    assert kinds == ["null", None, "string", "object"]


def test_members_are_named_and_spelled_as_they_came() -> None:
    """Without looking into them."""
    body = read_body_now(b'{"a": 1.50, "b": [ ]}')

    assert list(body.names) == ["a", "b"]
    assert body.spelled(["a", "c"]) == (b"1.50", b"")


def test_what_was_judged_is_what_is_sent() -> None:
    """Opened levels are written again; escapes in keys and white space are gone."""
    data = rb""" { "\u0074ools" : [ { "type" : "image_generation" ,
        "svg" : { "\u006dodel" : "\u0061" } } , { "type" : "x" , "y" : { "z" : 1 } } ] ,
        "input" : [ { "\u0074ype" : "x" , "y" : [ 1 ] } ] , "temperature" : 1.10 } """

    assert sent(data) == (
        rb'{"tools":[{"type":"image_generation","svg":{"model":"\u0061"}},'
        rb'{"type":"x","y":{ "z" : 1 }}],'
        rb'"input":[{"type":"x","y":[1]}],"temperature":1.10}'
    )


def test_edits_are_made_all_together() -> None:
    """All places are those of the body as it came, and nothing else moves."""
    tool = {"type": "image_generation", "quality": "high", "svg": {"model": "m"}}
    extra = {"type": "additional_tools", "tools": [tool, tool]}
    document = {
        "big": 123456789012345678901234567890,
        "tools": [tool, {"type": "function"}, tool],
        "tool_choice": {"type": "allowed_tools", "tools": [{"type": "a"}]},
        "input": [{"role": "user", "content": "é"}, extra],
    }
    edits: list[Edit] = [
        ("/tools/0", DELETE),
        ("/tools/2/quality", b'"low"'),
        ("/tools/2/svg/reasoning/effort", b'"low"'),
        ("/tools/1/name", b'"f"'),
        ("/tool_choice/mode", b'"auto"'),
        ("/tool_choice/tools/0", DELETE),
        ("/input/1/tools/0/quality", DELETE),
        ("/input/1/tools/1", DELETE),
        ("/max_tool_calls", b"1"),
    ]

    assert json.loads(bytes(read_body_now(compact(document)).rewritten(edits))) == {
        "big": 123456789012345678901234567890,
        "tools": [
            {"type": "function", "name": "f"},
            {
                **tool,
                "quality": "low",
                "svg": {"model": "m", "reasoning": {"effort": "low"}},
            },
        ],
        "tool_choice": {"type": "allowed_tools", "tools": [], "mode": "auto"},
        "input": [
            {"role": "user", "content": "é"},
            {
                "type": "additional_tools",
                "tools": [
                    {"type": "image_generation", "svg": {"model": "m"}},
                ],
            },
        ],
        "max_tool_calls": 1,
    }


def test_reading_gives_way_between_pieces() -> None:
    """A large body lets others run, a small one is not interrupted for long."""
    chat = [{"role": "user", "content": "hello " * 50}] * 5_000
    deep = {"tools": [[0] * 100] * 100}

    assert sum(1 for _ in read_body(compact({"input": chat}))) > 10
    assert sum(1 for _ in read_body(compact({"x": deep}))) > 3
    tool = {"type": "image_generation", "svg": [[0] * 500] * 5}
    assert sum(1 for _ in read_body(compact({"tools": [tool]}))) > 3
    assert sum(1 for _ in read_body(compact({"input": "hi", "tools": []}))) == 0


# Properties. Each was seen to fail when the reader was broken on purpose.


def _openings(document: Any, pointers: list[str]) -> list[Pairs]:
    """Give the objects whose levels were judged: the top, the items, the tools."""
    opened = [document, *_get(document, "input")]
    for pointer in pointers:
        found = document
        for token in pointer.split("/")[1:]:
            pairs = isinstance(found, Pairs)
            found = dict(found)[token] if pairs else found[int(token)]
        opened += found
    return [value for value in opened if isinstance(value, Pairs)]


def _get(document: Pairs, key: str) -> list[Any]:
    found = dict(document).get(key)
    return found if type(found) is list else []


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@example(b'{"a":"\xed\xa0\x80"}')
@example(b'{"' + b"a" * 2_000 + b'":1}')
def test_any_bytes_give_a_body_or_a_refusal(data: bytes) -> None:
    """No bytes lead to another exception."""
    read(data)
    read(b'{"tools":[{"type":"x","y":"%b"}],"input":[{"%b":1}]}' % (data, data))


@given(BODIES)
@example('{"input":[{"type":"x","svg":{"tools":[{"type":"namespace","tools":[]}]}}]}')
@example('{"input":[{"x":1},{"x":1,"model":[{"tools":[1],"tools":[2]}]}]}')
def test_what_is_sent_has_one_reading(text: str) -> None:
    """Every parser sees in the bytes sent what was judged, whichever key it keeps."""
    body = read(text.encode())
    if body is None:
        return
    data = bytes(body.rewritten())
    pointers = [carrier.pointer for carrier in body.carriers]
    document = json.loads(data, object_pairs_hook=Pairs)

    assert document == json.loads(text, object_pairs_hook=Pairs)
    for pairs in _openings(document, pointers):
        assert len(dict(pairs)) == len(pairs)
    for carrier in body.carriers:
        judged = [tool.type for tool in carrier.tools]
        for reading in (json.loads(data), orjson.loads(data), jiter.from_json(data)):
            entries = _at(reading, carrier.pointer)
            assert judged == [kind for kind in map(_type, entries) if kind is not None]
    for tool in (tool for carrier in body.carriers for tool in carrier.tools):
        if tool.is_image:
            out: list[Piece] = []
            tool.value.write(out)
            jiter.from_json(bytes(Pieces(out)), catch_duplicate_keys=True)
    assert bytes(read_body_now(data).rewritten()) == data


def _images(value: Any, pointer: str = "") -> Iterator[str]:
    """Find image tools in `tools` arrays anywhere, the obvious way."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _images(member, f"{pointer}/{key}")
    for index, entry in enumerate(value if isinstance(value, list) else ()):
        if pointer.endswith("/tools") and _type(entry) == "image_generation":
            yield f"{pointer}/{index}"
        yield from _images(entry, f"{pointer}/{index}")


@given(BODIES)
@example('{"x":[{"tools":[{"type":"image_generation"}]}]}')
@example('{"input":[{"x":[{"\\u0074ools":[{"type":"image_generation"}]}]}]}')
def test_no_image_tool_is_overlooked(text: str) -> None:
    """Where items and strangers hold tools is found by an obvious search, too."""
    body = read(text.encode())
    document = {} if body is None else json.loads(text)
    searched = {key: document[key] for key in document.keys() & {"input", "x", "svg"}}
    found = {
        tool.pointer
        for carrier in (body.carriers if body else ())
        for tool in carrier.tools
        if tool.is_image
    }

    assert set(_images(searched)) <= found


def _at(document: Any, pointer: str) -> Any:
    for token in pointer.split("/")[1:]:
        document = document[int(token) if isinstance(document, list) else token]
    return document


def _type(entry: Any) -> Any:
    kind = entry.get("type") if isinstance(entry, dict) else None
    return kind if isinstance(kind, str) else None


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("abcde"), inner, max_size=3)
    ),
    max_leaves=6,
)
_tools = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["image_generation", "function", "x"])},
        optional={"quality": _json, "svg": _json, "a": _json},
    ),
    max_size=4,
)
_inputs = st.lists(
    st.fixed_dictionaries({"role": st.just("user"), "content": _json})
    | st.fixed_dictionaries({"type": st.just("additional_tools"), "tools": _tools}),
    max_size=4,
)
_requests = st.fixed_dictionaries(
    {"tools": _tools, "input": _inputs}, optional={"x": _json, "model": _json}
)


@given(_requests)
def test_compact_bodies_leave_byte_for_byte(document: Any) -> None:
    """What a client wrote without white space is sent as it was written."""
    for ascii_only in (True, False):
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=ascii_only)

        assert sent(text.encode()) == text.encode()


@given(_requests, st.booleans(), st.data())
def test_nothing_outside_an_edit_moves(document: Any, spaced: bool, data: Any) -> None:  # noqa: FBT001 - drawn
    """The body sent is the old one with the change made by an obvious program."""
    text = json.dumps(document, indent=1 if spaced else None).encode()
    expected = json.loads(text)
    body = read_body_now(text)
    edits: list[Edit] = [("/max_tool_calls", b"1")]
    for carrier in body.carriers:
        entries, gone = _at(expected, carrier.pointer), []
        for index, tool in enumerate(carrier.tools):
            match data.draw(st.sampled_from(["keep", "set", "unset", "nest", "drop"])):
                case "set":
                    edits.append((f"{tool.pointer}/quality", b'"low"'))
                    entries[index]["quality"] = "low"
                case "unset":
                    edits.append((f"{tool.pointer}/quality", DELETE))
                    entries[index].pop("quality", None)
                case "nest":
                    edits.append((f"{tool.pointer}/new/effort", b"1.50"))
                    entries[index]["new"] = {"effort": 1.5}
                case "drop":
                    edits.append((tool.pointer, DELETE))
                    gone.append(index)
        for index in reversed(gone):
            del entries[index]
    expected["max_tool_calls"] = 1

    after = bytes(body.rewritten(edits))
    assert compact(json.loads(after)) == compact(expected)


def test_a_body_that_came_before_is_read_the_same() -> None:
    """Only its tools are left closed until somebody looks."""
    text = b'{"input":[{"role":"user","content":"x"}],%b}' % BAD
    one, other = read_body_now(text), read_body_now(text)
    edits: list[Edit] = [("/tools/0/quality", b'"low"')]

    assert [*one.inner] == [*other.inner] == ["input", "tools"]
    assert one.case == other.case
    assert bytes(one.rewritten(edits)) == bytes(other.rewritten(edits))
    assert bytes(other.rewritten()) == text
    assert carried(one) == carried(other) == [("/tools", "tools", ["image_generation"])]
    assert one.case == other.case


def test_tools_in_other_places_are_no_case() -> None:
    """Nor are those in two."""
    tools = [{"type": "custom", "name": "c"}]
    item = {"type": "additional_tools", "tools": tools}

    def case(**members: Any) -> object:
        return read_body_now(compact(members)).case

    assert case(input="x") == ()
    assert case(tools=tools) == ("/tools", "custom")
    assert case(input=[item]) is None
    assert case(input=[item], tools=tools) is None
    assert case(input=[item], tools=tools) is None
