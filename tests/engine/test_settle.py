"""One setting: what keeps to its lines, and what is put where something does not."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from imagegate.engine.policy import (
    SETTINGS,
    Kind,
    Line,
    Reaction,
    Setting,
    Use,
    Value,
)
from imagegate.engine.settle import (
    Legal,
    Scalar,
    Settled,
    because,
    breaks,
    nearest,
    possible,
    satisfies,
    settle,
    spell,
)
from imagegate.engine.sizes import ArbitrarySizes, FixedSizes, Size, Sizes, parse_size

QUALITY, SIZE, FORMAT = (
    SETTINGS[name] for name in ("quality", "size", "output_format")
)
PARTIAL = SETTINGS["partial_images"]
ARBITRARY = ArbitrarySizes(
    multiple=16,
    max_ratio=3,
    max_edge=3840,
    min_pixels=655_360,
    max_pixels=8_294_400,
    experimental_above=3_686_400,
)


def size(text: str) -> Size:
    found = parse_size(text)
    assert found is not None
    return found


def sizes(*texts: str) -> tuple[Size, ...]:
    return tuple(map(size, texts))


STANDARD = FixedSizes(sizes=sizes("1024x1024", "1536x1024", "1024x1536"))


def line(
    setting: Setting,
    kind: Kind,
    value: Value,
    otherwise: Reaction = "lower",
    *,
    layer: Literal["baseline", "team"] = "baseline",
) -> Line:
    path = f"settings.{setting.name}.{kind}"
    return Line(
        id=path if layer == "baseline" else f"teams.a.{path}",
        path=path,
        layer=layer,
        kind=kind,
        subject=setting.name,
        value=value,
        otherwise=otherwise,
    )


def anything(_: Scalar) -> bool:
    return True


def settled(
    setting: Setting, value: Scalar, *lines: Line, among: Sizes | None = None
) -> Settled:
    return settle(setting, value, lines, legal=anything, sizes=among)


@pytest.mark.parametrize(
    ("rule", "keeps", "breaking"),
    [
        pytest.param(
            line(QUALITY, "max", "medium"), ("low", "medium"), ("high", "max"), id="max"
        ),
        pytest.param(
            line(QUALITY, "min", "medium"), ("medium", "max"), ("low",), id="min"
        ),
        pytest.param(
            line(SETTINGS["moderation"], "min", "auto"),
            ("auto",),
            ("low",),
            id="strict",
        ),
        pytest.param(line(FORMAT, "allow", ("png",)), ("png",), ("gif", ""), id="list"),
        pytest.param(line(PARTIAL, "max", 1), (0, 1), (2, 3), id="at-most"),
        pytest.param(line(PARTIAL, "min", 1), (1, 3), (0, -1), id="at-least"),
        pytest.param(line(PARTIAL, "allow", (0, 2)), (0, 2), (1,), id="numbers"),
        pytest.param(
            line(SIZE, "max", size("1536x1024")),
            sizes("1536x1024", "1024x1536", "16x16"),
            sizes("1600x900", "1040x1040"),
            id="size",
        ),
        pytest.param(
            line(SIZE, "allow", sizes("1536x1024")),
            sizes("1536x1024"),
            sizes("1024x1536"),
            id="sizes",
        ),
    ],
)
def test_a_value_keeps_to_a_line_or_breaks_it(
    rule: Line, keeps: tuple[Scalar, ...], breaking: tuple[Scalar, ...]
) -> None:
    """A cap on a size is blind to orientation, a list of sizes is not."""
    assert all(satisfies(rule, value) for value in keeps)
    assert not any(satisfies(rule, value) for value in breaking)


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (line(QUALITY, "max", "max"), "auto"),
        (line(QUALITY, "max", "max"), "ultra"),
        (line(QUALITY, "max", "max"), 0),
        (line(QUALITY, "max", "max"), size("1x1")),
        (line(PARTIAL, "max", 3), "0"),
        (line(PARTIAL, "max", 3), True),
        (line(PARTIAL, "allow", (1,)), True),
        (line(SIZE, "max", size("99999x99999")), "auto"),
        (line(SIZE, "max", size("99999x99999")), 1),
        (line(SIZE, "allow", sizes("1024x1024")), "1024x1024"),
    ],
)
def test_what_cannot_be_compared_does_not_keep_to_a_line(
    rule: Line, value: Scalar
) -> None:
    """An unknown word has no rank, a truth value is no number: they fail closed."""
    assert not satisfies(rule, value)


def test_what_is_allowed_is_left_alone() -> None:
    """Nothing is violated, and nobody's word was followed."""
    assert settled(QUALITY, "low", line(QUALITY, "max", "low")) == Settled(value="low")
    assert settled(QUALITY, "auto") == Settled(value="auto")


