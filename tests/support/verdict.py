"""What must not be in a request that reached the provider, said once more, plainly.

Nothing here is the engine's: the bytes are read by several readers that disagree
about everything that can be disagreed about, and each reading is held against the
policy as it stands in the file.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from oracle import FIELDS, READERS, Rules, faults, folded, image_tools, tool_faults
from recorder import Seen

from imagegate import shipped

CANARY = "CANARY77"
HEADER = "x-ms-oai-image-generation-deployment"
_BASES = (
    "/v1|/openai|/openai/v1|/api/projects/[^/]+/openai/v1|/openai/deployments/[^/]+"
)
_ID = "[A-Za-z0-9_.:@~-]+"


def _routes(*below: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{_BASES})(?:{'|'.join(below)})")


_CREATE = _routes("/responses", "/responses/compact", "/responses/input_tokens")
_RUN = _routes("/responses")
_ITEMS = _routes("/conversations", f"/conversations/{_ID}(?:/items)?")
_IMAGES = _routes("/images/generations", "/images/edits")
_AGENT = re.compile(rf"/api/projects/{_ID}/agents/{_ID}/versions")
_BARE = _routes(
    f"/responses/{_ID}(?:/input_items|/cancel)?",
    f"/conversations/{_ID}(?:/items(?:/{_ID})?)?",
    f"/models(?:/{_ID})?",
)
_OPEN = _routes("/chat/completions", "/embeddings", "/moderations")
_ONCE = (
    "host", "content-type", "content-length", "content-encoding", "authorization",
    "api-key", "x-ms-oai-image-generation-deployment", "accept-encoding",
)  # fmt: skip
_NEVER = (
    "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
    "content-encoding",
    "proxy-connection", "http2-settings", "forwarded", "x-forwarded-host",
    "x-forwarded-for", "x-forwarded-user", "x-http-method-override", "x-original-url",
    "x-rewrite-url", "cookie", "x-nominated",
)  # fmt: skip
_KNOWN = {
    folded(key): key
    for key in (
        "tools", "input", "tool_choice", "model", "prompt", "conversation",
        "previous_response_id", "items", "type", "quality", "size", "moderation",
        "agent_reference",
    )
}  # fmt: skip


def policy_of(name: str) -> Mapping[str, Any]:
    """Read a shipped policy; `{do: WORD}` is the long form of a word."""
    document = yaml.safe_load(shipped.find_policy(name).read_bytes())
    return {key: _short(value) for key, value in document.items()}


def _short(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("do"), str):
        return value["do"]
    return {key: _short(each) for key, each in value.items()}


def wrong_with(policy: Mapping[str, Any], seen: Seen) -> list[str]:
    """Say everything that must not have arrived."""
    return [*seen.faults, *_heads(seen), *_bodies(policy, seen)]


def _heads(seen: Seen) -> Iterator[str]:
    names = [name for name, _ in seen.headers]
    yield from (
        f"{name} {names.count(name)} times" for name in _ONCE if names.count(name) > 1
    )
    yield from (f"the header {name}" for name in _NEVER if name in names)
    if seen.values("accept-encoding") != ["identity"]:
        yield "an answer that may be encoded"
    texts = [seen.target, *(value for name, value in seen.headers if name != HEADER)]
    if any(CANARY in text for text in texts):
        yield "the canary in the head"


def _bodies(policy: Mapping[str, Any], seen: Seen) -> Iterator[str]:
    path, posted = seen.path, seen.method == "POST"
    judged = (_CREATE, _ITEMS, _IMAGES, _AGENT)
    if posted and any(routes.fullmatch(path) for routes in judged):
        kinds = [kind.replace(" ", "").lower() for kind in seen.values("content-type")]
        if kinds not in (["application/json"], ["application/json;charset=utf-8"]):
            yield f"content types {kinds}"
        yield from _texts(seen.body)
        for name, value in _readings(seen.body).items():
            yield from (f"{name}: {fault}" for fault in _judge(policy, seen, value))
    elif _BARE.fullmatch(path) and seen.method in {"GET", "DELETE", "POST"}:
        if seen.body:
            yield "a body where there is none"
    elif not (posted and _OPEN.fullmatch(path)):
        yield f"no such door: {seen.method} {seen.target}"


def _texts(body: bytes) -> Iterator[str]:
    """Look for the canary as it stands, and behind every escape and encoding."""
    texts = [
        body.decode(code, "replace") for code in ("utf-8", "utf-16-le", "utf-16-be")
    ]
    texts.append(
        re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), texts[0])
    )
    if any(CANARY in text for text in texts):
        yield "the canary"


def _readings(body: bytes) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    readers = {**READERS, "lax": _lax}
    for name, reader in readers.items():
        try:
            found[name] = reader(body)
        except (ValueError, RecursionError) as error:
            # What is too deep for a reader cannot mislead it.
            if "recursion" not in str(error):
                found[name] = error
    return found


def _lax(body: bytes) -> Any:
    """Read as a server that does not mind how a key is spelled."""

    def plain(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {_KNOWN.get(folded(key), key): value for key, value in pairs}

    return json.loads(body, object_pairs_hook=plain)


def _judge(policy: Mapping[str, Any], seen: Seen, body: Any) -> Iterator[str]:
    if not isinstance(body, dict):
        yield f"no object: {body!r}"
        return
    azure = not seen.path.startswith("/v1")
    rules = Rules(policy, team=False, verified=False)
    if _AGENT.fullmatch(seen.path):
        body = body.get("definition")
    if azure:
        yield from _deployments(policy, seen, body)
        named = seen.values(HEADER)
        body = _undeployed(policy, body, named[0] if named else None)
    if _IMAGES.fullmatch(seen.path):
        fields = {key: value for key, value in body.items() if key in FIELDS}
        yield from tool_faults(rules, {"type": "image_generation", **fields})
        if body.get("n", 1) != 1:
            yield f"n {body['n']!r}"
        return
    items = body.get("input", body.get("items"))
    # What is said of one list of items is said of the other.
    body = {key: value for key, value in body.items() if key != "items"}
    found = faults(rules, body | {"input": items})
    if not _RUN.fullmatch(seen.path):
        # Where nothing is run, nothing is called.
        found = [fault for fault in found if not fault.startswith("max_tool_calls")]
    yield from found
    yield from _odd_items(policy, items)
    yield from _odd_choice(body.get("tool_choice"))


def _odd_items(policy: Mapping[str, Any], items: Any) -> Iterator[str]:
    for item in items if isinstance(items, list) else []:
        kind = item.get("type") if isinstance(item, dict) else "?"
        refers = kind == "item_reference" or (
            kind is None and "id" in item and "content" not in item
        )
        if refers and policy["state"].get("item_reference") != "allow":
            yield f"the reference {item!r}"


def _odd_choice(choice: Any) -> Iterator[str]:
    """A choice in other letters names a tool that was not judged."""
    for text in re.findall(r'"((?:[^"\\]|\\.)*)"', json.dumps(choice)):
        plain = unicodedata.normalize("NFKC", text).casefold()
        if folded(plain) == "imagegeneration" and text != "image_generation":
            yield f"the choice {choice!r}"


def _deployments(policy: Mapping[str, Any], seen: Seen, body: Any) -> Iterator[str]:
    """A deployment is listed, and body and header name the same."""
    known = policy.get("deployments")
    # Where an agent is only registered, nothing reads the header.
    named = seen.values(HEADER) if _CREATE.fullmatch(seen.path) else []
    if known is not None and not set(named) <= set(known):
        yield f"the deployments {named}"
    for _, tool in image_tools(body):
        if tool.get("model") is None and named:
            continue  # the header names it
        if known is not None and tool.get("model") not in list(known):
            yield f"the deployment {tool.get('model')!r}"
        elif named not in ([], [tool.get("model")]):
            yield f"{named} against {tool.get('model')!r}"


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
