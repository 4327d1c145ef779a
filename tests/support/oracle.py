"""The rules a second time, plainly: what must hold of a request that is sent.

It shares no code with the engine. A policy is the dictionary that was written
into the file, a request is what an ordinary JSON reader makes of the bytes, and
both are read as a reviewer would read them. It says what is wrong, never what
to do about it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jiter
import orjson

ORDERS = {
    "quality": ["low", "medium", "high", "xhigh", "max"],
    "moderation": ["low", "auto"],
    "input_fidelity": ["low", "high"],
    "complexity": ["low", "medium", "high"],
    "svg.reasoning.effort": [
        "none", "minimal", "low", "medium", "high", "xhigh", "max",
    ],
}  # fmt: skip
WORDS = ORDERS | {
    "quality": [*ORDERS["quality"], "auto"],
    "background": ["transparent", "opaque", "auto"],
    "output_format": ["png", "webp", "jpeg", "gif", "svg"],
    "action": ["generate", "edit", "auto"],
}
OPEN = {"quality", "size", "background", "complexity"}
DEFAULTS: dict[str, str | int] = {
    "moderation": "auto",
    "output_format": "png",
    "output_compression": 100,
    "input_fidelity": "low",
    "partial_images": 0,
    "action": "auto",
}
NUMBERS = {
    "output_compression", "partial_images", "frame_count", "frame_duration_ms",
}  # fmt: skip
FIELDS = {
    "type", "action", "background", "complexity", "frame_count", "frame_duration_ms",
    "input_fidelity", "input_image_mask", "model", "moderation", "output_compression",
    "output_format", "partial_images", "quality", "size", "svg", "name", "description",
    "tool_configs",
}  # fmt: skip
DEPRECATED = {"name", "description", "tool_configs"}
SNAPSHOTS = re.compile(r"-\d{4}-\d{2}-\d{2}\Z")
STATE = {
    "prompt": "prompt",
    "agent_reference": "agents",
    "agent": "agents",
    "conversation": "conversation",
    "previous_response_id": "previous_response",
    "response_id": "previous_response",
    "structured_inputs": "structured_inputs",
    "multi_agent": "multi_agent",
}


AGENTS = ("agent", "agent_reference")
_REFERENCE = {"type", "name", "version"}


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


READERS: Mapping[str, Callable[[bytes], Any]] = {
    "stdlib": json.loads,
    "first wins": lambda data: json.loads(data, object_pairs_hook=_first),
    "orjson": orjson.loads,
    "jiter": jiter.from_json,
}


def folded(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, plain))


def image_tools(
    node: object, place: str = "", *, listed: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Find everything in a list of tools that has the type of an image tool."""
    if isinstance(node, dict):
        kind = node.get("type")
        if listed and folded(str(kind)).startswith("imagegeneration"):
            yield place, node
        for key, value in node.items():
            if not place and key in {"tool_choice", "metadata"}:
                continue  # a choice is no definition, and notes are the caller's own
            listed = isinstance(value, list) and folded(key) == "tools"
            yield from image_tools(value, f"{place}/{key}", listed=listed)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from image_tools(value, f"{place}/{index}", listed=listed)


