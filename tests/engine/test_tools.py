"""Tools are found and read wherever they stand."""

from __future__ import annotations

import pytest
from bodies import carried, compact, refusal, sent

from imagegate.engine.body import read_body, read_body_now
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.items import Item
from imagegate.engine.strict import SMALL
from imagegate.engine.tools import MAX_TOOLS
from imagegate.engine.value import Number


def test_tools_are_found_wherever_they_stand() -> None:
    """The documented carriers, namespaces in them, and arrays nobody documented."""
    image = {"type": "image_generation", "quality": "low"}
    space = {"type": "namespace", "name": "n", "tools": [{"type": "function"}, image]}
    body = read_body_now(
        compact(
            {
                "tools": [
                    space,
                    {"type": "mcp", "tools": [image]},
                    {"type": "function"},
                ],
                "input": [
                    {"role": "user", "content": "hi"},
                    {"type": "additional_tools", "tools": [image], "x": {"tools": []}},
                    {"type": "tool_search_output", "tools": [space]},
                    {"type": "mcp_list_tools", "tools": [{"name": "a"}, "b"]},
                    {
                        "type": "future",
                        "tools": [{"type": "x", "y": {"tools": [image]}}],
                    },
                    {"type": "future", "content": [[{"tools": [image, {"type": 1}]}]]},
                    {"type": "additional_tools", "tools": None},
                    {"tools": [image]},
                ],
                "extra": {"nested": {"tools": [space], "Tools": {}}},
                "metadata": {"tools": "a, b"},
                "text": {"format": {"schema": {"properties": {"tools": {"a": 1}}}}},
            }
        )
    )

    assert sorted(carried(body)) == [
        ("/extra/nested/tools", "unknown", ["namespace"]),
        ("/extra/nested/tools/0/tools", "namespace", ["function", "image_generation"]),
        ("/input/1/tools", "additional_tools", ["image_generation"]),
        ("/input/1/x/tools", "unknown", []),
        ("/input/2/tools", "tool_search_output", ["namespace"]),
        ("/input/2/tools/0/tools", "namespace", ["function", "image_generation"]),
        ("/input/3/tools", "unknown", []),
        ("/input/4/tools", "unknown", ["x"]),
        ("/input/4/tools/0/y/tools", "unknown", ["image_generation"]),
        ("/input/5/content/0/0/tools", "unknown", ["image_generation"]),
        ("/input/7/tools", "unknown", ["image_generation"]),
        ("/tools", "tools", ["namespace", "mcp", "function"]),
        ("/tools/0/tools", "namespace", ["function", "image_generation"]),
        ("/tools/1/tools", "unknown", ["image_generation"]),
    ]
    assert body.items[-1] == Item(pointer="/input/7", type=None)


@pytest.mark.parametrize(
    ("kind", "image", "suspicious"),
    [
        ("image_generation", True, False),
        ("Image_Generation", False, True),
        ("image_generation\n", False, True),
        ("image-generation", False, True),
        ("imagegen", False, True),
        ("image_generation_preview", False, True),
        ("image_generation_2025_04_16", False, True),
        ("ｉｍａｇｅ.generation", False, True),
        ("im\u200bage_generation", False, True),
        ("function", False, False),
        ("image", False, False),
        ("web_search", False, False),
    ],
)
def test_types_that_look_like_the_image_tool_are_told(
    kind: str,
    image: bool,  # noqa: FBT001 - a table
    suspicious: bool,  # noqa: FBT001 - a table
) -> None:
    """Only one spelling is the image tool; its relatives are known as such."""
    tool = read_body_now(compact({"tools": [{"type": kind}]})).carriers[0].tools[0]

    assert (tool.is_image, tool.suspicious_type) == (image, suspicious)


def test_the_parts_of_a_body_are_at_hand() -> None:
    """Members and fields of tools, decoded exactly, absent apart from null."""
    body = read_body_now(
        rb'{"model":"m","x":{"y":null},"tools":[{"type":"image_generation",'
        rb'"size":"\u0031","n":1.0,"svg":{"reasoning":{"effort":"low"}},"z":null}]}'
    )
    tool = body.carriers[0].tools[0]

    assert tool.pointer == "/tools/0"
    assert list(tool.members) == ["type", "size", "n", "svg", "z"]
    assert (tool.plain("size"), tool.plain("n")) == ("1", Number("1.0"))
    assert tool.plain("svg") == {"reasoning": {"effort": "low"}}
    assert tool.plain("z") is None
    assert tool.plain("a") is None
    assert tool.get("a") is None
    assert tool.get("z") is not None


@pytest.mark.parametrize(
    "choice",
    [
        '"auto"',
        "null",
        '{"type":"image_generation"}',
        '{"type":"allowed_tools","mode":"auto","tools":[{"type":"x"},{"type":"y"}]}',
    ],
)
def test_a_choice_is_a_word_or_an_object(choice: str) -> None:
    """Every documented way to choose a tool is read, and sent as it came."""
    data = b'{"tool_choice":%b}' % choice.encode()

    assert sent(data) == data


