"""JPEG: baseline, three components, with Huffman codes that are all four bits long.

Short tables of one's own are as legal as the usual ones, and make a block a string
that can be looked up: a level that wanders (DC) and noise from a palette (AC).
"""

from __future__ import annotations

from struct import pack

from imagegate.simulator.pictures.canvas import Canvas

# Symbol n of the DC table is "n more bits"; of the AC table "no zeros, n more bits",
# where symbol 0 ends the block.
_SYMBOLS = bytes(range(12))
_BLOCK, _COEFFICIENTS, _PALETTE = 8, 63, 64
# The level goes up or down by this, and never leaves the range of a byte.
_STEP, _LIMIT = 24, 384


def jpeg(canvas: Canvas) -> bytes:
    """Return a baseline JPEG file."""
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
            _segment(0xDB, b"\0" + b"\x01" * 64),
            _segment(0xC0, _frame(canvas)),
            _segment(0xC4, _table(0x00) + _table(0x10)),
            _segment(0xDA, b"\x03\x01\0\x02\0\x03\0\0\x3f\0"),
            _scan(canvas),
            b"\xff\xd9",
        )
    )


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + pack(">H", len(payload) + 2) + payload


def _frame(canvas: Canvas) -> bytes:
    components = b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    return pack(">BHHB", 8, canvas.height, canvas.width, 3) + components


def _table(identifier: int) -> bytes:
    return bytes((identifier, 0, 0, 0, len(_SYMBOLS))) + bytes(12) + _SYMBOLS


def _scan(canvas: Canvas) -> bytes:
    blocks = -(-canvas.width // _BLOCK) * -(-canvas.height // _BLOCK)
    palette = _palette(canvas)
    choices = canvas.noise(blocks * 3, purpose="blocks")
    levels = [0, 0, 0]
    words = []
    for position, choice in enumerate(choices):
        component = position % 3
        up = choice >= 128 and levels[component] < _LIMIT  # noqa: PLR2004 - the top bit
        up = up or levels[component] <= -_LIMIT
        levels[component] += _STEP if up else -_STEP
        words.append(_coded(_STEP if up else -_STEP))
        words.append(palette[choice % _PALETTE])
    return _stuffed("".join(words))


def _palette(canvas: Canvas) -> list[str]:
    """Return the AC parts of some blocks, as strings of bits."""
    count = _COEFFICIENTS * canvas.bits // 8
    noise = canvas.noise(_PALETTE * _COEFFICIENTS, purpose="palette")
    end = "" if count == _COEFFICIENTS else _code(0)
    return [
        "".join(map(_ac, noise[start : start + count])) + end
        for start in range(0, len(noise), _COEFFICIENTS)
    ]


def _ac(byte: int) -> str:
    return _coded(8 + byte % 8 if byte & 0x80 else -8 - byte % 8)


def _coded(value: int) -> str:
    """Return the size of a coefficient and its bits; negative ones are complemented."""
    size = abs(value).bit_length()
    return _code(size) + format(
        value if value > 0 else value + (1 << size) - 1, f"0{size}b"
    )


def _code(symbol: int) -> str:
    return format(symbol, "04b")


def _stuffed(bits: str) -> bytes:
    """Return the bits as bytes; a 0xFF in the data is told from a marker by a zero."""
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return data.replace(b"\xff", b"\xff\0")
