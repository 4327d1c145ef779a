"""One fragment of a long array or object, and the proof that it fits there.

It begins at a comma, or at the value's first bracket, and is completed to a value
of its own: the brackets that are open there stand before it, with a value; at its
end one more value follows, and what is open is closed. What was checked apart and
is not in it is a gap.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.outline import WINDOW, Outline, nest, structure
from imagegate.engine.strict import syntax_error

_T = TypeVar("_T")

# Windows without a comma, long strings and white space not counted.
_LONGEST: Final = 4
_SPACE: Final = b" \t\r\n"
_DIGITS: Final = b"0123456789+-.eE"
# A number or a word at the end may not be whole.
_SCALAR: Final = _DIGITS + b"truefalsn"
# The brackets before a fragment, with a value in the innermost.
_LEVELS: Final = {ord("["): b"[", ord("{"): b'{"":'}
# What follows a fragment, so that its comma has a value before it, too.
_FOLLOWING: Final = {ord("["): b",0", ord("{"): b',"":0'}
_CLOSED: Final = bytes.maketrans(b"[{", b"]}")
_ANY: Final = msgspec.json.Decoder(Raw)
# The decoder names the byte after a value, counted from one.
_AFTER: Final = re.compile(r"trailing characters \(byte (\d+)\)")


def decoded_end(text: bytes | memoryview) -> int | None:
    """Decode the value that a text begins with.

    Returns:
        How many bytes were looked at before something else followed; None when
        nothing did.

    Raises:
        msgspec.DecodeError: When there is no whole value.
    """
    try:
        _ANY.decode(text)
    except msgspec.DecodeError as error:
        found = _AFTER.search(str(error))
        if found is None:
            raise
        return int(found[1]) - 1
    return None


class Fragment:
    """A fragment, as far as it has been seen.

    Attributes:
        cut: Where its last comma is; 0 when it has none but the one it begins with.
        ends: Whether the value ends in it.
        quote: Where a string begins that does not end in it; -1 when none does.
        structure: How much structure was found.
    """

    __slots__ = (
        "_gaps",
        "_kept",
        "_opened",
        "_prefix",
        "_stack",
        "_text",
        "cut",
        "ends",
        "quote",
        "structure",
    )

    def __init__(self, at: int, stack: bytes = b"") -> None:
        self._stack = stack
        levels = b"".join(map(_LEVELS.__getitem__, stack))
        self._prefix = levels + b"0" if stack else b""
        self._gaps = [(0, at - len(self._prefix))]
        self._text = self._kept = b""
        self._opened = stack
        self.cut = self.structure = 0
        self.quote = -1
        self.ends = False

    def add(self, window: bytes) -> None:
        """See what follows what was kept."""
        self._text = self._kept + window
        outline = Outline(self._text)
        self.cut, outside = outline.before_last_comma()
        if self.cut:
            self._look(outside)
        if not self.cut or self.ends:
            self._look(outline.outside())
            self.quote = outline.last_quote if outline.open else -1

    def _look(self, outside: bytes) -> None:
        self.structure = structure(outside)
        if self._stack:
            self._opened, self.ends = nest(self._stack, outside)
        else:
            self._opened, self.ends = nest(outside[:1], outside[1:])

    def place(self, at: int) -> int:
        """Where a place in it is in the window that was added last."""
        return at - len(self._kept)

    def finish(self) -> bytes:
        """Check it up to its last comma; give the brackets that are open there.

        Raises:
            MalformedRequest: When it does not fit.
        """
        following = _FOLLOWING[self._opened[-1]]
        closed = self._opened[::-1].translate(_CLOSED)
        self._decode(self._text[: self.cut] + following + closed, _ANY.decode)
        return self._opened

    def end(self) -> int:
        """Check it up to the end of the value, and say where that is.

        Raises:
            MalformedRequest: When it does not fit, or the value does not end.
        """
        end = self._decode(self._text, decoded_end)
        return len(self._text) if end is None else end - len(self._prefix)

    def _decode(self, text: bytes, decode: Callable[[bytes], _T]) -> _T:
        data = self._prefix + text
        try:
            return decode(data)
        except msgspec.DecodeError as error:
            raise self._misfit(error, data) from None

    def _misfit(self, error: msgspec.DecodeError, data: bytes) -> MalformedRequest:
        return syntax_error(str(error), data, self._gaps)

    def keep(self) -> int:
        """Leave out the long string or white space at its end, if there is one.

        Returns:
            Where that begins.

        Raises:
            MalformedRequest: When it does not fit so far, or goes on for too long
                without a comma.
        """
        begins = len(self._text.rstrip(_SPACE)) if self.quote < 0 else self.quote
        data = self._prefix + self._text[:begins].rstrip(_SCALAR)
        try:
            _ANY.decode(data)
        except msgspec.DecodeError as error:
            if "truncated" not in str(error):
                raise self._misfit(error, data) from None
        if begins > _LONGEST * WINDOW:
            if self._text[-1] in _DIGITS:
                raise number_too_long()
            raise MalformedRequest("too_deep", "nested too deep")
        return begins

    def skip(self, begins: int, missing: int) -> None:
        """Let a short string or one space stand for what was left out."""
        stands = b'""' if self.quote >= 0 else b" " if missing else b""
        self._kept = self._text[:begins] + stands
        place = len(self._prefix) + len(self._kept)
        self._gaps.append((place, missing - len(stands)))


def number_too_long() -> MalformedRequest:
    """Say that a number has more digits than a number needs."""
    return MalformedRequest("number_out_of_range", "a number is too long")
