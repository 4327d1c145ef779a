"""Sizes: one spelling, and never anything illegal or over the cap out of a cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.sizes import (
    ArbitrarySizes,
    FixedSizes,
    Size,
    Sizes,
    lower,
    parse_size,
    refit,
    why_illegal,
    within,
)


def size(text: str) -> Size:
    found = parse_size(text)
    assert found is not None
    return found


def fixed(*texts: str) -> FixedSizes:
    return FixedSizes(sizes=tuple(size(text) for text in texts))


def arbitrary(*, assumed: bool = False) -> ArbitrarySizes:
    return ArbitrarySizes(
        multiple=16,
        max_ratio=3,
        max_edge=3840,
        min_pixels=655_360,
        max_pixels=8_294_400,
        experimental_above=3_686_400,
        assumed=assumed,
    )


STANDARD = fixed("1024x1024", "1536x1024", "1024x1536")
DALL_E_3 = fixed("1024x1024", "1792x1024", "1024x1792")
ARBITRARY = arbitrary()


def text_of(found: Size | None) -> str | None:
    return None if found is None else found.text


@pytest.mark.parametrize("text", ["1x1", "1024x1024", "1536x864", "99999x99999"])
def test_one_spelling_is_read(text: str) -> None:
    """Width, a small x, height; and it is written as it was read."""
    found = parse_size(text)

    assert found is not None
    assert found.text == text


@pytest.mark.parametrize(
    "text",
    [
        "auto",
        "1572864",
        "",
        "x",
        "1024x",
        "1536X1024",
        "1536×1024",
        "١٠٢٤x١٠٢٤",
        "\uff11\uff10\uff12\uff14x1024",
        "+1024x1024",
        "-1024x1024",
        " 1024x1024",
        "1024x1024\n",
        "1024 x 1024",
        "01024x1024",
        "0x1024",
        "100000x1024",
        "1024x1024x1024",
        "1_024x1024",
        "1e3x1024",
    ],
)
def test_anything_else_is_no_size(text: str) -> None:
    """What int() or a lenient provider would take is not a size here."""
    assert parse_size(text) is None


@pytest.mark.parametrize(
    ("text", "orientation", "long", "short"),
    [
        ("1536x1024", "landscape", 1536, 1024),
        ("1024x1536", "portrait", 1536, 1024),
        ("1024x1024", "square", 1024, 1024),
    ],
)
def test_edges_have_names_that_do_not_depend_on_the_orientation(
    text: str, orientation: str, long: int, short: int
) -> None:
    """Long and short are the edges; the orientation says which lies where."""
    found = size(text)

    assert (found.orientation, found.long, found.short) == (orientation, long, short)
    assert found.pixels == long * short


@pytest.mark.parametrize(
    ("text", "cap", "expected"),
    [
        ("1024x1536", "1536x1024", True),
        ("1536x1024", "1024x1536", True),
        ("1536x1024", "1536x1024", True),
        ("1552x16", "1536x1024", False),
        ("1040x1040", "1536x1024", False),
    ],
)
def test_a_cap_has_no_orientation(text: str, cap: str, *, expected: bool) -> None:
    """The longer edge is compared with the longer, the shorter with the shorter."""
    assert within(size(text), size(cap)) is expected


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("1024x1024", None),
        ("1536x864", None),
        ("3840x2160", None),
        ("1024x640", None),
        ("1537x864", "size.multiple"),
        ("1536x865", "size.multiple"),
        ("1600x512", "size.ratio"),
        ("3856x2160", "size.edge"),
        ("3840x2176", "size.max-pixels"),
        ("1024x624", "size.min-pixels"),
    ],
)
def test_arithmetic_says_which_rule_a_size_breaks(text: str, rule: str | None) -> None:
    """Each limit has its own id, and both ends of each are where they should be."""
    fault = why_illegal(size(text), ARBITRARY)

    assert (fault and fault.rule) == rule


def test_a_gif_frame_may_be_smaller_than_a_still() -> None:
    """Only the minimum is lifted: 512x288 is a frame, 500x288 is not."""
    assert why_illegal(size("512x288"), ARBITRARY, gif=True) is None
    assert why_illegal(size("512x288"), ARBITRARY) is not None
    assert why_illegal(size("500x288"), ARBITRARY, gif=True) is not None


def test_fixed_sizes_are_a_closed_list() -> None:
    """The sentence says what would be right."""
    assert why_illegal(size("1024x1536"), STANDARD) is None

    fault = why_illegal(size("1600x1024"), STANDARD)

    assert fault is not None
    assert fault.rule == "size.fixed"
    assert fault.message == (
        "size 1600x1024 must be one of 1024x1024, 1536x1024, 1024x1536"
    )


@pytest.mark.parametrize("sizes", [None, arbitrary(assumed=True)], ids=repr)
def test_nothing_is_illegal_where_nothing_is_known(sizes: Sizes | None) -> None:
    """Limits borrowed from a sibling refuse nothing."""
    assert why_illegal(size("7x99999"), sizes) is None


@pytest.mark.parametrize(
    ("asked", "cap", "expected"),
    [
        ("1024x1024", "1024x1024", "1024x1024"),
        ("2000x1120", "1536x1024", "1536x848"),
        ("1120x2000", "1536x1024", "848x1536"),
        ("1536x1024", "1024x1024", "1024x672"),
        # Scaled, it would have fewer pixels than the least: the short edge widens.
        ("2048x1152", "1024x1024", "1024x640"),
        ("3840x1280", "1536x1024", "1536x512"),
        # The ratio is out of bounds.
        ("4096x512", "1536x1024", "1536x512"),
        # Too many pixels, within the cap: the aspect ratio stays.
        ("3840x3840", "3840x3840", "2880x2880"),
        # No multiple of 16, within the cap.
        ("1000x1000", "1024x1024", "992x992"),
        # Too small, within the cap; a square stays a square.
        ("256x256", "1024x1024", "816x816"),
        # Only one shape is left under this cap, and it is no square.
        ("1024x1024", "1024x640", "1024x640"),
        ("1024x1024", "800x800", None),
        ("1024x1024", "512x1024", None),
    ],
)
def test_a_size_is_lowered_as_little_as_possible(
    asked: str, cap: str, expected: str | None
) -> None:
    """One factor for both edges, then what the model's limits ask for."""
    assert text_of(lower(size(asked), size(cap), ARBITRARY)) == expected


