"""The Response object, at any point of its life."""

from __future__ import annotations

from typing import Any

from imagegate.simulator.behaviour import overlay
from imagegate.simulator.image_tool import Tool
from imagegate.simulator.message_item import finished_message
from imagegate.simulator.picture_item import finished_item, image_usage
from imagegate.simulator.request import state_named
from imagegate.simulator.run import Run, Status
from imagegate.simulator.tools import IMAGE_TOOL
from imagegate.simulator.wire import encode

_UNSET = {
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
_FAILURE = {"code": "server_error", "message": "The simulator was told to fail."}
_SECONDS = 20
_OUTPUT_TOKENS = 67


def response_object(run: Run, *, status: Status | None = None) -> dict[str, Any]:
    """Return the response, as it is or as it is at another status."""
    now = status or run.status
    done = now == "completed"
    asked = {key: run.body[key] for key in _UNSET if run.body.get(key) is not None}
    return {
        "id": run.id,
        "object": "response",
        "created_at": run.created_at,
        "status": now,
        "background": run.background,
        "completed_at": run.created_at + _SECONDS if done else None,
        "error": _FAILURE if now == "failed" else None,
        "model": run.body.get("model") or "gpt-6-luna",
        "output": output_of(run) if done else [],
        "parallel_tool_calls": run.body.get("parallel_tool_calls") is not False,
        "tools": _echo(run),
        "usage": usage_of(run.body) if done else None,
        **_UNSET,
        **asked,
        **_conversation(run),
        **({"tool_usage": _tool_usage(run)} if done else {}),
        **(
            {"content_filters": _filters() if done else None}
            if run.dialect.azure
            else {}
        ),
    }


def output_of(run: Run) -> list[dict[str, Any]]:
    """Return what came of it, once it is completed."""
    images = [finished_item(run, index) for index in range(run.images)]
    return [*images, finished_message(run)]


def _conversation(run: Run) -> dict[str, Any]:
    """Name the conversation that it is in, if it is in one."""
    ident = state_named(run.body).get("conversation")
    return {} if ident is None else {"conversation": {"id": ident}}


def _echo(run: Run) -> list[Tool]:
    hidden = [] if run.behaviour.hide_items else run.tools.hidden
    return [
        overlay(tool, run.behaviour.echo) if tool["type"] == IMAGE_TOOL else tool
        for tool in (*run.tools.listed, *hidden)
    ]


def usage_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return the usage of the mainline model, where image tokens do not count."""
    asked = input_tokens(body)
    return {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": _OUTPUT_TOKENS,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": asked + _OUTPUT_TOKENS,
    }


def input_tokens(body: dict[str, Any]) -> int:
    """Return the size of a request: four characters make a token here."""
    counted = {
        key: body[key] for key in ("input", "instructions", "tools") if key in body
    }
    return len(encode(counted)) // 4


def _tool_usage(run: Run) -> dict[str, Any]:
    none = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    details = {"input_tokens_details": {"image_tokens": 0, "text_tokens": 0}}
    images = image_usage(run) if run.images else none | details
    return {"image_gen": images, "web_search": {"num_requests": 0}}


def _filters() -> list[dict[str, Any]]:
    """Return Azure's verdicts on the prompt and on the answer."""
    safe = {"filtered": False, "severity": "safe"}
    results = dict.fromkeys(("hate", "self_harm", "sexual", "violence"), safe)
    return [
        {"blocked": False, "source_type": source, "content_filter_results": results}
        for source in ("prompt", "completion")
    ]