IMAGE = b'{"type":"image_generation","quality":"low"}'
LONG = b'{"type":"function","name":"%b"}' % (b"x" * SMALL)


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        (b'{"tools":{}}', "wrong_shape", "/tools"),
        (b'{"tools":"[]"}', "wrong_shape", "/tools"),
        (b'{"tools":[%b,{}]}' % IMAGE, "wrong_shape", "/tools/1"),
        (b'{"tools":[%b,{"type":1}]}' % IMAGE, "wrong_shape", "/tools/1"),
        (b'{"tools":[{"type":"x","tools":1}]}', "wrong_shape", "/tools/0/tools"),
        (b'{"tools":[{"type":"%b"}]}' % (b"x" * 2_000), "wrong_shape", "/tools/0"),
        (b'{"tools":[{"type":"x","Type":"y"}]}', "look_alike_key", "/tools/0/Type"),
        (b'{"tools":[{"type":"x","type":"y"}]}', "duplicate_key", "/tools/0/type"),
        (b'{"x":{"tools":1,"TOOLS":[]}}', "look_alike_key", "/x/TOOLS"),
        (
            b'{"tool_choice":{"type":"a","tools":[%b1]}}' % (b"1," * 1_000),
            "too_many_nodes",
            "/tool_choice",
        ),
        (b'{"tool_choice":{}}', "wrong_shape", "/tool_choice"),
        (
            b'{"tool_choice":{"type":"a","tools":{}}}',
            "wrong_shape",
            "/tool_choice/tools",
        ),
    ],
    ids=lambda value: ascii(value)[:40],
)
@pytest.mark.parametrize("pad", [b"", b"%b," % LONG])
def test_tools_have_a_shape(text: bytes, code: str, place: str, pad: bytes) -> None:
    """However many there are, and however long."""
    if pad:
        text = text.replace(b'"tools":[', b'"tools":[' + pad)
        place = place.replace("/1", "/2").replace("/0", "/1")
    assert refusal(text) == (code, place)


def test_long_tools_are_read_like_short_ones() -> None:
    """One by one."""
    text = b'{"tools":[%b,%b,%b]}' % (IMAGE, LONG, IMAGE)
    body = read_body_now(text)

    assert carried(body) == [
        ("/tools", "tools", ["image_generation", "function", "image_generation"])
    ]
    assert bytes(body.rewritten()) == text
    after = bytes(body.rewritten([("/tools/2/quality", b'"high"')]))
    assert after == text[::-1].replace(b"wol", b"hgih", 1)[::-1]
    assert sum(1 for _ in read_body(text)) >= 3
    assert refusal(b'{"tools":[%b,1]}' % LONG) == ("wrong_shape", "/tools/1")


@pytest.mark.parametrize(
    "text",
    [
        b'{"tools":[%b]}' % b",".join([IMAGE] * (MAX_TOOLS + 1)),
        b'{"tools":[%b]}' % b",".join([b'{"type":"a"}'] * (MAX_TOOLS + 1)),
        b'{"tools":[%b]}' % b",".join([IMAGE] * (2 * MAX_TOOLS)),
        b'{"tools":[%b],"x":{"tools":[%b,%b]}}'
        % (b",".join([IMAGE] * MAX_TOOLS), IMAGE, IMAGE),
    ],
    ids=["image", "short", "long", "two places"],
)
def test_there_are_only_so_many(text: bytes) -> None:
    """In all places together."""
    with pytest.raises(MalformedRequest) as caught:
        read_body_now(text)
    assert (caught.value.code, caught.value.status) == ("too_many_nodes", 413)


def test_what_may_be_the_image_tool_is_open_all_the_way_down() -> None:
    """Two equal keys in another tool are not looked for."""
    deep = b'{"type":"%b","x":{"y":[{"a":1,"a":2}]}}'

    assert refusal(b'{"tools":[%b]}' % (deep % b"ImageGen")) == (
        "duplicate_key",
        "/tools/0/x/y/0/a",
    )
    assert sent(b'{"tools":[%b]}' % (deep % b"function"))


def test_arrays_of_strangers_are_searched_with_pauses() -> None:
    """Names, and tools of another protocol."""
    names = b",".join([b'{"name":"a"}'] * 3_000)
    text = b'{"x":{"tools":[%b,%b,1,"y"]}}' % (names, IMAGE)
    body = read_body_now(text)

    assert carried(body) == [("/x/tools", "unknown", ["image_generation"])]
    assert sum(1 for _ in read_body(text)) >= 6


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("kind", [{}, {"type": None}, {"type": "future"}])
def test_arrays_in_an_array_of_strangers_are_searched_too(
    depth: int, kind: dict[str, object]
) -> None:
    """A lenient reader may flatten them."""
    tools: object = {"type": "image_generation"}
    for _ in range(depth):
        tools = [tools]
    body = read_body_now(
        compact({"input": [{**kind, "role": "developer", "tools": tools}]})
    )

    place = "/input/0/tools" + "/0" * depth
    assert [t.pointer for c in body.carriers for t in c.tools] == [place]


@pytest.mark.parametrize(
    "member", ["reasoning", "stream_options", "context_management", "extra_body"]
)
def test_members_that_have_no_tools_are_searched(member: str) -> None:
    """Known or not: whoever finds tools in them may use them."""
    body = read_body_now(compact({member: {"tools": [{"type": "image_generation"}]}}))

    assert [t.pointer for c in body.carriers for t in c.tools] == [f"/{member}/tools/0"]


def test_a_schema_may_speak_of_tools() -> None:
    """And so may a caller's own notes."""
    schema = {"format": {"schema": {"properties": {"tools": {"type": "array"}}}}}
    body = read_body_now(compact({"text": schema, "metadata": {"tools": "a, b"}}))

    assert body.carriers == ()


@pytest.mark.parametrize("levels", [90, 101])
def test_what_is_in_a_tool_is_not_too_deep(levels: int) -> None:
    """The schema of a function is; members that are open are counted elsewhere."""
    schema = b'{"items":' * levels + b"{}" + b"}" * levels
    tools = b'{"type":"function","parameters":%b},{"type":"image_generation","x":{}}'
    data = b'{"tools":[%b]}' % (tools % schema)

    if levels < 100:
        assert len(read_body_now(data).carriers[0].tools) == 2
        return
    with pytest.raises(MalformedRequest) as raised:
        read_body_now(data)
    assert raised.value.pointer == "/tools/0/parameters"
