"""One finished image: its settings, settled, and its bytes."""

from __future__ import annotations

from typing import Any

from imagegate.simulator.behaviour import overlay
from imagegate.simulator.image_tool import Tool
from imagegate.simulator.pictures import Canvas, picture_base64
from imagegate.simulator.run import Run

# What the provider decides where the request leaves it open.
_SETTLED = {"quality": "medium", "size": "1024x1024", "background": "opaque"}
_BITS = {"low": 1, "medium": 3, "high": 6, "xhigh": 7, "max": 8}
_TOKENS = {"low": 272, "medium": 1056, "high": 4160, "xhigh": 6240, "max": 8320}
_DEFAULT_FRAMES, _DEFAULT_DURATION = 9, 200


def settled(tool: Tool) -> dict[str, str]:
    """Return quality, size, background and format with every `auto` decided."""
    chosen = {
        key: value if tool[key] == "auto" else tool[key]
        for key, value in _SETTLED.items()
    }
    return {**chosen, "output_format": tool["output_format"]}


def image_base64(run: Run, index: int, *, variant: str = "final") -> str:
    """Return the image of an output index, or a partial one on the way to it."""
    bits = run.behaviour.bits
    return drawn(_tool_of(run), bits=bits, seed=f"{index}/{variant}")


def drawn(tool: Tool, *, bits: int | None, seed: str) -> str:
    """Return an image with these settings; the same seed draws the same."""
    final = settled(tool)
    width, _, height = final["size"].partition("x")
    gif = final["output_format"] == "gif"
    canvas = Canvas(
        width=int(width),
        height=int(height),
        bits=_BITS[final["quality"]] if bits is None else bits,
        transparent=final["background"] == "transparent",
        frames=tool.get("frame_count", _DEFAULT_FRAMES) if gif else 1,
        frame_duration_ms=tool.get("frame_duration_ms", _DEFAULT_DURATION),
        seed=seed,
    )
    return picture_base64(canvas, output_format=final["output_format"])


def finished_item(run: Run, index: int) -> dict[str, Any]:
    """Return the item of the output with its image."""
    tool = _tool_of(run)
    generating = run.dialect.azure or run.behaviour.status_generating
    action = "edit" if tool["action"] == "edit" else "generate"
    item = {
        "id": run.ident("ig", index),
        "type": "image_generation_call",
        "status": "generating" if generating else "completed",
        "action": action,
        **settled(tool),
        "revised_prompt": "A picture of noise, as the simulator makes them.",
        "result": image_base64(run, index),
    }
    return overlay(item, run.behaviour.item)


def image_usage(run: Run) -> dict[str, Any]:
    """Return what the images of a response cost."""
    asked = 40 * run.images
    made = run.images * tokens_of(_tool_of(run))
    return {
        "input_tokens": asked,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": asked},
        "output_tokens": made,
        "output_tokens_details": {"image_tokens": made, "text_tokens": 0},
        "total_tokens": asked + made,
    }


def tokens_of(tool: Tool) -> int:
    """Return what one image with these settings costs."""
    partials: int = tool.get("partial_images", 0)
    return _TOKENS[settled(tool)["quality"]] + 100 * partials


def _tool_of(run: Run) -> Tool:
    return run.tools.image_tool() or {}
