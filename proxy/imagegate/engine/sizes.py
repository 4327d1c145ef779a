"""Arithmetic on `WIDTHxHEIGHT`: read it, judge it, fit it under a cap.

The numbers a provider sets live in the catalogue; this room only computes with
them. It knows no model names, and `auto` is a word, never a size.
"""

from __future__ import annotations

import re
from math import isqrt
from typing import Annotated, Literal, TypeAlias

import msgspec

Orientation: TypeAlias = Literal["landscape", "portrait", "square"]
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]

# ASCII only: `\d` would take Arabic digits, which int() then reads happily.
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """A width and a height in pixels."""

    width: int
    height: int

    @property
    def text(self) -> str:
        """The spelling of the wire: `1536x1024`."""
        return f"{self.width}x{self.height}"

    @property
    def long(self) -> int:
        """The longer edge."""
        return max(self.width, self.height)

    @property
    def short(self) -> int:
        """The shorter edge."""
        return min(self.width, self.height)

    @property
    def pixels(self) -> int:
        """The area."""
        return self.width * self.height

    @property
    def orientation(self) -> Orientation:
        """Which way it lies."""
        if self.width == self.height:
            return "square"
        return "landscape" if self.width > self.height else "portrait"


# The largest size that can be spelled.
_UNCAPPED = Size(width=99_999, height=99_999)


class FixedSizes(msgspec.Struct, frozen=True, kw_only=True):
    """A model that makes the listed sizes and no others."""

    sizes: tuple[Size, ...]