class Rules:
    """What acts for one principal: lines by where they stand in the file."""

    def __init__(
        self, policy: Mapping[str, Any], *, team: bool, verified: bool
    ) -> None:
        self.acts = policy["mode"] == "enforce"
        self.layers = [policy]
        if team:
            self.layers += policy.get("teams", {}).values()
        self.verified = verified

    def lines(self, *steps: str) -> list[tuple[str, Any]]:
        """Return the acting (kind, value) pairs of the blocks at a path."""
        found: dict[str, list[Any]] = {}
        for layer in self.layers:
            block: Any = layer
            for step in steps:
                block = block.get(step, {}) if isinstance(block, dict) else {}
            if not block or (block.get("loosens") and not self.verified):
                continue
            for kind in ("max", "min", "allow", "allow_auto"):
                if kind in block:
                    values = found.setdefault(kind, [])
                    if block.get("loosens"):
                        values.clear()
                    if block.get("mode") != "observe":
                        values.append(block[kind])
        if not self.acts:
            return []
        return [(kind, value) for kind, values in found.items() for value in values]

    def leaves_open(self, name: str, entries: Iterable[str]) -> bool:
        """Tell whether each block with a limit lets the provider choose as well.

        One that tightens the baseline says so itself, and so does one for one model.
        """
        blocks = [
            (layer, one, block)
            for layer in self.layers
            for one, block in _blocks(layer, name, entries)
            if block.get("mode") != "observe"
            and (self.verified or "loosens" not in block)
        ]
        said = [(layer, one) for layer, one, block in blocks if "allow_auto" in block]
        return bool(said) and all(
            any(
                (where is layer or layer is self.layers[0] or "loosens" in block)
                and (mine or not one)
                for where, mine in said
            )
            for layer, one, block in blocks
            if block.keys() & {"max", "min", "allow"}
        )

    def models(self) -> list[set[str]]:
        lists = [
            set(x["models"]) - {"default", "otherwise"}
            for x in self.layers
            if "models" in x
        ]
        return lists if self.acts else []

    def word(self, section: str, name: str, silent: str) -> str | list[str]:
        """Return the strictest word of the layers, or what is in all their lists."""
        order = ["pass", "allow", "seen", "strip", "block", "refuse"]
        words = [x.get(section, {}).get(name) for x in self.layers]
        said = [word for word in words if word]
        if not self.acts:
            return "pass"
        lists = [word for word in said if isinstance(word, list)]
        if lists and "refuse" not in said:
            return [each for each in lists[0] if all(each in other for other in lists)]
        return max(said, key=order.index) if said else silent

    def limit(self, name: str) -> int | None:
        said = [x.get("limits", {}).get(name) for x in self.layers]
        numbers = [n["max"] if isinstance(n, dict) else n for n in said if n]
        return min(numbers) if numbers and self.acts else None


def _blocks(
    layer: Mapping[str, Any], name: str, entries: Iterable[str]
) -> Iterator[tuple[bool, Mapping[str, Any]]]:
    """Yield a layer's blocks of a setting, and whether each is for one model."""
    found = [(False, layer.get("settings", {}).get(name))]
    models = layer.get("models", {})
    found += [(True, models.get(each, {}).get(name)) for each in entries]
    yield from ((one, block) for one, block in found if isinstance(block, dict))


def listed(reference: object, allowed: list[str]) -> bool:
    """Tell whether a reference names what a list allows, in every version or one."""
    if isinstance(reference, str):
        reference = {"name": reference}
    if not isinstance(reference, dict) or not reference.keys() <= _REFERENCE:
        return False
    name, version = reference.get("name"), reference.get("version")
    return name in allowed or (version is not None and f"{name}@{version}" in allowed)


def faults(rules: Rules, body: Mapping[str, Any]) -> list[str]:
    """Say everything that is forbidden in a request."""
    found = []
    tools = list(image_tools(body))
    words = [layer.get("tool", "allow") for layer in rules.layers]
    if rules.acts and set(words) != {"allow"} and tools:
        found.append("there is an image tool")
    limit = rules.limit("tools")
    if limit is not None and len(tools) > limit:
        found.append(f"{len(tools)} tools")
    found += _call_faults(rules, body, tools=bool(tools))
    found += [f"state {key}" for key in STATE if _is_unlisted(rules, body, key)]
    # What holds without a line acts where lines do.
    if rules.acts and "gptimage" in folded(str(body.get("model"))):
        found.append("an image model answers")
    for place, tool in tools:
        at = re.fullmatch(r"/tools/\d+|/input/\d+/tools/\d+", place)
        if not at and rules.acts:
            found.append(f"{place}: no place for an image tool")
        found += [f"{place}: {fault}" for fault in tool_faults(rules, tool)]
    return found


def _call_faults(
    rules: Rules, body: Mapping[str, Any], *, tools: bool
) -> Iterator[str]:
    calls, most = body.get("max_tool_calls"), rules.limit("max_tool_calls")
    if most is None or (type(calls) is int and calls <= most):
        return
    # Beside an agent that has the tools the provider takes no such setting.
    agent = not tools and any(body.get(key) is not None for key in AGENTS)
    reached = tools or any(body.get(key) is not None for key in STATE)
    if reached and not (agent and calls is None):
        yield f"max_tool_calls {calls!r}"


def _is_unlisted(rules: Rules, body: Mapping[str, Any], key: str) -> bool:
    word, value = rules.word("state", STATE[key], "refuse"), body.get(key)
    if value is None or word == "allow" or not rules.acts:
        return False
    return not (isinstance(word, list) and listed(value, word))


