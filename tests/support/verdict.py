"""What must not be in a request that reached the provider, said once more, plainly.

Nothing here is the engine's: the bytes are read by several readers that disagree
about everything that can be disagreed about, and each reading is held against the
policy as it stands in the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

import yaml
from doors import (
    AGENT,
    BARE,
    BATCHES,
    CONNECT,
    CREATE,
    ENDPOINT,
    FILES,
    IMAGES,
    ITEMS,
    OPEN,
    STAGED,
)
from formreaders import form_readings
from judging import HEADER, judge
from oracle import READERS, folded
from places import document_of
from recorder import Said, Seen
from staged import batch_faults, file_faults

__all__ = ["CANARY", "HEADER", "policy_of", "wrong_with", "wrong_with_said"]

CANARY = "CANARY77"
_ONCE = (
    "host", "content-type", "content-length", "content-encoding", "authorization",
    "api-key", "x-ms-oai-image-generation-deployment", "accept-encoding",
)  # fmt: skip
_NEVER = (
    "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
    "content-encoding",
    "proxy-connection", "http2-settings", "forwarded", "x-forwarded-host",
    "x-forwarded-for", "x-forwarded-user", "x-http-method-override", "x-original-url",
    "x-rewrite-url", "cookie", "x-nominated", "sec-websocket-protocol",
    "sec-websocket-extensions",
)  # fmt: skip
_KNOWN = {
    folded(key): key
    for key in (
        "tools", "input", "tool_choice", "model", "prompt", "conversation",
        "previous_response_id", "items", "type", "quality", "size", "moderation",
        "agent_reference", "agent", "definition", "kind", "response_id", "n",
        "background", "output_format", "partial_images", "complexity", "svg",
    )
}  # fmt: skip
_MEMBERS = {
    "response.inject": {"type", "stream_id", "response_id", "input"},
    "response.steer": {"type", "stream_id", "previous_response_id", "input"},
}
_FREE = {"prompt", "stream", "image", "mask", "markup", "safety_identifier"}
"""Of a form's fields, those that no policy speaks of."""
_RESPONSES = ("previous_response_id", "response_id")
_REVIEWED = {"v1", "preview", "latest", "2025-04-01-preview"}
_OUR_FORM = re.compile(r"multipart/form-data; boundary=imagegate-[0-9a-f]{32}")


def policy_of(name: str) -> Mapping[str, Any]:
    """Read a policy; `{do: WORD}` is the long form of a word."""
    document = yaml.safe_load(document_of(name))
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
    asked = {"connection", "upgrade"} if seen.for_websocket else set()
    yield from (f"the header {name}" for name in _NEVER if name in {*names} - asked)
    if seen.values("accept-encoding") != ["identity"]:
        yield "an answer that may be encoded"
    yield from _interface(seen)
    texts = [seen.target, *(value for name, value in seen.headers if name != HEADER)]
    if any(CANARY in text for text in texts):
        yield "the canary in the head"


def _interface(seen: Seen) -> Iterator[str]:
    """A version that nobody reviewed, or a preview, means what nobody judged."""
    if OPEN.fullmatch(seen.path):
        return
    query = parse_qsl(seen.target.partition("?")[2], keep_blank_values=True)
    versions = [value for name, value in query if folded(name) == "apiversion"]
    if len(versions) > 1 or not _REVIEWED.issuperset(versions):
        yield f"versions {versions}"
    names = [name for name, _ in seen.headers]
    yield from (
        f"the header {name}"
        for name in names
        if name.replace("_", "-").startswith("x-ms-oai-") and name != HEADER
    )
    if {"foundry-features", "x-ms-enable-preview"} & {*names}:
        yield "a preview"


