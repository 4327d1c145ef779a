"""GIF: an animation whose LZW codes never grow: the table is cleared in time."""

from __future__ import annotations

from struct import pack

from imagegate.simulator.pictures.canvas import Canvas

# With 128 colours a code is one byte until the table holds 256 entries.
_COLOURS, _CLEAR, _END, _RUN = 128, 0x80, 0x81, 120
_BLOCK = 255


def gif(canvas: Canvas) -> bytes:
    """Return an animated GIF file."""
    screen = pack("<HHBBB", canvas.width, canvas.height, 0xF6, 0, 0)
    palette = b"".join(bytes((n * 2, 255 - n * 2, n)) for n in range(_COLOURS))
    forever = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    frames = (_image(canvas, number) for number in range(canvas.frames))
    return b"".join((b"GIF89a", screen, palette, forever, *frames, b"\x3b"))


def _image(canvas: Canvas, number: int) -> bytes:
    hundredths = min(canvas.frame_duration_ms // 10, 0xFFFF)
    delay = pack("<BBBBHBB", 0x21, 0xF9, 4, 4, hundredths, 0, 0)
    place = pack("<BHHHHBB", 0x2C, 0, 0, canvas.width, canvas.height, 0, 7)
    kept = (0xFF << (8 - canvas.bits)) & 0xFF
    table = bytes((value & kept) >> 1 for value in range(256))
    noise = canvas.noise(canvas.pixels, purpose=f"frame {number}").translate(table)
    return delay + place + _blocks(_codes(noise))


def _codes(pixels: bytes) -> bytes:
    clear = bytes((_CLEAR,))
    runs = (pixels[at : at + _RUN] for at in range(0, len(pixels), _RUN))
    return clear + clear.join(runs) + bytes((_END,))


def _blocks(data: bytes) -> bytes:
    pieces = (data[at : at + _BLOCK] for at in range(0, len(data), _BLOCK))
    return b"".join(bytes((len(piece),)) + piece for piece in pieces) + b"\0"