def test_a_gif_frame_is_lowered_below_the_minimum_of_stills() -> None:
    """The frame fits a cap under which no still is left."""
    found = lower(size("1024x1024"), size("512x512"), ARBITRARY, gif=True)

    assert text_of(found) == "512x512"


@pytest.mark.parametrize(
    ("asked", "cap", "expected"),
    [
        ("1536x1024", "1536x1536", "1536x1024"),
        ("1536x1024", "1024x1024", "1024x1024"),
        ("1024x1536", "1024x1024", "1024x1024"),
        ("2048x1152", "2048x2048", "1536x1024"),
        ("1152x2048", "1536x1024", "1024x1536"),
        ("2048x2048", "1536x1536", "1024x1024"),
        ("1200x1100", "1536x1024", "1024x1024"),
        ("1200x672", "1536x1024", "1024x1024"),
        ("640x1024", "1536x1024", "1024x1024"),
        ("1536x1024", "1000x1000", None),
    ],
)
def test_a_fixed_size_keeps_its_orientation_first(
    asked: str, cap: str, expected: str | None
) -> None:
    """Then comes the square; none has more pixels while there is another."""
    assert text_of(lower(size(asked), size(cap), STANDARD)) == expected


@pytest.mark.parametrize(
    ("asked", "expected"), [("700x700", "512x512"), ("100x100", "256x256")]
)
def test_a_fixed_size_grows_only_where_nothing_smaller_is_listed(
    asked: str, expected: str
) -> None:
    """A cut does not make the picture dearer when it need not."""
    squares = fixed("256x256", "512x512", "1024x1024")

    assert text_of(lower(size(asked), size("1024x1024"), squares)) == expected


