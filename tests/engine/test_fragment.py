"""A fragment fits where it stands, or is refused with its place."""

from __future__ import annotations

import msgspec
import pytest

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.fragment import Fragment, decoded_end


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (b'"a" , "b"', 4),
        (b'{"a":1}]', 7),
        (b"[1,2],", 5),
        (b"12,", 2),
        (b"true1", 4),
        (b"[1]", None),
        (b" 12 ", None),
    ],
)
def test_the_decoder_says_where_a_value_ends(text: bytes, end: int | None) -> None:
    """In its message; the proof that values are told from what follows hangs on it."""
    assert decoded_end(text) == end


@pytest.mark.parametrize("text", [b'"a', b"[1}", b"tru", b"01", b"-", b"", b"[1,]"])
def test_what_is_no_value_has_no_end(text: bytes) -> None:
    """Nor has what is none yet."""
    with pytest.raises(msgspec.DecodeError):
        decoded_end(text)


def seen(window: bytes, stack: bytes = b"", at: int = 100) -> Fragment:
    """See a window of a value."""
    fragment = Fragment(at, stack)
    fragment.add(window)
    return fragment


def refusal(fragment: Fragment, method: str) -> tuple[str, str]:
    """Check a fragment that does not fit; give the code and the place."""
    with pytest.raises(MalformedRequest) as caught:
        getattr(fragment, method)()
    return caught.value.code, caught.value.pointer


def test_a_fragment_ends_before_its_last_comma() -> None:
    """And is checked with the brackets that are open before and behind it."""
    fragment = seen(b',"b":[1,{"c":2},"d', b"[{")

    assert (fragment.cut, fragment.ends, fragment.structure) == (15, False, 4)
    assert fragment.place(15) == 15
    assert fragment.finish() == b"[{["


@pytest.mark.parametrize(
    ("window", "stack", "place"),
    [
        (b",1 2,3", b"[", "byte 103"),
        (b",1,3", b"{", "byte 101"),
        (b',"a":1,"b"', b"[", "byte 104"),
        (b",1},2", b"[{", "byte 101"),
        (b",[1},2", b"[", "byte 103"),
        (rb",\",1,2", b"[", "byte 101"),
        (b",tru,2", b"[", "byte 102"),
        (b",[,2", b"[", "byte 102"),
        (b',{,"a":2', b"[", "byte 102"),
        (b"[,2", b"", "byte 101"),
    ],
)
def test_what_does_not_fit_is_refused(window: bytes, stack: bytes, place: str) -> None:
    """At its place in the body."""
    assert refusal(seen(window, stack), "finish") == ("invalid_json", place)


@pytest.mark.parametrize(
    ("window", "stack", "end"),
    [
        (b',2]}],"x":[1', b"[{[", 5),
        (b',2] \n, "x', b"[", 5),
        (b",2]", b"[", 3),
        (b"[1]", b"", 3),
        (b"[1],2,[3,4", b"", 3),
        (b',"]"]}', b"[", 5),
    ],
)
def test_the_end_of_the_value_is_found(window: bytes, stack: bytes, end: int) -> None:
    """Whatever follows."""
    fragment = seen(window, stack)

    assert fragment.ends
    assert fragment.end() == end


def test_a_value_that_does_not_end_is_refused() -> None:
    """With the place where it should."""
    assert refusal(seen(b",[2", b"["), "end") == ("invalid_json", "byte 103")
    assert refusal(seen(b',"\\ud800"', b"["), "end") == ("lone_surrogate", "byte 102")


def test_long_strings_and_spaces_are_left_out() -> None:
    """Places are still those of the body."""
    fragment = seen(b',{"a" ', b"[")
    assert (fragment.cut, fragment.quote, fragment.keep()) == (0, -1, 5)
    fragment.skip(5, 1_000)  # white space from 105 to 1105
    fragment.add(b': "xxxx')
    assert (fragment.quote, fragment.keep(), fragment.place(8)) == (8, 8, 2)
    fragment.skip(8, 500)  # a string from 1107 to 1607
    fragment.add(b"},2")
    assert fragment.finish() == b"["

    fragment.add(b"@},2")
    assert refusal(fragment, "finish") == ("invalid_json", "byte 1607")


@pytest.mark.parametrize("scalar", [b"-", b"1.", b"1e", b"-1.5E+", b"tru", b"nu"])
def test_a_number_may_end_beyond_a_window(scalar: bytes) -> None:
    """Half of it is no fault."""
    for before in (b",[", b',{"a":'):
        fragment = seen(before + scalar, b"[")
        assert fragment.keep() == len(before + scalar)


def test_nothing_nests_without_end() -> None:
    """The decoder's own end is met first, where there is one: 3.14 reads deeper."""
    with pytest.raises((RecursionError, MalformedRequest), match=r"too deep|recursion"):
        seen(b"," + b"[" * 70_000, b"[").keep()


@pytest.mark.parametrize(
    ("window", "code", "place"),
    [
        (b",[" + b"1" * 70_000, "number_out_of_range", ""),
        (b",[" + b"x" * 70_000, "invalid_json", "byte 102"),
        (b',{"%b":' % (b"k" * 70_000), "too_deep", ""),
        (b',{"%b" :"' % (b"k" * 70_000), "too_deep", ""),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_what_goes_on_without_a_comma_is_refused(
    window: bytes, code: str, place: str
) -> None:
    """It is a number of many digits, or nested deep, or no JSON."""
    fragment = seen(window, b"[")

    assert (fragment.cut, fragment.ends) == (0, False)
    assert refusal(fragment, "keep") == (code, place)