def test_a_block_beats_every_rewrite() -> None:
    """The most particular line that blocks is named."""
    lines = (
        line(QUALITY, "max", "low", "lower", layer="team"),
        line(QUALITY, "allow", ("low",), "block"),
        line(QUALITY, "min", "low", "block"),
    )

    found = settled(QUALITY, "high", *lines)

    assert found == Settled(value="high", by=lines[1], refused=True)


def test_strip_beats_a_value_to_use() -> None:
    """A field that one rule wants gone is not filled by another."""
    strip = line(FORMAT, "allow", ("png",), "strip")
    use = line(FORMAT, "allow", ("png",), Use(value="png"), layer="team")

    found = settled(FORMAT, "gif", strip, use)

    assert found == Settled(value=None, by=strip)


def test_of_two_values_to_use_the_more_particular_is_taken() -> None:
    """And a value to use beats moving to the nearest one."""
    lines = (
        line(QUALITY, "max", "medium", "lower"),
        line(QUALITY, "max", "medium", Use(value="medium")),
        line(QUALITY, "max", "high", Use(value="low"), layer="team"),
    )

    found = settled(QUALITY, "max", *lines)

    assert found == Settled(value="low", by=lines[2])


def test_a_value_to_use_that_another_line_forbids_is_refused() -> None:
    """The result keeps to every line, or there is none."""
    use = line(QUALITY, "max", "medium", Use(value="medium"))
    floor = line(QUALITY, "min", "high")

    found = settled(QUALITY, "max", use, floor)

    assert (found.refused, found.by, found.value) == (True, use, "max")


def test_a_value_that_the_model_refuses_is_not_put_in() -> None:
    """Neither a value to use nor a neighbour; an illegal neighbour is stepped over."""

    def legal(value: Scalar) -> bool:
        return value == "low"

    use = line(QUALITY, "max", "medium", Use(value="medium"))
    lower = line(QUALITY, "max", "medium")

    assert settle(QUALITY, "high", [use], legal=legal).refused
    assert settle(QUALITY, "high", [lower], legal=legal).value == "low"


@pytest.mark.parametrize(
    ("value", "lines", "expected"),
    [
        pytest.param("max", [("max", "medium")], "medium", id="down"),
        pytest.param("low", [("min", "high")], "high", id="up-where-there-is-a-floor"),
        pytest.param("medium", [("allow", ("low", "max"))], "low", id="down-in-a-list"),
        pytest.param("low", [("allow", ("high", "max"))], "high", id="up-in-a-list"),
        pytest.param(
            "max", [("max", "high"), ("allow", ("low", "xhigh"))], "low", id="both"
        ),
        pytest.param("ultra", [("max", "low")], None, id="unknown-word"),
        pytest.param("max", [("max", "low"), ("min", "high")], None, id="nothing-left"),
    ],
)
def test_a_word_moves_to_the_next_allowed_one(
    value: str, lines: list[tuple[Kind, Value]], expected: str | None
) -> None:
    """Downwards first; a word without a rank moves nowhere and is refused."""
    rules = [line(QUALITY, kind, limit) for kind, limit in lines]

    assert nearest(QUALITY, value, rules, legal=anything) == expected
    assert settled(QUALITY, value, *rules).refused == (expected is None)


