"""What is written in one go leaves in one go, in order, and nothing stays behind."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.server.cork import Cork

pytestmark = pytest.mark.anyio


class Transport:
    """Notes each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(bytes(data))

    def writelines(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def corked() -> tuple[Cork, Transport]:
    transport = Transport()
    loop = asyncio.get_running_loop()
    return Cork(cast("Any", transport), loop), transport


async def test_what_is_written_in_one_go_leaves_as_one() -> None:
    cork, transport = corked()

    cork.write(b"head")
    cork.write(b"body")
    assert transport.writes == []
    cork.flush()

    assert transport.writes == [b"headbody"]


async def test_what_waits_leaves_when_its_writer_waits() -> None:
    cork, transport = corked()

    cork.write(b"head")
    await asyncio.sleep(0)

    assert transport.writes == [b"head"]


async def test_what_is_large_waits_for_nobody_and_takes_along_what_waits() -> None:
    cork, transport = corked()

    cork.write(b"head")
    cork.write(b"x" * 20_000)

    assert transport.writes == [b"head" + b"x" * 20_000]


async def test_what_is_held_leaves_with_what_is_written_behind_it() -> None:
    cork, transport = corked()

    cork.write(b"head")
    cork.hold((b"4e20\r\n", b"x" * 20_000, b"\r\n"))
    assert transport.writes == []
    cork.write(b"end")

    assert transport.writes == [b"head4e20\r\n" + b"x" * 20_000 + b"\r\nend"]


async def test_what_is_held_leaves_when_told_to() -> None:
    cork, transport = corked()

    cork.hold((b"x" * 20_000,))
    cork.flush()

    assert transport.writes == [b"x" * 20_000]


async def test_closing_writes_what_waits() -> None:
    cork, transport = corked()

    cork.write(b"last")
    cork.close()

    assert (transport.writes, cork.is_closing()) == ([b"last"], True)


async def test_nothing_is_written_to_a_client_that_has_left() -> None:
    cork, transport = corked()

    cork.write(b"head")
    transport.close()
    cork.write(b"body")
    cork.writelines((b"more",))
    await asyncio.sleep(0)

    assert transport.writes == []


PIECES = st.one_of(st.binary(max_size=40), st.integers(0, 40_000).map(bytes))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), PIECES),
        st.tuples(st.just("lines"), st.lists(PIECES, max_size=3)),
        st.just(("flush", None)),
        st.just(("wait", None)),
    ),
    max_size=12,
)


@given(STEPS)
def test_every_byte_leaves_once_and_in_order(steps: list[tuple[str, Any]]) -> None:
    async def written() -> tuple[bytes, bytes]:
        cork, transport = corked()
        said = b""
        for what, piece in steps:
            if what == "write":
                said += piece
                cork.write(piece)
            elif what == "lines":
                said += b"".join(piece)
                cork.writelines(piece)
            elif what == "flush":
                cork.flush()
            else:
                await asyncio.sleep(0)
        cork.close()
        return said, b"".join(transport.writes)

    said, sent = asyncio.run(written())

    assert sent == said