class ArbitrarySizes(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A model that makes any size within limits.

    Attributes:
        multiple: Both edges are divisible by this.
        max_ratio: The longer edge is at most this many times the shorter.
        max_edge: The longest edge.
        min_pixels: The smallest still image; frames of a GIF may be smaller.
        max_pixels: The largest area.
        experimental_above: A larger area is legal, and called experimental.
        assumed: The limits are those of a sibling model. Nothing is illegal by
            them, but a size that has to change is fitted to them, because a
            likely size serves better than one that nobody ever tried.
    """

    multiple: _Count
    max_ratio: _Count
    max_edge: _Count
    min_pixels: _Count
    max_pixels: _Count
    experimental_above: _Count
    assumed: bool = False


Sizes: TypeAlias = FixedSizes | ArbitrarySizes


class SizeFault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a size is illegal: a stable rule id and one sentence."""

    rule: str
    message: str


def parse_size(text: str) -> Size | None:
    """Read `WIDTHxHEIGHT` in its one legal spelling; None for anything else."""
    found = _SIZE.fullmatch(text)
    if found is None:
        return None
    return Size(width=int(found[1]), height=int(found[2]))


def within(size: Size, cap: Size) -> bool:
    """Whether neither edge exceeds the cap, whichever way either of them lies."""
    return size.long <= cap.long and size.short <= cap.short


def why_illegal(
    size: Size, sizes: Sizes | None, *, gif: bool = False
) -> SizeFault | None:
    """Say why a model is known to refuse a size; None when it is not known to.

    Args:
        size: The size in question.
        sizes: What the model makes; None when nothing is known.
        gif: Whether the size is that of a GIF frame.
    """
    if sizes is None:
        return None
    if isinstance(sizes, FixedSizes):
        return None if size in sizes.sizes else _not_listed(size, sizes)
    return None if sizes.assumed else _breach(size, sizes, gif=gif)


def _not_listed(size: Size, sizes: FixedSizes) -> SizeFault:
    known = ", ".join(each.text for each in sizes.sizes)
    return SizeFault(
        rule="size.fixed", message=f"size {size.text} must be one of {known}"
    )


def _breach(size: Size, limits: ArbitrarySizes, *, gif: bool) -> SizeFault | None:
    step, ratio = limits.multiple, limits.max_ratio
    low, high = _least_area(limits, gif=gif), limits.max_pixels
    checks = (
        (
            "size.multiple",
            size.width % step or size.height % step,
            f"both edges divisible by {step}",
        ),
        (
            "size.ratio",
            size.long > ratio * size.short,
            f"an aspect ratio between 1:{ratio} and {ratio}:1",
        ),
        (
            "size.edge",
            size.long > limits.max_edge,
            f"no edge longer than {limits.max_edge}",
        ),
        ("size.max-pixels", size.pixels > high, f"at most {high} pixels"),
        ("size.min-pixels", size.pixels < low, f"at least {low} pixels"),
    )
    for rule, broken, demand in checks:
        if broken:
            return SizeFault(rule=rule, message=f"size {size.text} must have {demand}")
    return None


def _least_area(limits: ArbitrarySizes, *, gif: bool) -> int:
    return 1 if gif else limits.min_pixels


def lower(
    size: Size, cap: Size, sizes: Sizes | None, *, gif: bool = False
) -> Size | None:
    """Bring a size under a cap and make it one the model is not known to refuse.

    A size that already is both comes back unchanged. Never are more pixels asked
    for than were, unless nothing legal has fewer; then it is as few as can be.
    With fixed sizes the same orientation comes first among those (then a square),
    then the largest. Otherwise both edges shrink by one factor, which keeps the
    aspect ratio, and are floored to the model's multiple; where a rule of the
    provider demands it the shorter edge is widened, and the longer edge moves only
    when that is not enough.

    Args:
        size: What was asked for.
        cap: What is allowed; its orientation means nothing.
        sizes: What the model makes; None when nothing is known.
        gif: Whether the size is that of a GIF frame.

    Returns:
        A size within the cap, or None when nothing legal is within it.
    """
    if within(size, cap) and why_illegal(size, sizes, gif=gif) is None:
        return size
    if sizes is None:
        return _scaled(size, cap)
    if isinstance(sizes, FixedSizes):
        return _pick(size, cap, sizes)
    fitted = _fit(size, cap, sizes, gif=gif)
    if fitted is None and sizes.assumed:
        return _scaled(size, cap, step=sizes.multiple)
    return fitted


def refit(size: Size, sizes: Sizes | None, *, gif: bool = False) -> Size | None:
    """Find the legal size nearest to one that was asked of another model.

    It has no more pixels than what was asked for unless a minimum of the provider
    demands it.
    """
    return lower(size, _UNCAPPED, sizes, gif=gif)


def _pick(size: Size, cap: Size, fixed: FixedSizes) -> Size | None:
    def alike(each: Size) -> tuple[bool, bool]:
        return each.orientation == size.orientation, each.orientation == "square"

    allowed = [each for each in fixed.sizes if within(each, cap)]
    smaller = [each for each in allowed if each.pixels <= size.pixels]
    if smaller:
        return max(smaller, key=lambda each: (alike(each), each.pixels))
    return max(allowed, key=lambda each: (-each.pixels, alike(each)), default=None)


def _shrunk(size: Size, cap: Size) -> tuple[int, int]:
    # floor(min(a, b)) is min(floor(a), floor(b)): one factor, in whole numbers.
    return (
        min(size.long, cap.long, cap.short * size.long // size.short),
        min(size.short, cap.short, cap.long * size.short // size.long),
    )


def _scaled(size: Size, cap: Size, *, step: int = 1) -> Size | None:
    long, short = (edge - edge % step for edge in _shrunk(size, cap))
    return _laid(size, long, short) if short else None


def _laid(size: Size, long: int, short: int) -> Size:
    if size.orientation == "portrait":
        return Size(width=short, height=long)
    return Size(width=long, height=short)


def _fit(size: Size, cap: Size, limits: ArbitrarySizes, *, gif: bool) -> Size | None:
    bound = Size(
        width=min(cap.long, limits.max_edge), height=min(cap.short, limits.max_edge)
    )
    area = min(size.pixels, limits.max_pixels)
    found = _near(size, bound, limits, area, gif=gif)
    return found or _smallest(size, bound, limits, gif=gif)


def _near(
    size: Size, bound: Size, limits: ArbitrarySizes, area: int, *, gif: bool
) -> Size | None:
    """Find the size nearest to what both edges shrink to, within an area."""
    step = limits.multiple
    long, short = _shrunk(size, bound)
    long = min(long, isqrt(area * size.long // size.short)) // step * step
    short = min(short, isqrt(area * size.short // size.long)) // step * step
    edges = sorted(
        range(step, bound.long + 1, step), key=lambda edge: (abs(edge - long), edge)
    )
    # A square stays one where it can; after that any legal shape will do.
    for square in (True, False) if size.orientation == "square" else (False,):
        for edge in edges:
            span = _short_edges(edge, bound, limits, area, gif=gif)
            if square:
                span = range(edge, edge + 1) if edge in span else span[:0]
            if span:
                return _laid(size, edge, max(span[0], min(short, span[-1])))
    return None


def _smallest(
    size: Size, bound: Size, limits: ArbitrarySizes, *, gif: bool
) -> Size | None:
    """Find the legal size with the fewest pixels; of a square, the least square."""
    step, area = limits.multiple, limits.max_pixels
    spans = {
        edge: _short_edges(edge, bound, limits, area, gif=gif)
        for edge in range(step, bound.long + 1, step)
    }
    squares = [edge for edge, span in spans.items() if edge in span]
    if size.orientation == "square" and squares:
        return _laid(size, squares[0], squares[0])
    laid = [_laid(size, edge, span[0]) for edge, span in spans.items() if span]
    return min(laid, key=lambda each: each.pixels, default=None)


def _short_edges(
    long: int, bound: Size, limits: ArbitrarySizes, area: int, *, gif: bool
) -> range:
    """List the shorter edges that make a legal size with this longer one."""
    step = limits.multiple
    least = max(-(-long // limits.max_ratio), -(-_least_area(limits, gif=gif) // long))
    most = min(long, bound.short, area // long)
    return range(-(-least // step) * step, most + 1, step)
