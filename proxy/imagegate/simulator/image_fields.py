"""The fields of the `image_generation` tool, and what each image model takes.

From the types and docstrings of openai-python 3.54 and azure-ai-projects 2.10. A
model is refused only what is documented as refused.
"""

from __future__ import annotations

import msgspec

from imagegate.simulator.fields import Anything, Kind, Table, Text, Whole, Words

DEFAULT_MODEL = "gpt-image-2.6-sunburst"
_USUAL = ("low", "medium", "high", "auto")
_ALL = ("low", "medium", "high", "xhigh", "max", "auto")
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

TOOL_FIELDS: dict[str, Kind] = {
    "type": Words(("image_generation",)),
    "action": Words(("generate", "edit", "auto")),
    "background": Words(("transparent", "opaque", "auto")),
    "complexity": Words(("low", "medium", "high")),
    "frame_count": Whole(2, 16),
    "frame_duration_ms": Whole(0, 2**31 - 1),
    "input_fidelity": Words(("high", "low"), nullable=True),
    "input_image_mask": Table({"image_url": Text(), "file_id": Text()}),
    "model": Text(),
    "moderation": Words(("auto", "low")),
    "output_compression": Whole(0, 100),
    "output_format": Words(("png", "webp", "jpeg", "gif", "svg")),
    "partial_images": Whole(0, 3),
    "quality": Words(_ALL),
    "size": Text(),
    "svg": Table({"model": Text(), "reasoning": Table({"effort": Words(_EFFORTS)})}),
}

# Named by Azure's types alone, as deprecated; they were never OpenAI's.
_DEPRECATED: dict[str, Kind] = dict.fromkeys(
    ("name", "description", "tool_configs"), Anything()
)

OPENAI_TOOL = Table(TOOL_FIELDS)
AZURE_TOOL = Table(TOOL_FIELDS | _DEPRECATED)

# What the echo says of a field that was left out; a model is added where it is known.
DEFAULTS = {
    "action": "auto",
    "background": "auto",
    "moderation": "auto",
    "n": 1,
    "output_compression": 100,
    "output_format": "png",
    "quality": "auto",
    "size": "auto",
}


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """What an image model takes. An empty fidelity means: to be left out."""

    any_size: bool = False
    quality: tuple[str, ...] = _USUAL
    fidelity: tuple[str, ...] = ("high", "low")


_TWO = Model(any_size=True, fidelity=())
_NEWEST = Model(any_size=True, quality=_ALL)

MODELS = {
    "gpt-image-1-mini": Model(fidelity=("low",)),
    "gpt-image-1.5": Model(),
    "gpt-image-2": _TWO,
    "gpt-image-2-2026-04-21": _TWO,
    "gpt-image-2.5-sunburst": _NEWEST,
    "gpt-image-2.5-sunburst-2026-09-08": _NEWEST,
    "gpt-image-2.5-flare": _NEWEST,
    "gpt-image-2.5-flare-2026-09-08": _NEWEST,
    "gpt-image-2.6-sunburst": _NEWEST,
    "gpt-image-2.6-flare": _NEWEST,
    "chatgpt-image-latest": _NEWEST,
}

# Shut down by OpenAI in October 2026; Azure has it on.
AZURE_MODELS = MODELS | {"gpt-image-1": Model()}
