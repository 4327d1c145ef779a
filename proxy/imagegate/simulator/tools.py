"""All the tools of a request: where they are, what they are, which one is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from imagegate.simulator.dialect import Dialect
from imagegate.simulator.image_fields import DEFAULT_MODEL
from imagegate.simulator.image_tool import Tool, check_image_tool, echo_of
from imagegate.simulator.refusal import (
    IMAGE,
    IMAGE_DEPLOYMENT_HEADER,
    Refusal,
    invalid_type,
    invalid_value,
    missing_parameter,
    refusal,
)

IMAGE_TOOL = "image_generation"
_ITEMS_WITH_TOOLS = ("additional_tools", "tool_search_output")
_NAMED = ("function", "custom", "namespace")
_TYPES = (
    *_NAMED,
    *("file_search", "web_search", "web_search_preview", "computer"),
    *("computer_use_preview", "mcp", "code_interpreter", "programmatic_tool_calling"),
    *(IMAGE_TOOL, "local_shell", "shell", "tool_search", "apply_patch"),
)


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """The tools of a request, as the provider understood them."""

    listed: list[Tool]
    hidden: list[Tool]

    def image_tool(self) -> Tool | None:
        """Return the image tool that will be used."""
        tools = (*self.listed, *self.hidden)
        return next((tool for tool in tools if tool["type"] == IMAGE_TOOL), None)


class ImageModels(msgspec.Struct, frozen=True, kw_only=True):
    """Which image model is meant, and what it is called in the echo."""

    dialect: Dialect
    deployments: dict[str, str]
    deployment: str | None = None

    def named(self, tool: Tool) -> str | None:
        """Return the name in the echo: on Azure the deployment of the header."""
        return self.deployment or tool.get("model")

    def behind(self, tool: Tool) -> str | None:
        """Return the model itself, or None where nobody knows it."""
        name = self.named(tool)
        return self.deployments.get(name, name) if isinstance(name, str) else None


def read_tools(body: dict[str, Any], stored: list[Tool], models: ImageModels) -> Tools:
    """Check every tool of a request, and return them with their defaults."""
    listed = [
        _checked(tool, f"tools[{place}]", models)
        for place, tool in enumerate(_list_of(body, "tools", "tools"))
    ]
    hidden = [_checked(tool, "tools", models) for tool in stored]
    hidden += [_checked(tool, param, models) for param, tool in _in_items(body)]
    tools = Tools(listed=listed, hidden=hidden)
    if models.dialect.azure and tools.image_tool() and not models.deployment:
        raise _no_deployment()
    return tools


def _list_of(holder: dict[str, Any], key: str, param: str) -> list[Any]:
    value = holder.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid_type(param, value, expected="an array of objects")
    return value


def _in_items(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the tools that input items hold."""
    items = body.get("input")
    for place, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict) and item.get("type") in _ITEMS_WITH_TOOLS:
            param = f"input[{place}].tools"
            for number, tool in enumerate(_list_of(item, "tools", param)):
                yield f"{param}[{number}]", tool


def _checked(tool: Any, param: str, models: ImageModels) -> Tool:  # noqa: ANN401 - JSON
    if not isinstance(tool, dict):
        raise invalid_type(param, tool, expected="an object")
    kind = tool.get("type")
    if kind is None:
        raise missing_parameter(f"{param}.type")
    if kind not in _TYPES:
        raise invalid_value(f"{param}.type", kind, supported=_TYPES)
    if kind == IMAGE_TOOL:
        behind = models.behind(tool)
        check_image_tool(tool, param, dialect=models.dialect, model=behind)
        return echo_of(tool, model=models.named(tool) or _default_of(models))
    if kind in _NAMED and not isinstance(tool.get("name"), str):
        raise missing_parameter(f"{param}.name")
    return tool


def _default_of(models: ImageModels) -> str | None:
    return None if models.dialect.azure else DEFAULT_MODEL


def check_choice(choice: Any, tools: Tools) -> None:  # noqa: ANN401 - JSON
    """Raise unless `tool_choice` names a tool that is there."""
    available = [*tools.listed, *tools.hidden]
    match choice:
        case None | "none" | "auto":
            return
        case "required":
            if not available:
                raise _choice_refusal(
                    "Tool choice 'required' must be specified with 'tools' parameter."
                )
        case {"type": "allowed_tools", "tools": list(allowed)}:
            for one in allowed:
                check_choice(one, tools)
        case {"type": str(kind)}:
            if not any(_is_meant(tool, choice) for tool in available):
                name = choice.get("name", kind)
                raise _choice_refusal(
                    f"Tool choice '{name}' not found in 'tools' parameter."
                )
        case _:
            expected = "one of 'none', 'auto', 'required' or an object"
            raise invalid_type("tool_choice", choice, expected=expected)


def _is_meant(tool: Tool, choice: dict[str, Any]) -> bool:
    name = choice.get("name")
    named = name is None or tool.get("name", tool.get("server_label")) == name
    return bool(tool["type"] == choice["type"]) and named


def wants_image(choice: Any) -> bool:  # noqa: ANN401 - JSON
    """Tell whether the choice leaves the image tool open."""
    match choice:
        case None | "auto" | "required" | {"type": "image_generation"}:
            return True
        case {"type": "allowed_tools", "tools": list(allowed)}:
            return any(wants_image(one) for one in allowed)
        case _:
            return False


def _choice_refusal(message: str) -> Refusal:
    return refusal(message, param="tool_choice")


def _no_deployment() -> Refusal:
    return refusal(
        "imagegen deployment must be provided through header:"
        f" {IMAGE_DEPLOYMENT_HEADER}",
        kind=IMAGE,
        param="tools",
        code="invalid_request_error",
    )
