"""One `image_generation` tool: is it legal, and what does it come to?"""

from __future__ import annotations

import re
from typing import Any

from imagegate.simulator import image_fields as known
from imagegate.simulator.dialect import Dialect
from imagegate.simulator.refusal import image_refusal, invalid_value

Tool = dict[str, Any]

_STANDARD = ("1024x1024", "1024x1536", "1536x1024")
_FLEXIBLE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_MULTIPLE, _MAX_EDGE, _MAX_RATIO = 16, 3840, 3
_MIN_PIXELS, _MAX_PIXELS = 655_360, 8_294_400


def check_image_tool(
    tool: Tool, param: str, *, dialect: Dialect, model: str | None
) -> None:
    """Raise the refusal that the provider would answer.

    `model` is the image model behind the tool, or None where nobody knows it.
    """
    table = known.AZURE_TOOL if dialect.azure else known.OPENAI_TOOL
    table.check(tool, param)
    check_settings(tool, f"{param}.", dialect=dialect, model=model)


def check_settings(
    tool: Tool, param: str, *, dialect: Dialect, model: str | None
) -> None:
    """Raise where a model does not make images with these settings.

    `param` is what stands before the name of a setting in a refusal.
    """
    capabilities = _capabilities(model, param, dialect=dialect)
    if capabilities is not None:
        _check_model(tool, param, capabilities)
    any_size = capabilities is None or capabilities.any_size
    _check_size(tool, f"{param}size", any_size=any_size)
    _check_together(tool, param)


def _capabilities(
    model: str | None, param: str, *, dialect: Dialect
) -> known.Model | None:
    if dialect.azure:
        return known.AZURE_MODELS.get(model or "")
    name = known.DEFAULT_MODEL if model is None else model
    if name not in known.MODELS:
        raise invalid_value(f"{param}model", name, supported=known.MODELS)
    return known.MODELS[name]


def _check_model(tool: Tool, param: str, model: known.Model) -> None:
    quality = tool.get("quality") or "auto"
    if quality not in model.quality:
        raise invalid_value(f"{param}quality", quality, supported=model.quality)
    fidelity = tool.get("input_fidelity")
    if fidelity is not None and fidelity not in model.fidelity:
        raise image_refusal(
            f"This model does not support input_fidelity {fidelity!r}.",
            param=f"{param}input_fidelity",
        )


def _check_size(tool: Tool, param: str, *, any_size: bool) -> None:
    """Raise unless the model makes images of this size."""
    size = tool.get("size") or "auto"
    if size == "auto" or size in _STANDARD:
        return
    if not any_size:
        raise invalid_value(param, size, supported=(*_STANDARD, "auto"))
    found = _FLEXIBLE.fullmatch(size)
    problem = "Expected WIDTHxHEIGHT or 'auto'."
    if found:
        still = tool.get("output_format") != "gif"
        problem = _size_problem(int(found[1]), int(found[2]), still=still)
    if problem:
        raise image_refusal(f"Invalid size '{size}'. {problem}", param=param)


def _size_problem(width: int, height: int, *, still: bool) -> str:
    if width % _MULTIPLE or height % _MULTIPLE:
        return "Width and height must both be divisible by 16."
    if max(width, height) > _MAX_EDGE:
        return f"The longest edge must not exceed {_MAX_EDGE} pixels."
    if max(width, height) > _MAX_RATIO * min(width, height):
        return "The aspect ratio must be between 1:3 and 3:1."
    least = _MIN_PIXELS if still else 0  # frames of an animation may be smaller
    if not least <= width * height <= _MAX_PIXELS:
        return f"Expected between {least} and {_MAX_PIXELS} pixels."
    return ""


def _check_together(tool: Tool, param: str) -> None:
    """Raise where fields contradict each other."""
    output_format = tool.get("output_format") or "png"
    for key, formats, harmless in _NEEDS_FORMAT:
        value = tool.get(key)
        if value is not None and value not in harmless and output_format not in formats:
            listed = " or ".join(formats)
            raise image_refusal(
                f"'{key}' requires output_format {listed}.",
                param=f"{param}{key}",
                code="invalid_parameter_combination",
            )


_STILL = ("png", "webp", "jpeg")
# A field, the formats that it needs, and the values that change nothing. Compression
# of 100 is the default, so it is no custom one.
_NEEDS_FORMAT: tuple[tuple[str, tuple[str, ...], tuple[Any, ...]], ...] = (
    ("background", ("png", "webp"), ("opaque", "auto")),
    ("frame_count", ("gif",), ()),
    ("frame_duration_ms", ("gif",), ()),
    ("input_image_mask", (*_STILL, "svg"), ()),
    ("output_compression", ("webp", "jpeg"), (100,)),
    ("partial_images", _STILL, (0,)),
    ("svg", ("svg",), ()),
)


def echo_of(tool: Tool, *, model: str | None) -> Tool:
    """Return the tool as a response shows it: with its defaults, and `n`."""
    echo = {"type": "image_generation"} | known.DEFAULTS
    if model is not None:
        echo["model"] = model
    echo |= {key: value for key, value in tool.items() if key not in {"type", "model"}}
    return {"type": echo.pop("type"), **dict(sorted(echo.items()))}
