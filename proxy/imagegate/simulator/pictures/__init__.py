"""True images of any size, made by hand from the standard library.

Pixels are noise, so that they weigh what real images weigh: `bits` of it in every
channel, 0 for one flat colour and 8 for noise that no codec can shrink. The same
settings always give the same bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import lru_cache

from imagegate.simulator.pictures.canvas import Canvas
from imagegate.simulator.pictures.gif import gif
from imagegate.simulator.pictures.jpeg import jpeg
from imagegate.simulator.pictures.png import png
from imagegate.simulator.pictures.svg import svg
from imagegate.simulator.pictures.webp import webp

__all__ = ["Canvas", "picture", "picture_base64"]

_ENCODERS: dict[str, Callable[[Canvas], bytes]] = {
    "gif": gif,
    "jpeg": jpeg,
    "png": png,
    "svg": svg,
    "webp": webp,
}


def picture(canvas: Canvas, *, output_format: str) -> bytes:
    """Return the file."""
    return _ENCODERS[output_format](canvas)


@lru_cache(maxsize=16)
def picture_base64(canvas: Canvas, *, output_format: str) -> str:
    """Return the file as it travels in JSON; the last few are remembered."""
    return base64.b64encode(picture(canvas, output_format=output_format)).decode()