@pytest.mark.parametrize(
    ("value", "lines", "expected"),
    [
        pytest.param(3, [("max", 1)], 1, id="down"),
        pytest.param(0, [("min", 2)], 2, id="up"),
        pytest.param(5, [("allow", (1, 4, 6))], 4, id="down-in-a-list"),
        pytest.param(5, [("allow", (1, 6))], 1, id="down-even-if-up-is-nearer"),
        pytest.param(0, [("allow", (4, 1))], 1, id="up-in-a-list"),
        pytest.param(9, [("max", 1), ("min", 2)], None, id="nothing-left"),
    ],
)
def test_a_number_moves_to_the_next_allowed_one(
    value: int, lines: list[tuple[Kind, Value]], expected: int | None
) -> None:
    """Downwards first, as with words."""
    rules = [line(PARTIAL, kind, limit) for kind, limit in lines]

    assert nearest(PARTIAL, value, rules, legal=anything) == expected


@pytest.mark.parametrize(
    ("value", "cap", "among", "expected"),
    [
        pytest.param("2000x1120", "1536x1024", ARBITRARY, "1536x848", id="scaled"),
        pytest.param("1120x2000", "1536x1024", ARBITRARY, "848x1536", id="portrait"),
        pytest.param("1408x480", "1024x1024", ARBITRARY, "1024x640", id="widened"),
        pytest.param("2048x1152", "1536x1024", STANDARD, "1536x1024", id="orientation"),
        pytest.param("2048x512", "1536x1024", STANDARD, "1024x1024", id="no-growth"),
        pytest.param("2048x2048", "512x512", STANDARD, None, id="none-so-small"),
        pytest.param("2000x1120", "1000x1000", None, "1000x560", id="unknown-model"),
    ],
)
def test_a_size_is_brought_under_the_cap(
    value: str, cap: str, among: Sizes | None, expected: str | None
) -> None:
    """By the arithmetic of sizes; the tightest edges of several caps count."""
    loose = line(SIZE, "max", size("9000x9000"))
    rule = line(SIZE, "max", size(cap))

    found = settled(SIZE, size(value), loose, rule, among=among)

    assert found.refused == (expected is None)
    assert found.value == size(expected or value)
    assert found.by == rule


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("1600x1600", "1024x1024", id="same-orientation"),
        pytest.param("2048x1024", "1536x1024", id="landscape"),
        pytest.param("512x512", "1024x1024", id="up-where-nothing-is-lower"),
    ],
)
def test_a_size_moves_to_one_of_a_list(value: str, expected: str) -> None:
    """A list is what the provider's fixed sizes are: one of them, or nothing."""
    listed = line(SIZE, "allow", sizes("1024x1024", "1536x1024"))

    assert settled(SIZE, size(value), listed).value == size(expected)


def test_of_a_list_only_what_the_model_takes_is_chosen() -> None:
    """And what the other lines allow."""
    rules = [
        line(SIZE, "allow", sizes("1024x1024", "1536x1024", "512x512")),
        line(SIZE, "max", size("1024x1024")),
    ]

    def legal(value: Scalar) -> bool:
        return value != size("1024x1024")

    found = settle(SIZE, size("2048x2048"), rules, legal=legal)

    assert found.value == size("512x512")


@pytest.mark.parametrize(
    ("setting", "lines", "expected"),
    [
        (QUALITY, [("max", "low")], True),
        (QUALITY, [("max", "low"), ("min", "high")], False),
        (FORMAT, [("allow", ("png",)), ("allow", ("gif",))], False),
        (PARTIAL, [("min", 2), ("max", 3)], True),
        (PARTIAL, [("min", 3), ("max", 2)], False),
        (SIZE, [("max", size("64x64"))], True),
        (SIZE, [("allow", sizes("64x64", "80x80")), ("max", size("64x64"))], True),
        (SIZE, [("allow", sizes("80x80")), ("max", size("64x64"))], False),
        (QUALITY, [], True),
    ],
)
def test_lines_leave_a_value_or_they_do_not(
    setting: Setting, lines: list[tuple[Kind, Value]], *, expected: bool
) -> None:
    """Whether a provider takes it is not asked here."""
    rules = [line(setting, kind, limit) for kind, limit in lines]
    words = setting.order or ("png", "gif", "webp")

    assert possible(setting, rules, words) is expected


