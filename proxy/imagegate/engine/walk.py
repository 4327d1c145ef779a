"""Long JSON text, gone through in pieces.

A decoder cannot be stopped, and ten megabytes of `[],` keep it for thirty
milliseconds. So a long value is decoded in fragments. Each ends before a comma that
has a value before it, and is decoded with the brackets that are open at its
beginning put before it, and those open at its end closed. That the fragments so
completed are JSON proves that the value is: what is no continuation of the text
before it is none in any completion, and of what is one the open brackets are told
exactly. Long strings and long white space are checked by themselves, and stand in
no fragment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from typing import Final

import msgspec
from msgspec import Raw

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.fragment import Fragment, decoded_end, number_too_long
from imagegate.engine.outline import WINDOW, Budget, hide_escapes, structure
from imagegate.engine.strict import (
    MAX_ELEMENTS,
    MAX_KEYS,
    Walked,
    duplicate_key,
    key_too_long,
    syntax_error,
    too_many,
)

# How far one looks whether a value ends soon: most that do not are long text.
NEAR: Final = 1 << 14
# Text with escapes is decoded in pieces that stay in the cache.
_PIECE: Final = 1 << 16
# Text without an escape needs no more than that.
_CLEAN: Final = 1 << 20
# A millisecond or two of it.
_PAUSE: Final = 1 << 21
# No key of the API has more than thirty characters, each of six bytes at most.
_MAX_KEY: Final = 1 << 13
# The longest escape is that of a pair, `\ud83d\ude00`.
_LONGEST: Final = 12
_HALF: Final = re.compile(rb"\\u[dD][c-fC-F]")
_SPACE: Final = b" \t\r\n"
# What follows a string that is no key, and how far one looks for it.
_BEHIND: Final = (b",", b"]", b"}")
_NEXT: Final = 64
# A millisecond of values that end soon.
_STEPS: Final = 300

# Most members begin like this.
_PLAIN_KEY: Final = re.compile(rb'"([a-z0-9_]{1,64})": ?(?![ \t\r\n])')
_ANY: Final = msgspec.json.Decoder(Raw)
_KEY: Final = msgspec.json.Decoder(str)
# Goes through one value, from its first byte to what follows its last.
Reader = Callable[[int], Generator[None, None, int]]
_NO_READERS: Final[Mapping[str, Reader]] = {}


class Walk:
    """A way through one text, which is UTF-8 and may be JSON.

    Attributes:
        text: The text.
        budget: How much structure it may have.
    """

    __slots__ = ("_paused", "_steps", "_strings", "_view", "budget", "text")

    def __init__(self, text: bytes, budget: Budget) -> None:
        self.text = text
        self._view = memoryview(text)
        self.budget = budget
        self._paused = self._steps = 0
        self._strings: list[tuple[int, int]] = []

    def space(self, at: int) -> Generator[None, None, int]:
        """Step over white space."""
        text = self.text
        while text[at : at + 1] in (b" ", b"\n", b"\r", b"\t"):
            window = text[at : at + WINDOW]
            rest = len(window.lstrip(_SPACE))
            at += len(window) - rest
            if not rest:
                yield
        return at

    def value(self, at: int) -> Generator[None, None, int]:
        """Step over one value, having checked it.

        Args:
            at: Where it begins.

        Returns:
            What follows its last byte.

        Raises:
            MalformedRequest: When it is no JSON, or a body may not have so much.
        """
        end = self.near_end(at)
        first = self.text[at : at + 1]
        if end is None:
            if first == b'"':
                end = yield from self._string(at)
            elif first in (b"[", b"{"):
                end = yield from self._container(at)
            else:
                raise self._refuse_scalar(at)
        elif not self.budget.proved and first in (b"[", b"{"):
            yield from self.budget.spend(structure(self.text[at:end]))
        return end

    def near_end(self, at: int, *, near: int = 0) -> int | None:
        """What follows a value; None when that is far, or what stands there is none."""
        near = near or NEAR
        try:
            length = decoded_end(self._view[at : at + near])
        except msgspec.DecodeError:
            return None
        if length is not None:
            return self._trim(at + length)
        end = min(at + near, len(self.text))
        # A number may go on.
        ended = end == len(self.text) or self.text[end - 1] in _SPACE
        return self._trim(end) if ended else None

    def _trim(self, end: int) -> int:
        """Step back over white space."""
        while self.text[end - 1] in _SPACE:
            window = self.text[max(end - WINDOW, 0) : end]
            end -= len(window) - len(window.rstrip(_SPACE))
        return end

    def members(
        self, at: int, *, pointer: str, readers: Mapping[str, Reader] = _NO_READERS
    ) -> Generator[None, None, tuple[Walked, int]]:
        """Take an object apart; its keys are unchecked, but for equal ones.

        Args:
            at: Where it begins.
            pointer: Its place.
            readers: Of arrays in it that are to be gone through in another way.

        Returns:
            Its members, and what follows it.

        Raises:
            MalformedRequest: For two equal keys, a key too long or too many of
                them, and what is no JSON.
        """
        row = Walked(self.text, self._strings)
        at = yield from self._into(at)
        while row or self.text[at : at + 1] != b"}":
            plain = _PLAIN_KEY.match(self.text, at)
            if plain is not None:
                key, start = plain[1].decode(), plain.end()
            else:
                key, at = self._key(at)
                at = yield from self.space(at)
                start = yield from self._into(at, b":")
            if key in row:
                raise duplicate_key(pointer, key)
            if len(row) == MAX_KEYS:
                raise too_many(pointer)
            read = readers.get(key) if self.text[start : start + 1] == b"[" else None
            at = yield from (read or self.value)(start)
            row[key], row.starts[key] = Raw(self._view[start:at]), start
            at = yield from self.space(at)
            if self.text[at : at + 1] != b",":
                break
            at = yield from self._into(at)
        return row, self.expect(b"}", at)

    def elements(
        self, at: int, *, pointer: str
    ) -> Generator[None, None, list[tuple[int, int]]]:
        """Take an array apart of which it is known to be one.

        Returns:
            Where each element begins, and what follows it.

        Raises:
            MalformedRequest: For too many elements.
        """
        found: list[tuple[int, int]] = []
        at = yield from self._into(at)
        while self.text[at : at + 1] != b"]":
            if len(found) == MAX_ELEMENTS:
                raise too_many(pointer)
            end = yield from self.value(at)
            found.append((at, end))
            at = yield from self.space(end)
            if self.text[at : at + 1] == b",":
                at = yield from self._into(at)
        return found

    def _into(self, at: int, byte: bytes = b"") -> Generator[None, None, int]:
        """Step over a byte and white space; now and then let others run."""
        self._steps += 1
        if self._steps >= _STEPS or at - self._paused >= NEAR:
            self._steps, self._paused = 0, at
            yield
        return (yield from self.space(self.expect(byte, at)))

    def expect(self, byte: bytes, at: int) -> int:
        """Step over a byte that has to be there; nothing stands for any."""
        if byte and self.text[at : at + 1] != byte:
            raise self.syntax_error("", at, at)
        return at + 1

    def syntax_error(self, said: str, at: int, stop: int) -> MalformedRequest:
        """Say what is wrong in a stretch of the text."""
        said = said or "(byte 0)"
        return syntax_error(said, self.text[at : max(stop, at + 1)], [(0, at)])

    def _key(self, at: int) -> tuple[str, int]:
        start = self.expect(b'"', at)
        plain = hide_escapes(self.text[start : start + _MAX_KEY])
        length = plain.find(b'"')
        if length < 0 and len(plain) == _MAX_KEY:
            raise key_too_long("")
        end = start + length + 1 if length >= 0 else len(self.text)
        try:
            return _KEY.decode(self._view[at:end]), end
        except msgspec.DecodeError as error:
            raise self.syntax_error(str(error), at, end) from None

    def _refuse_scalar(self, at: int) -> MalformedRequest:
        """Say what is wrong with a value that is neither text nor in brackets."""
        stop = at + NEAR
        try:
            decoded_end(self._view[at:stop])
        except msgspec.DecodeError as error:
            return self.syntax_error(str(error), at, stop)
        return number_too_long()

    def _string(self, at: int) -> Generator[None, None, int]:
        """Step over a long string, stretch by stretch."""
        text, begin, paused = self.text, at + 1, at
        at, quote = begin, -1
        while quote < 0:
            escape = text.find(b"\\", at, at + _CLEAN)
            stop = escape if escape >= 0 else min(at + _CLEAN, len(text))
            quote = text.find(b'"', at, stop)
            if quote < 0 and stop - at < _PIECE:
                at, quote = self._escaped(at)
                yield
                continue
            stop = quote if quote >= 0 else stop
            self._check(self._view[at:stop], at)
            at = stop
            if quote >= 0 or at - paused >= _PAUSE:
                paused = at
                yield
        if text[at + 1 : at + _NEXT].lstrip(_SPACE)[:1] in _BEHIND:
            self._strings.append((begin, at))
        return at + 1

    def _escaped(self, at: int) -> tuple[int, int]:
        """Step over a piece of a string that has escapes.

        Returns:
            What follows it; and where the string ends, -1 if it goes on.
        """
        piece = self.text[at : at + _PIECE]
        plain = hide_escapes(piece)
        length = plain.find(b'"')
        if length >= 0:
            self._check(piece[:length], at)
            return at + length, at + length
        if len(piece) < _PIECE:
            raise self.syntax_error("Input data was truncated", at, len(self.text))
        length = _between_escapes(plain)
        self._check(piece[:length], at)
        return at + length, -1

    def _check(self, inside: bytes | memoryview, at: int) -> None:
        """Check what stands in a string."""
        string = b"".join((b'"', inside, b'"'))
        try:
            _ANY.decode(string)
        except msgspec.DecodeError as error:
            raise syntax_error(str(error), string, [(0, at - 1)]) from None

    def _container(self, at: int) -> Generator[None, None, int]:
        """Step over a long array or object, fragment by fragment."""
        text = self.text
        fragment = Fragment(at)
        while True:
            window = text[at : at + WINDOW]
            fragment.add(window)
            yield from self.budget.spend(fragment.structure)
            if fragment.ends or (not fragment.cut and at + len(window) == len(text)):
                return self._trim(at + fragment.place(fragment.end()))
            if fragment.cut:
                at += fragment.place(fragment.cut)
                fragment = Fragment(at, fragment.finish())
            else:
                at = yield from self._leave_out(fragment, at)
            yield

    def _leave_out(self, fragment: Fragment, at: int) -> Generator[None, None, int]:
        """Step over the long string or white space at the end of a fragment."""
        begins = fragment.keep()
        start = at + fragment.place(begins)
        step = self.space if fragment.quote < 0 else self._string
        end = yield from step(start)
        fragment.skip(begins, end - start)
        return end


def _between_escapes(plain: bytes) -> int:
    """Find a place near the end of a stretch of a string that is in no escape."""
    first = plain.find(b"\\", len(plain) - _LONGEST)
    if first < 0:
        return len(plain)
    # The other half of the pair is before it.
    return first - _LONGEST // 2 if _HALF.match(plain, first) else first
