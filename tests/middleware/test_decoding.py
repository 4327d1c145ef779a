from __future__ import annotations

import gzip
import os

import pytest

from imagegate.engine.errors import MalformedRequest
from imagegate.middleware.encoding import decode
from imagegate.zstd import zstd

LIMIT = 64 << 20


def decoded(data: bytes, coding: str, limit: int = LIMIT) -> bytes:
    steps = decode(data, coding, limit=limit)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: bytes = end.value
            return found


@pytest.mark.parametrize("size", [8 << 20, (8 << 20) + 1])
def test_what_came_short_may_become_so_long_and_no_longer(size: int) -> None:
    data = zstd.compress(bytes(size))

    if size <= 8 << 20:
        assert len(decoded(data, "zstd")) == size
        return
    with pytest.raises(MalformedRequest) as raised:
        decoded(data, "zstd")
    assert (raised.value.code, raised.value.status) == ("body_too_large", 413)


def test_what_came_long_may_become_a_hundred_times_as_long() -> None:
    noise = os.urandom(1 << 20)
    body = noise + bytes(20 << 20)

    assert decoded(gzip.compress(body, 1), "gzip") == body


def test_the_limit_holds_whatever_the_ratio() -> None:
    noise = os.urandom(2 << 20)

    with pytest.raises(MalformedRequest, match="over 1048576 bytes"):
        decoded(gzip.compress(noise, 1), "gzip", limit=1 << 20)
