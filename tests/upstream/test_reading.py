"""An answer out of bytes: however they are cut, and whatever they are."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagegate.upstream.client import Origin, UpstreamError, UpstreamRequest
from imagegate.upstream.fast import writing
from imagegate.upstream.fast.reading import LARGE, MOST_FRAMING, MOST_HEAD, Reading
from imagegate.upstream.fast.writing import TOGETHER, head_of, portions

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
OK = HEAD + b"content-length: 2\r\n\r\nok"


def reading_of(*pieces: bytes, end: bool = False, head_only: bool = False) -> Reading:
    """Feed pieces, as a connection would: to what is over it feeds nothing."""
    reading = Reading(head_only=head_only)
    for piece in pieces:
        if piece and not reading.over:
            buffer = bytearray(piece)
            reading.feed(buffer, memoryview(buffer), len(buffer))
    if end and not reading.over:
        reading.end(broken=False)
    return reading


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


def told(reading: Reading) -> tuple[object, ...]:
    return reading.status, reading.headers, reading.take(), reading.failure


PLACES = st.lists(st.integers(0, 1 << 16), max_size=20)
NAMES = st.from_regex(rb"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True).filter(
    lambda name: name.lower() not in (b"content-length", b"transfer-encoding")
)
VALUES = st.from_regex(rb"([!-~]([ -~]{0,20}[!-~])?)?", fullmatch=True)


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, int, list[tuple[bytes, bytes]], bytes]:
    """Return an answer as it is sent, its status, its headers and its body."""
    status = draw(st.sampled_from([200, 201, 307, 400, 429, 500]))
    said = draw(st.lists(st.tuples(NAMES, VALUES), max_size=6))
    pieces = draw(st.lists(st.binary(min_size=1, max_size=80), max_size=6))
    body = b"".join(pieces)
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    if framing == "length":
        said.append((b"Content-Length", b"%d" % len(body)))
    elif framing == "chunked":
        said.append((b"Transfer-Encoding", b"Chunked"))
        trailers = draw(st.sampled_from([b"", b"x: y\r\n", b"x-length: 9\r\ny:\r\n"]))
        sizes = draw(st.sampled_from([b"%x\r\n", b"%X;a=b\r\n", b"000%x\r\n"]))
        chunks = b"".join(sizes % len(each) + each + b"\r\n" for each in pieces)
        body_sent = chunks + b"0\r\n" + trailers + b"\r\n"
    sent = body_sent if framing == "chunked" else body
    lines = b"".join(b"%b: %b\r\n" % pair for pair in said)
    interim = draw(st.sampled_from([b"", b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n"]))
    head = b"HTTP/1.1 %d Said\r\n%b\r\n" % (status, lines)
    return interim + head + sent, status, said, body


@given(answer=answers(), places=PLACES)
def test_an_answer_is_the_same_however_it_is_cut(
    answer: tuple[bytes, int, list[tuple[bytes, bytes]], bytes], places: list[int]
) -> None:
    sent, status, headers, body = answer

    reading = reading_of(*cut(sent, places), end=True)

    assert told(reading) == (status, headers, body, None)
    assert reading.over


@given(answer=answers(), place=st.integers(0, 1 << 16), places=PLACES)
def test_half_an_answer_is_never_a_whole_one(
    answer: tuple[bytes, int, list[tuple[bytes, bytes]], bytes],
    place: int,
    places: list[int],
) -> None:
    sent, _, headers, body = answer
    half = sent[: place % len(sent)]
    framed = any(
        name in (b"Content-Length", b"Transfer-Encoding") for name, _ in headers
    )

    reading = reading_of(*cut(half, places), end=True)

    assert body.startswith(reading.take())
    assert reading.failure is not None or not framed
    assert not reading.clean


NOISE = st.one_of(
    st.binary(max_size=300),
    st.lists(
        st.sampled_from(
            [
                *(HEAD, b"\r\n", b"\n", b"\r", b"0", b"3\r\nabc\r\n", b"0\r\n\r\n"),
                *(b"5;x\r\n", b"content-length: 3\r\n", b" ", b"\0", b"x: y\r\n"),
                *(b"transfer-encoding: chunked\r\n", b"connection: close\r\n"),
                *(b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/1"),
            ]
        ),
        max_size=14,
    ).map(b"".join),
)


@given(noise=NOISE, places=PLACES)
@example(noise=CHUNKED + b"0\r\n\r\n\r\n", places=[])
@example(noise=OK + OK, places=[])
def test_noise_is_read_in_one_way_or_not_at_all(
    noise: bytes, places: list[int]
) -> None:
    whole, pieces = (
        reading_of(noise, end=True),
        reading_of(*cut(noise, places), end=True),
    )

    assert whole.over
    assert pieces.over
    assert (whole.begun, whole.failure) == (pieces.begun, pieces.failure)
    if whole.begun:
        assert told(whole) == told(pieces)
    # Nothing beyond the answer may be left unseen when a connection is kept.
    assert not (whole.clean and noise.endswith((b"\r\n\r\n\r\n", OK + OK)))


@pytest.mark.parametrize("answer", [OK, CHUNKED + b"2\r\nok\r\n0\r\n\r\n"])
@given(surplus=st.binary(min_size=1, max_size=40))
@example(surplus=b"\r\n")
@example(surplus=b"\r\n\r\n")
@example(surplus=b"\r\n0\r\n\r\n")
@example(surplus=OK)
def test_what_follows_is_seen_and_never_part_of_the_answer(
    answer: bytes, surplus: bytes
) -> None:
    reading = reading_of(answer + surplus)

    assert (reading.take(), reading.over, reading.clean) == (b"ok", True, False)
    assert reading.failure is None


KEPT = {
    "a length": (OK, True),
    "chunks": (CHUNKED + b"0\r\n\r\n", True),
    "no body": (b"HTTP/1.1 204 No\r\n\r\n", True),
    "a length that is ignored": (b"HTTP/1.1 304 N\r\ncontent-length: 9\r\n\r\n", True),
    "close": (HEAD + b"connection: close\r\ncontent-length: 0\r\n\r\n", False),
    "close among others": (
        HEAD + b"Connection: x, Close\r\ncontent-length: 0\r\n\r\n",
        False,
    ),
    "an old version": (
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
        False,
    ),
}


@pytest.mark.parametrize("case", KEPT)
def test_a_connection_is_kept_when_the_provider_keeps_it(case: str) -> None:
    sent, kept = KEPT[case]

    reading = reading_of(sent)

    assert (reading.over, reading.clean, reading.failure) == (True, kept, None)


MALFORMED = {
    "a length beside chunks": b"content-length: 2\r\ntransfer-encoding: chunked\r\n",
    "chunks beside a length": b"transfer-encoding: chunked\r\ncontent-length: 2\r\n",
    "two lengths": b"content-length: 2\r\nContent-Length: 2\r\n",
    "a list of lengths": b"content-length: 2, 2\r\n",
    "chunked twice": b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    "chunked and gzip": b"Transfer-Encoding: chunked\r\ntransfer-encoding: gzip\r\n",
    "gzip": b"transfer-encoding: gzip\r\n",
    "identity": b"transfer-encoding: identity\r\n",
    "a folded line": b"x: a\r\n b\r\n",
    "bare line ends": b"x: a\ncontent-length: 2\r\n",
    "a space before the colon": b"content-length : 2\r\n",
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_could_be_read_in_two_ways_is_no_answer(case: str) -> None:
    reading = reading_of(HEAD + MALFORMED[case] + b"\r\nok")

    assert (reading.failure, reading.begun) == ("answer_malformed", False)


@pytest.mark.parametrize(
    "line",
    [b"HTTP/1.1 101 S", b"HTTP/2.0 200 OK", b"HTTP/0.9 200 OK", b"", b"HTTP/1.1"],
)
def test_only_http_1_is_an_answer(line: bytes) -> None:
    reading = reading_of(line + b"\r\n\r\n" + OK)

    assert reading.failure == "answer_malformed"


def test_a_head_that_drips_is_bounded() -> None:
    drip = [b"x"] * (MOST_HEAD + 1)

    assert reading_of(HEAD, *drip).failure == "answer_malformed"


@pytest.mark.parametrize(
    "drip", [b"0" * 99, b"1;" + b"x" * 97, b"0\r\nx: " + b"y" * 93]
)
def test_framing_without_a_body_is_bounded(drip: bytes) -> None:
    flood = [drip, *[b"0" * 99] * (MOST_FRAMING // 99)]

    assert reading_of(CHUNKED, *flood).failure == "answer_broken"


# -- and a request into bytes ---------------------------------------------------


def request(**changes: object) -> UpstreamRequest:
    usual = {
        "method": "POST",
        "origin": Origin("http", "a", 80),
        "target": b"/",
        "headers": [(b"host", b"a"), (b"content-length", b"2")],
        "body": b"ok",
    }
    return UpstreamRequest(**{**usual, **changes})  # type: ignore[arg-type] # checked below


HOST = (b"host", b"a")
UNSENDABLE: dict[str, dict[str, object]] = {
    "no host": {"headers": [(b"content-length", b"2")]},
    "no header": {"headers": []},
    "two hosts": {"headers": [HOST, HOST, (b"content-length", b"2")]},
    "no length": {"headers": [HOST]},
    "another length": {"headers": [HOST, (b"content-length", b"3")]},
    "two lengths": {"headers": [HOST, *[(b"content-length", b"2")] * 2]},
    "a coding": {
        "headers": [HOST, (b"content-length", b"2"), (b"transfer-encoding", b"x")]
    },
    "a name with a colon": {
        "headers": [HOST, (b"content-length", b"2"), (b"a:b", b"c")]
    },
    "an empty name": {"headers": [HOST, (b"content-length", b"2"), (b"", b"c")]},
    "a line end": {"headers": [HOST, (b"content-length", b"2"), (b"a", b"b\nc")]},
    "a length in capitals": {"headers": [HOST, (b"Content-Length", b"2")]},
    "a target with a space": {"target": b"/ HTTP/1.1\r\nx: y"},
    "no target": {"target": b""},
    "a method of two words": {"method": "GET /"},
    "no method": {"method": ""},
}


@pytest.mark.parametrize("case", UNSENDABLE)
def test_what_could_become_two_requests_is_not_written(case: str) -> None:
    with pytest.raises(UpstreamError, match="request_malformed"):
        head_of(request(**UNSENDABLE[case]), 2)


@given(sizes=st.lists(st.integers(0, 3 * TOGETHER), max_size=6))
def test_a_request_is_written_whole_and_what_is_big_is_not_copied(
    sizes: list[int],
) -> None:
    pieces = [bytes([65 + n]) * size for n, size in enumerate(sizes)]

    written = list(portions(b"head", request(body=pieces).pieces))

    assert b"".join(written) == b"".join([b"head", *pieces])
    views = [each for each in written if isinstance(each, memoryview)]
    assert sum(map(len, views)) == sum(size for size in sizes if size > TOGETHER)


SIZES = st.lists(st.sampled_from([1, 700, 40_000, LARGE - 1, LARGE, 3 * LARGE]))


@given(sizes=SIZES, chunked=st.booleans())
@example(sizes=[1, 1, 3 * LARGE, LARGE, 700, 700], chunked=True)
def test_what_is_small_is_joined_and_what_is_large_is_not_copied(
    sizes: list[int], *, chunked: bool
) -> None:
    pieces = [b"%d" % (size % 10) * size for size in sizes]
    body = [b"%x\r\n%b\r\n" % (len(each), each) for each in pieces]
    head = CHUNKED if chunked else b"HTTP/1.1 200 OK\r\n\r\n"
    reading = reading_of(head, *(body if chunked else pieces))
    came = [*reading.pieces]

    taken = []
    while reading.pieces:
        taken.append(reading.take())

    assert b"".join(taken) == b"".join(pieces)
    assert reading.held == 0
    for large in (each for each in came if len(each) >= LARGE):
        assert any(large is each for each in taken)
    for one, two in itertools.pairwise(taken):
        assert len(one) + len(two) >= LARGE


@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                [
                    b"host",
                    b"content-length",
                    b"transfer-encoding",
                    b"x",
                    b"X",
                    b"",
                    b" ",
                ]
            ),
            st.sampled_from([b"2", b"y", b"y" * 5_000]),
        ),
        max_size=4,
    )
)
def test_names_that_came_before_are_judged_as_the_first_time(
    headers: list[tuple[bytes, bytes]],
) -> None:
    def written() -> bytes | None:
        try:
            return head_of(request(headers=headers), 2)
        except UpstreamError:
            return None

    writing.remembered.cache_clear()
    first, again = written(), written()
    names = [name for name, _ in headers]

    assert first == again
    assert (first is not None) == (
        {*names} <= {b"host", b"content-length", b"x"}
        and names.count(b"host") == 1
        and [value for name, value in headers if name == b"content-length"] == [b"2"]
    )
