"""WebP: lossless (VP8L), every pixel a literal.

One prefix code serves all channels: it has `2 ** bits` values of equal length, so any
string of bits is a picture, and noise can be used as it is.
"""

from __future__ import annotations

from struct import pack

from imagegate.simulator.pictures.canvas import Canvas

_SIGNATURE = 0x2F
_CHANNEL, _GREEN_AND_LENGTHS = 256, 280
# The order in which the lengths of the code length code are written (VP8L, 5.2.1).
_ORDER = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8)


class _Bits:
    """Bits, least significant first."""

    def __init__(self) -> None:
        self.value = 0
        self.length = 0

    def put(self, value: int, width: int) -> None:
        self.value |= value << self.length
        self.length += width

    def bytes(self) -> bytes:
        return self.value.to_bytes((self.length + 7) // 8, "little")


def webp(canvas: Canvas) -> bytes:
    """Return a lossless WebP file."""
    data = _bitstream(canvas)
    chunk = b"VP8L" + pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _bitstream(canvas: Canvas) -> bytes:
    bits = _Bits()
    bits.put(_SIGNATURE, 8)
    bits.put(canvas.width - 1, 14)
    bits.put(canvas.height - 1, 14)
    bits.put(int(canvas.transparent), 1)
    bits.put(0, 3)  # version
    bits.put(0, 3)  # no transform, no colour cache, one group of prefix codes
    for alphabet in (_GREEN_AND_LENGTHS, _CHANNEL, _CHANNEL):
        _put_code(bits, alphabet, canvas.bits)
    if canvas.transparent:
        _put_code(bits, _CHANNEL, canvas.bits)
    else:
        _put_single(bits, 0xFF)
    _put_single(bits, 0)  # distances are never used
    count = canvas.pixels * canvas.channels * canvas.bits
    noise = int.from_bytes(canvas.noise((count + 7) // 8), "little")
    bits.put(noise & ((1 << count) - 1), count)
    return bits.bytes()


def _put_single(bits: _Bits, symbol: int) -> None:
    """Write a code with one symbol, which then takes no bits at all."""
    bits.put(0b101, 3)  # simple, one symbol, of eight bits
    bits.put(symbol, 8)


def _put_code(bits: _Bits, alphabet: int, width: int) -> None:
    """Write a code of `2 ** width` evenly spread symbols of `width` bits each."""
    if not width:
        _put_single(bits, 0x80)
        return
    bits.put(0, 1)  # not simple
    bits.put(len(_ORDER) - 4, 4)
    for length in _ORDER:  # two lengths are used, 0 and `width`, one bit for each
        bits.put(int(length in {0, width}), 3)
    bits.put(0, 1)  # the lengths of the whole alphabet follow
    step = _CHANNEL >> width
    for symbol in range(alphabet):
        bits.put(int(symbol < _CHANNEL and symbol % step == 0), 1)
