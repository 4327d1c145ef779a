from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from imagegate.middleware.collecting import _Parts

LARGE = st.binary(min_size=1, max_size=9).map(lambda few: few * 4096)
PIECES = st.lists(st.one_of(st.binary(max_size=9), LARGE))


@given(st.binary(), PIECES)
def test_a_body_is_its_pieces_however_large_they_are(
    first: bytes, pieces: list[bytes]
) -> None:
    parts = _Parts(first)
    for piece in pieces:
        parts.add(piece)

    assert parts.joined() == b"".join([first, *pieces])


def test_crumbs_take_little_more_than_they_are() -> None:
    parts = _Parts(b"")
    tracemalloc.start()
    for _ in range(200_000):
        parts.add(b"ab")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(parts.joined()) == 400_000
    assert most < 1_000_000
