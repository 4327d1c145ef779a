"""What is to be drawn, and the noise that it is drawn with."""

from __future__ import annotations

import hashlib

import msgspec


class Canvas(msgspec.Struct, frozen=True, kw_only=True):
    """One image: how large, how heavy, and which of the many like it."""

    width: int
    height: int
    bits: int = 6
    transparent: bool = False
    frames: int = 1
    frame_duration_ms: int = 200
    seed: str = ""

    @property
    def pixels(self) -> int:
        """How many there are in a frame."""
        return self.width * self.height

    @property
    def channels(self) -> int:
        """Three, or four with transparency."""
        return 4 if self.transparent else 3

    def noise(self, length: int, *, purpose: str = "") -> bytes:
        """Return as many bytes as asked for that look random and never change."""
        seed = f"{self.seed}/{self.width}x{self.height}/{purpose}"
        return hashlib.shake_128(seed.encode()).digest(length)