def _bodies(policy: Mapping[str, Any], seen: Seen) -> Iterator[str]:
    path, posted = seen.path, seen.method == "POST"
    judged = (CREATE, ITEMS, IMAGES, AGENT, ENDPOINT)
    if seen.for_websocket:
        yield from _handshake(policy, seen)
    elif posted and any(routes.fullmatch(path) for routes in judged):
        yield from _judged(policy, seen)
    elif posted and _opens(policy, "files") and FILES.fullmatch(path):
        yield from (f"the header {each!r}" for each in seen.values(HEADER))
        yield from file_faults(policy, seen, _readings)
    elif posted and _opens(policy, "batches") and BATCHES.fullmatch(path):
        yield from (f"the header {each!r}" for each in seen.values(HEADER))
        yield from _texts(seen.body)
        for name, value in _readings(seen.body).items():
            yield from (f"{name}: {fault}" for fault in batch_faults(value))
    elif _is_bare(policy, path) and seen.method in {"GET", "DELETE", "POST"}:
        if seen.body:
            yield "a body where there is none"
    elif not (posted and OPEN.fullmatch(path)):
        yield f"no such door: {seen.method} {seen.target}"


def _is_bare(policy: Mapping[str, Any], path: str) -> bool:
    group = "files" if "/files" in path else "batches"
    staged = _opens(policy, group) and STAGED.fullmatch(path)
    return bool(staged or BARE.fullmatch(path))


def _opens(policy: Mapping[str, Any], group: str) -> bool:
    return bool(policy.get("surface", {}).get(group) == "enforce")


def _judged(policy: Mapping[str, Any], seen: Seen) -> Iterator[str]:
    kinds = seen.values("content-type")
    form = IMAGES.fullmatch(seen.path) and kinds[:1] != ["application/json"]
    if form:
        yield from _forms(policy, seen, kinds)
        return
    if [k.replace(" ", "").lower() for k in kinds] not in (
        ["application/json"],
        ["application/json;charset=utf-8"],
    ):
        yield f"content types {kinds}"
    yield from _texts(seen.body)
    for name, value in _readings(seen.body).items():
        yield from (f"{name}: {fault}" for fault in judge(policy, seen, value))


def _forms(policy: Mapping[str, Any], seen: Seen, kinds: list[str]) -> Iterator[str]:
    if len(kinds) != 1 or not _OUR_FORM.fullmatch(kinds[0]):
        yield f"content types {kinds}"
        return
    for name, value in form_readings(seen.body, kinds[0], _plain):
        yield from (f"{name}: {fault}" for fault in judge(policy, seen, value))
        judged = [] if isinstance(value, ValueError) else [*value.items()]
        if CANARY in str([item for item in judged if item[0] not in _FREE]):
            yield f"{name}: the canary"


def _handshake(policy: Mapping[str, Any], seen: Seen) -> Iterator[str]:
    if seen.method != "GET" or not CONNECT.fullmatch(seen.path):
        yield f"no such door: {seen.method} {seen.target}"
    if policy.get("surface", {}).get("websocket") == "refuse":
        yield "the door is closed"
    if seen.body:
        yield "a body where there is none"


def wrong_with_said(policy: Mapping[str, Any], said: Said) -> list[str]:
    """Say everything that must not have been in a message of a WebSocket."""
    found = [*said.faults, *_texts(said.data)]
    if not said.binary:
        try:
            said.data.decode()
        except UnicodeDecodeError:
            found.append("text that is none")
    for name, value in _readings(said.data).items():
        found += (f"{name}: {fault}" for fault in _message(policy, said, value))
    return found


def _message(policy: Mapping[str, Any], said: Said, value: Any) -> Iterator[str]:
    """Say what is wrong with a message: it is judged like a request over HTTP."""
    if not isinstance(value, dict):
        yield f"no object: {value!r}"
        return
    kind, adds = value.get("type"), _MEMBERS.get(str(value.get("type")))
    if kind != "response.create" and adds is None:
        yield f"a message of type {kind!r}"
        return
    if adds is not None and not value.keys() <= adds:
        yield f"{kind} with {value.keys() - adds}"
    if value.get("background"):
        yield "background"
    known = {key for key in _RESPONSES if value.get(key) in [*said.made]}
    if kind == "response.steer" and not known:
        yield "a successor of what nobody judged"
    body = {key: each for key, each in value.items() if key != "type"}
    passed = {f"state {key}" for key in known}
    for fault in judge(policy, said.handshake, body):
        if fault not in passed and not (adds and fault.startswith("max_tool_calls")):
            yield fault


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
        return {_plain(key): value for key, value in pairs}

    return json.loads(body, object_pairs_hook=plain)


def _plain(key: str) -> str:
    return _KNOWN.get(folded(key), key)