def test_an_unlisted_orientation_is_taken_when_nothing_else_is_left() -> None:
    """Under a cap orientation is free, so a portrait is allowed where it is listed."""
    found = lower(size("1536x1024"), size("1536x1024"), fixed("1024x1536"))

    assert text_of(found) == "1024x1536"


@pytest.mark.parametrize(
    ("asked", "cap", "expected"),
    [
        ("999x333", "1024x1024", "999x333"),
        ("2000x1120", "1536x1024", "1536x860"),
        ("1120x2000", "1536x1024", "860x1536"),
        ("99999x1", "1024x1024", None),
    ],
)
def test_an_unknown_model_only_scales(
    asked: str, cap: str, expected: str | None
) -> None:
    """Nothing is known to floor to, and nothing is known to be too small."""
    assert text_of(lower(size(asked), size(cap), None)) == expected


@pytest.mark.parametrize(
    ("asked", "cap", "expected"),
    [
        ("999x333", "1024x1024", "999x333"),
        ("2000x1120", "1536x1024", "1536x848"),
        # No still is known that small, but none is known to be refused.
        ("2000x1120", "512x512", "512x272"),
    ],
)
def test_assumed_limits_shape_what_has_to_change(
    asked: str, cap: str, expected: str
) -> None:
    """They guide a cut and never refuse one."""
    found = lower(size(asked), size(cap), arbitrary(assumed=True))

    assert text_of(found) == expected


@pytest.mark.parametrize(
    ("asked", "sizes", "expected"),
    [
        ("1536x864", ARBITRARY, "1536x864"),
        ("1792x1024", STANDARD, "1536x1024"),
        ("864x1536", STANDARD, "1024x1024"),
        ("1536x1024", DALL_E_3, "1024x1024"),
        ("1792x1536", DALL_E_3, "1792x1024"),
        ("3072x512", ARBITRARY, "2160x720"),
        ("2000x200", ARBITRARY, "1024x640"),
        ("512x512", STANDARD, "1024x1024"),
        ("1000x1000", ARBITRARY, "992x992"),
        ("256x256", ARBITRARY, "816x816"),
        ("99999x99999", ARBITRARY, "2880x2880"),
        ("99999x1", None, "99999x1"),
    ],
)
def test_a_size_is_fitted_to_another_model_without_a_cap(
    asked: str, sizes: Sizes | None, expected: str
) -> None:
    """A rewritten model gets the nearest size that it makes."""
    assert text_of(refit(size(asked), sizes)) == expected


# Small numbers, so that every size there is can be tried.
SMALL = st.integers(min_value=1, max_value=24)
SIZES = st.builds(Size, width=SMALL, height=SMALL)
LIMITS = st.builds(
    ArbitrarySizes,
    multiple=st.integers(min_value=1, max_value=5),
    max_ratio=st.integers(min_value=1, max_value=4),
    max_edge=st.integers(min_value=1, max_value=24),
    min_pixels=st.integers(min_value=1, max_value=200),
    max_pixels=st.integers(min_value=1, max_value=500),
    experimental_above=st.just(1),
)
LISTS = st.builds(FixedSizes, sizes=st.lists(SIZES, max_size=4).map(tuple))


def all_legal(cap: Size, sizes: Sizes, *, gif: bool) -> list[Size]:
    edges = range(1, cap.long + 1)
    every = (Size(width=w, height=h) for w in edges for h in edges)
    return [
        s for s in every if within(s, cap) and why_illegal(s, sizes, gif=gif) is None
    ]


@given(asked=SIZES, cap=SIZES, sizes=LIMITS | LISTS, gif=st.booleans())
def test_lowering_keeps_its_promises(
    *, asked: Size, cap: Size, sizes: Sizes, gif: bool
) -> None:
    """The result is legal and within the cap; there is none only if none exists."""
    legal = all_legal(cap, sizes, gif=gif)

    found = lower(asked, cap, sizes, gif=gif)

    assert (found in legal) if legal else found is None
    if found is not None:
        assert lower(found, cap, sizes, gif=gif) == found


