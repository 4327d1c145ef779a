"""What a request that arrived means, held against the policy as it is written."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from doors import AGENT, BARE_DEPLOYMENT, CREATE, ENDPOINT, IMAGES, RUN
from oracle import (
    FIELDS,
    Rules,
    faults,
    folded,
    image_tools,
    listed,
    tool_faults,
)
from recorder import Seen

HEADER = "x-ms-oai-image-generation-deployment"
_IMAGE_FIELDS = {
    "prompt", "n", "stream", "image", "mask", "markup", "safety_identifier",
}  # fmt: skip
_IMAGE_DEPRECATED = {"response_format", "style", "user"}
_NO_IMAGE_FIELDS = {
    "type", "action", "input_image_mask", "name", "description", "tool_configs",
}  # fmt: skip


def judge(policy: Mapping[str, Any], seen: Seen, body: Any) -> Iterator[str]:
    """Say everything that is forbidden in a body at a door."""
    if not isinstance(body, dict):
        yield f"no object: {body!r}"
        return
    if AGENT.fullmatch(seen.path):
        body = body.get("definition")
        if not isinstance(body, dict) or body.get("kind") != "prompt":
            yield f"no prompt agent: {body!r}"
            return
    if not seen.path.startswith("/v1"):
        yield from _deployments(policy, seen, body)
        body = _undeployed(policy, body, _named_by_header(seen))
    rules = Rules(policy, team=False, verified=False)
    if IMAGES.fullmatch(seen.path):
        yield from _images(policy, rules, seen, body)
    else:
        yield from _messages(policy, rules, seen, body)


def _messages(
    policy: Mapping[str, Any], rules: Rules, seen: Seen, body: dict[str, Any]
) -> Iterator[str]:
    items = body.get("input", body.get("items"))
    # What is said of one list of items is said of the other.
    body = {key: value for key, value in body.items() if key != "items"}
    found = faults(rules, body | {"input": items})
    if not RUN.fullmatch(seen.path):
        # Where nothing is run, nothing is called.
        found = [fault for fault in found if not fault.startswith("max_tool_calls")]
    yield from found
    yield from _odd_items(policy, items)
    yield from _odd_choice(body.get("tool_choice"))
    endpoint = ENDPOINT.fullmatch(seen.path)
    agents = rules.word("state", "agents", "refuse")
    if endpoint and rules.acts and agents != "allow":
        allowed = isinstance(agents, list) and listed(endpoint["agent"], agents)
        if not allowed:
            yield f"the agent {endpoint['agent']!r}"


def _images(
    policy: Mapping[str, Any], rules: Rules, seen: Seen, body: dict[str, Any]
) -> Iterator[str]:
    if policy.get("surface", {}).get("images_api") == "refuse":
        yield "the door is closed"
    if rules.acts and policy.get("tool", "allow") != "allow":
        yield "there is an image"
    tool = {key: value for key, value in body.items() if key in FIELDS}
    deployment = BARE_DEPLOYMENT.match(seen.path)
    if deployment:
        known = policy.get("deployments", {})
        if deployment[1] not in known:
            yield f"the deployment {deployment[1]!r} in the path"
        if body.get("model") not in (None, known.get(deployment[1], deployment[1])):
            yield f"{deployment[1]!r} in the path against {body.get('model')!r}"
        tool["model"] = known.get(deployment[1], deployment[1])
    yield from tool_faults(rules, {**tool, "type": "image_generation"})
    yield from _image_fields(rules, body)
    most, count = rules.limit("images_api_n"), body.get("n")
    whole = type(count) is int and (most is None or count <= most)
    if most is not None and count is not None and not whole:
        yield f"n {count!r}"


def _image_fields(rules: Rules, body: Mapping[str, Any]) -> Iterator[str]:
    known = (FIELDS - _NO_IMAGE_FIELDS) | _IMAGE_FIELDS
    for key in body.keys() - known:
        kind = "deprecated" if key in _IMAGE_DEPRECATED else "unknown"
        if rules.word("fields", kind, "block") != "pass":
            yield f"{kind} {key!r}"


def _odd_items(policy: Mapping[str, Any], items: Any) -> Iterator[str]:
    """What is stored, and what is sealed, however its type is spelled."""
    state = policy["state"]
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, dict):
            continue
        kind = folded(str(item.get("type")))
        if "compaction" in kind and state.get("compaction") != "allow":
            yield f"the history {item!r}"
        if _is_stored(kind, item) and state.get("item_reference") != "allow":
            yield f"the reference {item!r}"


def _is_stored(kind: str, item: Mapping[str, Any]) -> bool:
    if kind == "none":
        said = item.get("role"), item.get("content")
        message = isinstance(said[0], str) and isinstance(said[1], str | list)
        return "id" in item and not message
    carries = kind in {"additionaltools", "toolsearchoutput"}
    bare = carries and item.get("tools") is None
    return "id" in item and (kind == "itemreference" or bare)


def _odd_choice(choice: Any) -> Iterator[str]:
    """A choice in other letters names a tool that was not judged."""
    for text in re.findall(r'"((?:[^"\\]|\\.)*)"', json.dumps(choice)):
        plain = unicodedata.normalize("NFKC", text).casefold()
        if folded(plain) == "imagegeneration" and text != "image_generation":
            yield f"the choice {choice!r}"


# -- deployments ------------------------------------------------------------------


def _named_by_header(seen: Seen) -> str | None:
    # Where an agent is only registered, nothing reads the header.
    reads = any(door.fullmatch(seen.path) for door in (CREATE, ENDPOINT, IMAGES))
    named = seen.values(HEADER)
    return named[0] if reads and named else None


def _deployments(policy: Mapping[str, Any], seen: Seen, body: Any) -> Iterator[str]:
    """A deployment is listed, and body and header name the same."""
    known, named = policy.get("deployments"), _named_by_header(seen)
    if known is not None and named is not None and named not in known:
        yield f"the deployment {named!r} in the header"
    for _, tool in image_tools(body):
        model = tool.get("model")
        if model is None and named:
            continue  # the header names it
        if known is not None and model not in list(known):
            yield f"the deployment {model!r}"
        elif named not in (None, model):
            yield f"{named!r} against {model!r}"


def _undeployed(policy: Mapping[str, Any], value: Any, named: str | None) -> Any:
    """Put the models in the place of their deployments; the header names them too."""
    known = policy.get("deployments", {})
    if isinstance(value, list):
        return [_undeployed(policy, each, named) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _undeployed(policy, each, named) for key, each in value.items()}
    if value.get("type") == "image_generation" and value.get("model") is None and named:
        found["model"] = named
    if isinstance(found.get("model"), str):
        found["model"] = known.get(found["model"], found["model"])
    return found
