"""One setting: the value asked for, the lines that limit it, and what holds.

Pure arithmetic on one setting at a time; which lines are in force, and what the
provider makes of the result, is for others to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from imagegate.engine.policy import SETTINGS, Line, Setting, Use, Value, most_particular
from imagegate.engine.sizes import FixedSizes, Size, Sizes, lower, within

Scalar = str | int | Size
Legal = Callable[[Scalar], bool]

_UNCAPPED = 99_999
"""The longest edge that can be spelled."""


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one setting.

    Attributes:
        value: The value that holds; None where the field goes.
        by: The line whose word was followed; None when nothing changes.
        refused: Nothing may be put in its place.
    """

    value: Scalar | None
    by: Line | None = None
    refused: bool = False


def satisfies(line: Line, value: Scalar) -> bool:
    """Tell whether a value keeps to a line; what cannot be compared does not."""
    limit = line.value
    if isinstance(limit, tuple):
        return any(_same_type(each, value) and each == value for each in limit)
    if not _same_type(limit, value):
        return False
    if isinstance(value, Size) and isinstance(limit, Size):
        return within(value, limit)
    asked, bound = _place(line, value), _place(line, limit)
    if asked is None or bound is None:
        return False
    return asked <= bound if line.kind == "max" else asked >= bound


def _same_type(one: object, other: object) -> bool:
    return type(one) is type(other)  # True == 1, but JSON's true is no number


def _place(line: Line, value: Value) -> int | None:
    if isinstance(value, int):
        return value
    order = SETTINGS[line.subject].order
    return order.index(str(value)) if value in order else None


def breaks(lines: Iterable[Line], value: Scalar) -> tuple[Line, ...]:
    """Return the lines that a value does not keep to."""
    return tuple(line for line in lines if not satisfies(line, value))


def settle(  # noqa: PLR0913 - what a size needs besides
    setting: Setting,
    value: Scalar,
    lines: Sequence[Line],
    *,
    legal: Legal,
    sizes: Sizes | None = None,
    gif: bool = False,
) -> Settled:
    """Decide what becomes of a value that was asked for.

    Any line that blocks beats all that rewrite; `strip` beats a value to use,
    and that beats moving to the nearest allowed one. Of several values to use,
    the most particular line's is taken. The result keeps to every line.
    """
    violated = breaks(lines, value)
    if not violated:
        return Settled(value=value)
    blocking = [line for line in violated if line.otherwise == "block"]
    if blocking:
        return Settled(value=value, by=most_particular(blocking), refused=True)
    stripping = [line for line in violated if line.otherwise == "strip"]
    if stripping:
        return Settled(value=None, by=most_particular(stripping))
    using = most_particular(x for x in violated if isinstance(x.otherwise, Use))
    if using is not None and isinstance(using.otherwise, Use):
        found: Scalar | None = using.otherwise.value
    else:
        found = nearest(setting, value, lines, legal=legal, sizes=sizes, gif=gif)
    by = using or most_particular(violated)
    if found is None or breaks(lines, found) or not legal(found):
        return Settled(value=value, by=by, refused=True)
    return Settled(value=found, by=by)


def nearest(  # noqa: PLR0913 - what a size needs besides
    setting: Setting,
    value: Scalar,
    lines: Sequence[Line],
    *,
    legal: Legal,
    sizes: Sizes | None = None,
    gif: bool = False,
) -> Scalar | None:
    """Find the allowed and legal value next to the one asked for.

    Downwards first, since a cap is the usual line to break; upwards only where
    nothing lower is allowed because of a floor.
    """
    if isinstance(value, Size):
        return _nearest_size(value, lines, sizes, legal=legal, gif=gif)
    if isinstance(value, int):
        return _nearest_number(value, lines)
    if value not in setting.order:
        return None
    here = setting.order.index(value)
    below, above = reversed(setting.order[: here + 1]), setting.order[here + 1 :]
    return next(
        (word for word in (*below, *above) if not breaks(lines, word) and legal(word)),
        None,
    )


def _nearest_number(value: int, lines: Sequence[Line]) -> int | None:
    candidates = {value}
    for line in lines:
        limits = line.value if isinstance(line.value, tuple) else (line.value,)
        candidates.update(limit for limit in limits if isinstance(limit, int))
    allowed = [number for number in candidates if not breaks(lines, number)]
    return min(allowed, key=lambda n: (n > value, abs(n - value)), default=None)


def _nearest_size(
    value: Size,
    lines: Sequence[Line],
    sizes: Sizes | None,
    *,
    legal: Legal,
    gif: bool,
) -> Size | None:
    caps = [line.value for line in lines if isinstance(line.value, Size)]
    cap = Size(
        width=min((each.long for each in caps), default=_UNCAPPED),
        height=min((each.short for each in caps), default=_UNCAPPED),
    )
    lists = [
        [size for size in line.value if isinstance(size, Size)]
        for line in lines
        if isinstance(line.value, tuple)
    ]
    if not lists:
        return lower(value, cap, sizes, gif=gif)
    listed = tuple(s for s in lists[0] if legal(s) and not breaks(lines, s))
    return lower(value, cap, FixedSizes(sizes=listed), gif=gif)


def possible(setting: Setting, lines: Sequence[Line], words: Iterable[str]) -> bool:
    """Tell whether the lines leave any value at all."""
    if setting.kind == "number":
        return _nearest_number(0, lines) is not None
    if setting.kind == "size":
        listed = [
            size
            for line in lines
            if isinstance(line.value, tuple)
            for size in line.value
        ]
        return not listed or any(not breaks(lines, size) for size in listed)
    return any(not breaks(lines, word) for word in words)


def spell(value: Scalar) -> str | int:
    """Spell a value for the wire."""
    return value.text if isinstance(value, Size) else value


def because(line: Line) -> str:
    """Say in words what a line allows."""
    value = line.value
    items = value if isinstance(value, tuple) else (value,)
    spelled = ", ".join(str(spell(item)) for item in items)
    words = {"max": "at most ", "min": "at least ", "allow": "one of "}
    return f"{words.get(line.kind, '')}{spelled}"