@given(asked=SIZES, cap=SIZES, sizes=LIMITS | LISTS, gif=st.booleans())
def test_lowering_keeps_the_orientation_where_it_can(
    *, asked: Size, cap: Size, sizes: Sizes, gif: bool
) -> None:
    """A landscape never becomes a portrait while a landscape or square is left.

    Not at the price of more pixels: then as few as can be come first.
    """
    legal = all_legal(cap, sizes, gif=gif)
    least = min((s.pixels for s in legal), default=0)
    most = max(asked.pixels, least)
    orientations = {s.orientation for s in legal if s.pixels <= most}

    found = lower(asked, cap, sizes, gif=gif)

    if found is not None and found.orientation not in (asked.orientation, "square"):
        assert asked.orientation not in orientations
        assert "square" not in orientations or asked.orientation == "square"


def nearest_by_hand(asked: Size, cap: Size, limits: ArbitrarySizes) -> Size | None:
    """Try every size: scaled by the largest factor that fits, then the nearest.

    Nothing larger than asked for, while there is anything else.
    """
    if within(asked, cap) and why_illegal(asked, limits) is None:
        return asked
    wide = asked.width >= asked.height
    legal = [
        s
        for s in all_legal(cap, limits, gif=False)
        if (s.width >= s.height) == wide or s.orientation == "square"
    ]
    if asked.orientation == "square":
        squares = [s for s in legal if s.orientation == "square"]
        fewer = [s for s in squares if s.pixels <= asked.pixels]
        if fewer or not [s for s in legal if s.pixels <= asked.pixels]:
            legal = fewer or squares or legal
    if not [s for s in legal if s.pixels <= asked.pixels]:
        return min(legal, key=lambda s: (s.pixels, s.long), default=None)
    legal = [s for s in legal if s.pixels <= asked.pixels]
    step = limits.multiple
    long_cap = min(cap.long, limits.max_edge)
    short_cap = min(cap.short, limits.max_edge)
    long = max(
        n
        for n in range(asked.long + 1)
        if n <= long_cap
        and n * asked.short <= short_cap * asked.long
        and n * n * asked.short <= limits.max_pixels * asked.long
    )
    short = max(
        n
        for n in range(asked.short + 1)
        if n <= short_cap
        and n * asked.long <= long_cap * asked.short
        and n * n * asked.long <= limits.max_pixels * asked.short
    )
    target = long - long % step, short - short % step
    return min(
        legal,
        key=lambda s: (abs(s.long - target[0]), s.long, abs(s.short - target[1])),
        default=None,
    )


@given(asked=SIZES, cap=SIZES, limits=LIMITS)
def test_lowering_agrees_with_trying_every_size(
    asked: Size, cap: Size, limits: ArbitrarySizes
) -> None:
    """The arithmetic finds what a search through all sizes finds."""
    assert lower(asked, cap, limits) == nearest_by_hand(asked, cap, limits)


@given(asked=SIZES, cap=SIZES, sizes=LIMITS | LISTS)
def test_no_more_pixels_are_asked_for_while_there_are_fewer(
    asked: Size, cap: Size, sizes: Sizes
) -> None:
    """Whatever a model makes; else as few as can be, and a square stays one."""
    found = lower(asked, cap, sizes)
    legal = all_legal(cap, sizes, gif=False)

    if found is not None and found.pixels > asked.pixels:
        assert all(each.pixels > asked.pixels for each in legal)
        if isinstance(sizes, ArbitrarySizes) and asked.orientation == "square":
            legal = [each for each in legal if each.orientation == "square"] or legal
        assert found.pixels == min(each.pixels for each in legal)


@given(asked=SIZES, cap=SIZES)
def test_scaling_alone_never_exceeds_the_cap(asked: Size, cap: Size) -> None:
    """For an unknown model the result is within the cap and no larger than asked."""
    found = lower(asked, cap, None)

    if found is not None:
        assert within(found, cap)
        assert within(found, asked)
