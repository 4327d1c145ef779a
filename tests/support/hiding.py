"""Image tools that ask for too much, and every place where one can stand.

What a request asks for is not decided here: most of it is forbidden, some turns out
to be harmless, and `verdict` judges what comes out of the gateway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from case import Draft
from spelling import Pairs, Pen, Text
from verdict import CANARY

TYPES = [
    "Image_Generation", "IMAGE_GENERATION", "image_generation\n", " image_generation",
    "image-generation", "imagegeneration", "image_generation_preview",
    "imageGeneration",
    "image_generation_2025_04_16", "image_generation\0", "ｉmage_generation",
    "image_gene\u00adration", "İmage_generation",
]  # fmt: skip
VALUES: Mapping[str, list[Any]] = {
    "model": [
        "gpt-image-2", "gpt-image-2.6-sunburst", "gpt-image-1.5", f"gpt-{CANARY}", None,
        " gpt-image-1-mini", "gpt-image-1-mini ", "GPT-IMAGE-1-MINI", True,
        ["gpt-image-2"], {"id": "gpt-image-2"},
        "gpt-image-1-mini", "img-mini-prod", "img-dear",
        "gpt-image-2-2026-04-21", "dall-e-3", "chatgpt-image-latest", "",
    ],
    "quality": [
        "high", "xhigh", "max", "auto", None, "HIGH", "high ", ["high"], "low",
        "medium",
        "standard", "hd", Text("1e0"), True,
    ],
    "size": [
        "2048x2048", "1536X1024", "1536×1024", "+1536x1024", "1024x1024", "auto",
        "3840x2160", "512x512x1536", "9999999999x1", "٢٠٤٨x٢٠٤٨", "01024x1024", None,
        "1024 x 1024", "3072x1024", 1024,
    ],
    "moderation": ["low", "auto", "LOW", None, False, "low\n", "none", ["low"]],
    "partial_images": [0, 1, 3, Text("3.0"), Text("3e0"), "3", True, None, -1],
    "output_format": ["png", "gif", "svg", "webp", "PNG", None],
    "background": ["transparent", "opaque", "auto", None],
    "action": ["edit", "generate", "auto"],
    "input_fidelity": ["high", "low"],
    "complexity": ["high", "low"],
    "n": [1, 4],
    "name": [CANARY],
    "description": [CANARY],
    "tool_configs": [{"*": {"additional_search_text": CANARY}}],
    "x_unknown": [CANARY],
    "svg": [{"model": "gpt-5"}, {"reasoning": {"effort": "max"}}, None],
    "input_image_mask": [{"image_url": "data:,AAAA"}],
    "frame_count": [2, 16, 99],
}  # fmt: skip
ODD_KEYS: list[Callable[[str], str]] = [
    str.upper,
    str.title,
    lambda key: f"{key}\0",
    lambda key: f"{key} ",
    lambda key: f"\ufeff{key}",
    lambda key: key.replace("s", "ſ"),
    lambda key: "".join(chr(ord(c) + 0xFEE0) if c.isalpha() else c for c in key),
    lambda key: f"{key[:2]}\u00ad{key[2:]}",
    lambda key: f"{key}\ud800",
]


def image_tool(draft: Draft) -> Pairs:
    """Draw a tool, mostly one that asks for more than is allowed."""
    random = draft.random
    odd = draft.maybe(0.08)
    pairs = Pairs([("type", random.choice(TYPES) if odd else "image_generation")])
    if draft.maybe(0.5):
        names = ["model", "quality", "size", "moderation", "partial_images"]
    else:
        names = list(VALUES)
    for name in random.sample(names, random.randint(0, min(4, len(names)))):
        pairs.append((name, random.choice(VALUES[name])))
    if draft.maybe(0.3):
        pairs.append(("model", f"gpt-image-{CANARY}"))
    if draft.maybe(0.12):
        key = draft.pick(ODD_KEYS, "key in tool")(random.choice(names))
        pairs.append((key, random.choice(VALUES["quality"])))
    if draft.maybe(0.1):
        pairs.append(random.choice(pairs))
        draft.story.append("twice in tool")
    random.shuffle(pairs)
    return pairs


FUNCTION: Mapping[str, Any] = {
    "type": "function",
    "name": "f",
    "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
}
FINE = {
    "type": "image_generation", "model": "gpt-image-1-mini", "quality": "low",
    "size": "1024x1024", "moderation": "auto", "partial_images": 0,
}  # fmt: skip


def _some_tools(draft: Draft) -> list[Any]:
    tools: list[Any] = [image_tool(draft)]
    if draft.maybe(0.2):
        tools.append(image_tool(draft))
    if draft.maybe(0.2):
        tools.append(dict(FINE))
    if draft.maybe(0.3):
        tools.append(dict(FUNCTION))
    if draft.maybe(0.05):
        tools = draft.pick(
            [tools[:1] * 2, [tools], [*tools, "image_generation"]], "list"
        )
    draft.random.shuffle(tools)
    return tools


def _in_tools(draft: Draft, body: Pairs) -> None:
    body.append(("tools", _some_tools(draft)))


def _in_odd_tools(draft: Draft, body: Pairs) -> None:
    tools = _some_tools(draft)
    shapes = [
        {"0": tools[0]}, tools[0], Pen(random=draft.random).write(tools), [tools],
        {"image_generation": tools[0]}, {"tools": tools},
    ]  # fmt: skip
    body.append(("tools", draft.pick(shapes, "shape")))


def _in_item(draft: Draft, body: Pairs) -> None:
    kind = draft.pick(
        [
            "additional_tools", "tool_search_output", "message", "Additional_Tools",
            "additional_tools\n", "future_item", "mcp_list_tools", "program_output",
            "tool_search_call", None,
        ],
        "item",
    )  # fmt: skip
    item = Pairs([("type", kind), ("tools", _some_tools(draft))])
    if draft.maybe(0.5):
        item.insert(draft.random.randint(0, 2), ("role", "developer"))
    if draft.maybe(0.3):
        item.append(("content", [{"type": "input_text", "text": "x"}]))
    if draft.maybe(0.1):
        item.append(("type", "message"))
        draft.story.append("type twice in item")
    if draft.maybe(0.1):
        item.append((draft.pick(ODD_KEYS, "key in item")("tools"), _some_tools(draft)))
    items: list[Any] = [{"role": "user", "content": "x"}] * draft.random.randint(0, 3)
    items.insert(draft.random.randint(0, len(items)), item)
    body.append(("input", items))


def _in_nested_item(draft: Draft, body: Pairs) -> None:
    inner = {"type": "additional_tools", "tools": _some_tools(draft)}
    wraps = [
        {"role": "user", "content": [inner]},
        {"type": "function_call_output", "call_id": "c", "output": [inner]},
        {"type": "reasoning", "summary": [inner]},
        {"type": "additional_tools", "tools": [inner]},
        {"type": "agent_message", "items": [inner]},
        [inner],
    ]
    body.append(("input", [draft.pick(wraps, "wrap")]))


def _in_namespace(draft: Draft, body: Pairs) -> None:
    tools = _some_tools(draft)
    wraps = [
        {"type": "namespace", "name": "n", "description": "d", "tools": tools},
        {"type": "namespace", "name": "n", "description": "d", "Tools": tools},
        {"type": "tool_search", "tools": tools},
        {"type": "mcp", "server_label": "l", "server_url": "https://x", "tools": tools},
        {"type": "function", "name": "f", "tools": tools},
        {
            "type": "namespace",
            "name": "n",
            "tools": [{"type": "namespace", "tools": tools}],
        },
    ]
    body.append(("tools", [draft.pick(wraps, "namespace")]))


def _in_choice(draft: Draft, body: Pairs) -> None:
    choices = [
        {
            "type": "allowed_tools",
            "mode": "required",
            "tools": [image_tool(draft)],
        },
        {"type": "image_generation"},
        {"type": draft.random.choice(TYPES)},
        {
            "type": "allowed_tools",
            "mode": "auto",
            "tools": [{"type": "Image_Generation"}],
        },
        "required",
    ]
    body.append(("tool_choice", draft.pick(choices, "choice")))
    if draft.maybe(0.7):
        _in_tools(draft, body)


_STORED = [
    "Item_Reference", "item_reference\n", "item-reference", "additional_tools",
    "tool_search_output", "compaction", "compaction_summary", "context_compaction",
    "Compaction", "compaction\0",
]  # fmt: skip


def _by_reference(draft: Draft, body: Pairs) -> None:
    members: list[Pairs] = [
        Pairs([("prompt", {"id": "pmpt_1"})]),
        Pairs([("prompt", {"prompt_id": "pmpt_1"})]),
        Pairs([("prompt", "pmpt_1")]),
        Pairs([("Prompt", {"id": "pmpt_1"})]),
        Pairs([("conversation", "conv_1")]),
        Pairs([("conversation", {"id": "conv_1"})]),
        Pairs([("previous_response_id", "resp_never_seen")]),
        Pairs([("agent_reference", {"type": "agent_reference", "name": "a"})]),
        Pairs([("agent", {"name": "a"})]),
        Pairs([("structured_inputs", {"quality": "high"})]),
        Pairs([("multi_agent", {"enabled": True})]),
        Pairs([("input", [{"id": "at_1"}])]),
        Pairs([("input", [{"type": "item_reference", "id": "at_1"}])]),
        Pairs([("input", [{"type": None, "id": "at_1"}])]),
        Pairs([("input", [{"id": "at_1", "role": "developer"}])]),
        Pairs([("input", [{"Type": "item_reference", "id": "at_1"}])]),
        Pairs([("input", [{"id": "at_1", "role": None, "content": None}])]),
        Pairs([("input", [{"id": "at_1", "role": "x", "content": "x"}])]),
        *(
            Pairs([("input", [{"type": kind, "id": "at_1", "encrypted_content": "x"}])])
            for kind in _STORED
        ),
    ]
    body += draft.pick(members, "reference")
    if draft.maybe(0.3):
        _in_tools(draft, body)


def _in_foreign_member(draft: Draft, body: Pairs) -> None:
    tools = _some_tools(draft)
    members: list[Pairs] = [
        Pairs([("data_source", {"sampling_params": {"tools": tools}})]),
        Pairs([("session", {"delegation": {"responses": {"tools": tools}}})]),
        Pairs([("response", {"tools": tools})]),
        Pairs([("body", {"tools": tools})]),
        Pairs([("items", [{"type": "additional_tools", "tools": tools}])]),
        Pairs([("extra_body", {"tools": tools})]),
        Pairs([("reasoning", {"tools": tools})]),
        Pairs([("stream_options", {"tools": tools})]),
        Pairs([("context_management", [{"type": "compaction", "tools": tools}])]),
    ]
    body += draft.pick(members, "member")


def _under_odd_key(draft: Draft, body: Pairs) -> None:
    body.append((draft.pick(ODD_KEYS, "key")("tools"), _some_tools(draft)))
    if draft.maybe(0.4):
        body.append(("tools", [dict(FINE)]))


def _twice(draft: Draft, body: Pairs) -> None:
    good, bad = [dict(FINE)], _some_tools(draft)
    orders = [[good, bad], [bad, good], [good, bad, good], [[], bad], [bad, None]]
    for each in draft.pick(orders, "twice"):
        body.append(("tools", each))


def _image_model(draft: Draft, body: Pairs) -> None:
    names = ["gpt-image-2", "GPT-Image-2", "gpt-image-2.6-sunburst", "gpt_image_2"]
    body[0] = ("model", draft.pick(names, "model"))


CARRIERS: list[Callable[[Draft, Pairs], None]] = [
    *[_in_tools] * 6,
    *[_in_item] * 5,
    _in_odd_tools,
    _in_nested_item,
    _in_namespace,
    _in_choice,
    _by_reference,
    _in_foreign_member,
    _under_odd_key,
    _twice,
    _twice,
    _image_model,
]


def bodied(draft: Draft) -> None:
    """Put a request together, of an ordinary beginning and one or two carriers."""
    body = Pairs([("model", "gpt-5"), ("input", "x")])
    for carrier in draft.random.choices(CARRIERS, k=1 + draft.maybe(0.15)):
        carrier(draft, body)
        draft.story.append(carrier.__name__.strip("_"))
    if [key for key, _ in body].count("input") > 1 and draft.maybe(0.9):
        del body[1]
    for key, value in (("stream", True), ("background", True), ("store", False)):
        if draft.maybe(0.1):
            body.append((key, value))
    if draft.maybe(0.2):
        body.append(("max_tool_calls", draft.random.choice([1, 50, None, Text("9.0")])))
    if draft.maybe(0.7):
        draft.random.shuffle(body)
    draft.body = body


def for_other_door(draft: Draft) -> None:
    """Turn to a route that takes another body."""
    tool, items = image_tool(draft), Pairs()
    _in_item(draft, items)
    listed = dict(items)["input"]
    doors: list[tuple[str, object]] = [
        ("/v1/images/generations", Pairs([("prompt", "x"), *tool[1:]])),
        ("/v1/images/generations", Pairs([("prompt", "x"), ("n", 4)])),
        ("/v1/images/edits", Pairs([("prompt", "x"), *tool[1:]])),
        ("/v1/conversations", {"items": listed}),
        ("/v1/conversations/conv_1/items", {"items": listed}),
        ("/v1/conversations/conv_1", {"items": listed, "metadata": {}}),
        ("/v1/responses/compact", {"model": "gpt-5", "input": listed}),
        ("/v1/responses/input_tokens", {"model": "gpt-5", "tools": [tool]}),
        ("/v1/evals/e/runs", {"data_source": {"sampling_params": {"tools": [tool]}}}),
        ("/v1/batches", {"endpoint": "/v1/responses", "input_file_id": CANARY}),
        ("/v1/live/sessions", {"session": {"tools": [tool]}}),
        ("/v1/responses/resp_1/cancel", {"tools": [tool]}),
        (
            "/api/projects/p/agents/a/versions",
            {"definition": {"kind": "prompt", "tools": [tool]}},
        ),
        ("/api/projects/p/routines/r", {"action": {"input": [{"tools": [tool]}]}}),
    ]  # fmt: skip
    draft.path, draft.body = draft.pick(doors, "door")
