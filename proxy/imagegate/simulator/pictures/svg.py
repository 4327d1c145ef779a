"""SVG: a drawing of a few dozen circles."""

from __future__ import annotations

from imagegate.simulator.pictures.canvas import Canvas


def svg(canvas: Canvas) -> bytes:
    """Return an SVG file."""
    noise = canvas.noise(4 * 8 * (canvas.bits + 1), purpose="circles")
    circles = "".join(
        _circle(canvas, *noise[at : at + 4]) for at in range(0, len(noise), 4)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{canvas.width}"'
        f' height="{canvas.height}">{circles}</svg>\n'
    ).encode()


def _circle(canvas: Canvas, across: int, down: int, radius: int, hue: int) -> str:
    x, y = canvas.width * across // 255, canvas.height * down // 255
    return f'<circle cx="{x}" cy="{y}" r="{radius}" fill="hsl({hue},60%,60%)"/>'