def tool_faults(rules: Rules, tool: Mapping[str, Any]) -> Iterator[str]:
    """Say everything that is forbidden in one tool."""
    if tool["type"] != "image_generation" and rules.acts:
        yield f"type {tool['type']!r}"
    yield from _field_faults(rules, tool)
    named = tool.get("model")
    stem = SNAPSHOTS.sub("", named) if isinstance(named, str) else None
    entries = set()
    for listed in rules.models():
        entry = named if named in listed else stem if stem in listed else None
        if not isinstance(named, str) or entry is None:
            yield f"model {named!r}"
        entries.add(entry)
    if named is not None and not isinstance(named, str):
        yield f"model {named!r}"
    for name in (*WORDS, "size", "svg.model", *NUMBERS):
        lines = rules.lines("settings", name)
        for entry in entries - {None}:
            lines += rules.lines("models", str(entry), name)
        if not rules.leaves_open(name, [str(each) for each in entries - {None}]):
            lines = [line for line in lines if line[0] != "allow_auto"]
        yield from _setting_faults(rules, tool, stem, name, lines)


def _field_faults(rules: Rules, tool: Mapping[str, Any]) -> Iterator[str]:
    if rules.word("fields", "unknown", "block") != "pass":
        yield from (f"unknown {key!r}" for key in tool if key not in FIELDS)
        svg = tool.get("svg")
        for key in svg if isinstance(svg, dict) else ():
            if key not in {"model", "reasoning"}:
                yield f"unknown svg {key!r}"
    if rules.word("fields", "deprecated", "strip") != "pass":
        yield from (f"deprecated {key!r}" for key in tool if key in DEPRECATED)
    masks = {
        layer.get("settings", {}).get("input_image_mask") for layer in rules.layers
    }
    if rules.acts and masks & {"block", "strip"} and tool.get("input_image_mask"):
        yield "a mask"


def _setting_faults(
    rules: Rules,
    tool: Mapping[str, Any],
    model: str | None,
    name: str,
    lines: list[tuple[str, Any]],
) -> Iterator[str]:
    value: Any = tool
    for step in name.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    limits = [line for line in lines if line[0] != "allow_auto"]
    if value is None or (name in OPEN and value == "auto"):
        if not limits or len(limits) < len(lines) or not _matters(tool, model, name):
            return
        if name in OPEN or name not in DEFAULTS:
            yield f"{name} is left open"
            return
        value = DEFAULTS[name]
    elif rules.word("fields", "unknown_values", "block") == "block":
        yield from _unknown(name, value)
    for kind, limit in limits:
        if not _keeps(name, kind, value, limit):
            yield f"{name} {value!r} against {kind} {limit!r}"


def _unknown(name: str, value: object) -> Iterator[str]:
    if name in WORDS and value not in WORDS[name]:
        yield f"{name} {value!r} is no word"
    if name in NUMBERS and type(value) is not int:
        yield f"{name} {value!r} is no number"
    if name == "size" and not (isinstance(value, str) and _edges(value)):
        yield f"size {value!r} is no size"


def _matters(tool: Mapping[str, Any], model: str | None, name: str) -> bool:
    """Tell whether the field means anything beside the others."""
    wanted = tool.get("output_format") or "png"
    if name.startswith("frame_"):
        return bool(wanted == "gif")
    if name.startswith("svg."):
        return bool(wanted == "svg")
    if name == "output_compression":
        return wanted in {"jpeg", "webp"}
    if name == "complexity":
        # Documented for the tool's default model alone; others may not have it.
        return model in {None, "gpt-image-2.6-sunburst"}
    return not (name == "input_fidelity" and model == "gpt-image-2")


def _edges(text: str) -> list[int]:
    found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    return sorted(map(int, found.groups())) if found else []


def _keeps(name: str, kind: str, value: Any, limit: Any) -> bool:
    if kind == "allow":
        return any(type(each) is type(value) and each == value for each in limit)
    if name == "size":
        edges = _edges(value) if isinstance(value, str) else []
        return bool(edges) and all(
            a <= b for a, b in zip(edges, _edges(limit), strict=True)
        )
    if name in NUMBERS:
        if type(value) is not int:
            return False
        return bool(value <= limit) if kind == "max" else bool(value >= limit)
    order = ORDERS[name]
    if value not in order:
        return False
    low, high = (value, limit) if kind == "max" else (limit, value)
    return order.index(low) <= order.index(high)