WORDS = st.sampled_from(QUALITY.order)
EDGES = st.integers(1, 250).map(lambda n: n * 16)
SIZES = st.builds(Size, width=EDGES, height=EDGES)
NUMBERS = st.integers(0, 9)
MOVES: st.SearchStrategy[Reaction] = st.sampled_from(
    ["block", "lower", "raise", "clamp", "strip"]
)
LAYERS: st.SearchStrategy[Literal["baseline", "team"]] = st.sampled_from(
    ["baseline", "team"]
)


def picky(value: Scalar) -> bool:
    """Refuse every third value, as a model does for reasons of its own."""
    return len(str(value)) % 3 != 0


@st.composite
def questions(draw: st.DrawFn) -> tuple[Setting, Scalar, list[Line], Sizes | None]:
    """Draw a setting, a value that is asked for, and lines that limit it."""
    setting, values = draw(
        st.sampled_from([(QUALITY, WORDS), (SIZE, SIZES), (PARTIAL, NUMBERS)])
    )
    strategy: st.SearchStrategy[Scalar] = values  # type: ignore[assignment] # one of three
    uses: st.SearchStrategy[Reaction] = strategy.map(lambda value: Use(value=value))
    kinds: list[Kind] = ["max", "allow"] if setting is SIZE else ["max", "min", "allow"]
    lines = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(kinds))
        value: Value = draw(strategy)
        if kind == "allow":
            listed = draw(st.lists(strategy, min_size=1, max_size=4, unique=True))
            value = tuple(listed)  # type: ignore[assignment] # of one kind
        reaction = draw(MOVES | uses)
        lines.append(line(setting, kind, value, reaction, layer=draw(LAYERS)))
    among = draw(st.sampled_from([None, STANDARD, ARBITRARY]))
    return setting, draw(strategy), lines, among


@given(questions(), st.sampled_from([anything, picky]))
def test_the_result_keeps_to_every_line_or_is_refused(
    question: tuple[Setting, Scalar, list[Line], Sizes | None], legal: Legal
) -> None:
    """Or the field goes; whatever is put in is legal, and settling twice is once."""
    setting, value, lines, among = question
    found = settle(setting, value, lines, legal=legal, sizes=among)

    assert (found.by is None) == (not breaks(lines, value))
    if found.refused:
        assert found.value == value
    elif found.value is None:
        assert found.by is not None
        assert found.by.otherwise == "strip"
    else:
        assert not breaks(lines, found.value)
        assert legal(found.value) or found.value == value
        again = settle(setting, found.value, lines, legal=legal, sizes=among)
        assert again == Settled(value=found.value)


@given(questions())
def test_the_order_of_the_lines_never_matters(
    question: tuple[Setting, Scalar, list[Line], Sizes | None],
) -> None:
    """The same is put in, whichever line was written first."""
    setting, value, lines, among = question
    # Two lines with one id cannot be told apart, and no file has them.
    assume(len({each.id for each in lines}) == len(lines))

    one = settled(setting, value, *lines, among=among)
    other = settled(setting, value, *reversed(lines), among=among)

    assert (one.value, one.by, one.refused) == (other.value, other.by, other.refused)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("max", "low", "at most low"),
        ("min", 3, "at least 3"),
        ("max", size("1536x1024"), "at most 1536x1024"),
        ("allow", ("low", "high"), "one of low, high"),
        ("default", "low", "low"),
    ],
)
def test_a_line_says_in_words_what_it_allows(
    kind: Kind, value: Value, said: str
) -> None:
    """In the words of the policy, spelled as on the wire."""
    assert because(line(QUALITY, kind, value)) == said


def test_a_value_is_spelled_as_on_the_wire() -> None:
    """A size is two numbers only in here."""
    assert [spell(x) for x in ("low", 3, size("1024x1536"))] == ["low", 3, "1024x1536"]
