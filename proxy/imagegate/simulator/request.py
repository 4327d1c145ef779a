"""The body of a request that is not about images: its keys and its state."""

from __future__ import annotations

import json
from typing import Any

from imagegate.simulator.dialect import Dialect
from imagegate.simulator.fields import (
    Items,
    Kind,
    Strings,
    Table,
    Text,
    Truth,
    Whole,
    Words,
)
from imagegate.simulator.refusal import (
    Refusal,
    invalid_type,
    missing_parameter,
    refusal,
    unknown_parameter,
)

CREATE = frozenset(
    [
        "access_programs",
        "background",
        "background_options",
        "client_metadata",  # in no SDK; Codex sends it with every turn
        "context_management",
        "conversation",
        "image",
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "model",
        "moderation",
        "parallel_tool_calls",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
        "multi_agent",
    ]
)
COUNT = frozenset(
    [
        "conversation",
        "input",
        "instructions",
        "model",
        "parallel_tool_calls",
        "personality",
        "previous_response_id",
        "reasoning",
        "text",
        "tool_choice",
        "tools",
        "truncation",
    ]
)
COMPACT = frozenset(
    [
        "image",
        "input",
        "instructions",
        "model",
        "previous_response_id",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "service_tier",
    ]
)
_FOUNDRY = frozenset({"agent_reference", "structured_inputs"})
_LATER = ("2h", "8h")
_MANY = 2**31 - 1
# Looked at because the simulator uses them; all of them may be null as well.
_KINDS: dict[str, Kind] = {
    "background": Truth(),
    "background_options": Table(
        {"completion_window": Words(("soonest", *_LATER)), "continuation_id": Text()}
    ),
    "input": Items(),
    "max_output_tokens": Whole(16, _MANY),
    "max_tool_calls": Whole(1, _MANY),
    "metadata": Strings(),
    "model": Text(),
    "parallel_tool_calls": Truth(),
    "previous_response_id": Text(),
    "store": Truth(),
    "stream": Truth(),
}


def read_json(body: bytes, *, encoding: str | None) -> dict[str, Any]:
    """Return the object in a body, read as leniently as the standard library does."""
    if encoding not in {None, "identity"}:
        message = f"Unsupported content encoding: {encoding}."
        raise refusal(message, status=415, code="unsupported_content_encoding")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise refusal(
            "We could not parse the JSON body of your request. (HINT: This likely"
            " means you aren't using your HTTP library correctly. The OpenAI API"
            " expects a JSON payload, but what was sent was not valid JSON.)"
        ) from error
    if not isinstance(value, dict):
        raise invalid_type("body", value, expected="an object")
    return value


def check_keys(
    body: dict[str, Any], known: frozenset[str], *, dialect: Dialect
) -> None:
    """Raise at the first key that this route does not know."""
    if dialect.name == "foundry" and "agent" in body:
        raise refusal(
            "The 'agent' property is deprecated. Use 'agent_reference' instead.",
            param="agent",
        )
    allowed = known | _FOUNDRY if dialect.name == "foundry" else known
    for key in body:
        if key not in allowed:
            raise unknown_parameter(key)
    for key, kind in _KINDS.items():
        if body.get(key) is not None:
            kind.check(body[key], key)


def check_model(body: dict[str, Any], *, dialect: Dialect) -> None:
    """Raise unless a mainline model is named, which a stored prompt may do as well."""
    model: str | None = body.get("model")
    if model is None:
        if body.get("prompt") or body.get("agent_reference"):
            return
        raise missing_parameter("model")
    if dialect.azure:
        return  # the name of a deployment, which can be anything
    if model.startswith(("gpt-image", "dall-e", "chatgpt-image")):
        message = f"The model '{model}' is not supported with the Responses API."
        raise refusal(message, param="model", code="unsupported_model")
    if not model.startswith(("gpt-", "chatgpt-", "codex-", "o1", "o3", "o4")):
        raise model_not_found(model)


def model_not_found(model: str, *, status: int = 400) -> Refusal:
    """A model that does not exist."""
    message = f"The requested model '{model}' does not exist."
    return refusal(message, status=status, param="model", code="model_not_found")


def check_background(body: dict[str, Any]) -> None:
    """Raise where background mode cannot keep its answer, or is not asked for."""
    if body.get("background") and body.get("store") is False:
        raise refusal("Background mode requires store to be true.", param="background")
    window = (body.get("background_options") or {}).get("completion_window")
    if window in _LATER and (not body.get("background") or body.get("stream")):
        raise refusal(
            f"The completion window '{window}' requires background mode, not streamed.",
            param="background_options.completion_window",
        )


def state_named(body: dict[str, Any]) -> dict[str, str]:
    """Return the stored prompt, conversation and agent that a request names."""
    named = {}
    for key, name in (
        ("prompt", "id"),
        ("conversation", "id"),
        ("agent_reference", "name"),
    ):
        value = body.get(key)
        ident = value.get(name) if isinstance(value, dict) else value
        if isinstance(ident, str):
            named[key] = ident
    return named
