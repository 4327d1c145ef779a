"""Small bodies that grow large: refused, in bounded memory, in bounded time.

The gateway is a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import gzip
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import brotli
import httpx2
import pytest
from raw import Wire, connect, post
from stage import Process, process

from imagegate.simulator import Simulator
from imagegate.zstd import zstd

MB = 1_000_000
PEAK = 100 * MB
"""More than an idle gateway; a body may be 72 MB long, and its pieces a few more."""


@pytest.fixture(scope="module")
def gateway(
    provider: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    with process(provider, tmp_path_factory.mktemp("bombs")) as running:
        yield running


@dataclass(frozen=True)
class Bomb:
    """A body, how it says it is encoded, and the refusals that are right."""

    coding: str
    make: Callable[[], bytes]
    statuses: tuple[int, ...]


def gzipped(size: int) -> bytes:
    coder = zlib.compressobj(9, wbits=31)
    return b"".join(
        [*(coder.compress(bytes(MB)) for _ in range(size // MB)), coder.flush()]
    )


def zstandard(size: int) -> bytes:
    coder = zstd.ZstdCompressor()
    return b"".join(
        [*(coder.compress(bytes(MB)) for _ in range(size // MB)), coder.flush()]
    )


def brotlied(size: int) -> bytes:
    coder = brotli.Compressor(quality=3)
    return b"".join(
        [*(coder.process(bytes(MB)) for _ in range(size // MB)), coder.finish()]
    )


def listed(begin: bytes, part: bytes, end: bytes) -> Callable[[], bytes]:
    """Return what makes 60 MB of one part, compressed."""
    return lambda: zstd.compress(begin + part * (60 * MB // len(part)) + end)


REFUSED = (400, 413)
BOMBS = {
    "60 MB of zeros, gzip": Bomb("gzip", lambda: gzipped(60 * MB), REFUSED),
    "60 MB of zeros, deflate": Bomb(
        "deflate", lambda: zlib.compress(bytes(60 * MB)), REFUSED
    ),
    "60 MB of zeros, br": Bomb("br", lambda: brotlied(60 * MB), REFUSED),
    "60 MB of zeros, zstd": Bomb("zstd", lambda: zstandard(60 * MB), REFUSED),
    "500 MB of zeros, gzip": Bomb("gzip", lambda: gzipped(500 * MB), (413,)),
    "2 GB of zeros, zstd": Bomb("zstd", lambda: zstandard(2_000 * MB), (413,)),
    "2 GB of zeros, br": Bomb("br", lambda: brotlied(2_000 * MB), (413,)),
    "twice encoded": Bomb(
        "gzip, gzip", lambda: gzip.compress(gzipped(100 * MB)), (415,)
    ),
    "twice encoded, said once": Bomb(
        "gzip", lambda: gzip.compress(gzipped(100 * MB)), REFUSED
    ),
    "many members": Bomb("gzip", lambda: gzipped(MB) * 2_000, (400, 415)),
    "many frames": Bomb("zstd", lambda: zstandard(MB) * 20_000, (400, 415)),
    "a large window": Bomb(
        "zstd", lambda: b"\x28\xb5\x2f\xfd\x00\xff" + bytes(100), REFUSED
    ),
    "15 MB of arrays": Bomb(
        "identity", lambda: b'{"a":[' + b"[]," * 5 * MB + b"0]}", REFUSED
    ),
    "arrays, zstd": Bomb("zstd", listed(b'{"input":[', b"[],", b"0]}"), REFUSED),
    "items, zstd": Bomb("zstd", listed(b'{"input":[', b"{},", b"{}]}"), REFUSED),
    "tools, zstd": Bomb(
        "zstd", listed(b'{"tools":[', b'{"type":"a"},', b"{}]}"), REFUSED
    ),
    "keys, zstd": Bomb("zstd", listed(b"{", b'"a":0,', b'"b":0}'), REFUSED),
    "depth, zstd": Bomb("zstd", listed(b"", b"[", b""), REFUSED),
    "text, zstd": Bomb(
        "zstd", listed(b'{"model":"gpt-5","input":"', b"x", b'"}'), (200, 413)
    ),
}


@pytest.fixture(scope="module")
def idle(gateway: Process) -> int:
    """Return what the gateway holds before it has done anything."""
    httpx2.get(f"{gateway.url}/livez")
    return gateway.memory("VmRSS")


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_costs_bounded_memory(gateway: Process, idle: int, bomb: Bomb) -> None:
    body = bomb.make()
    gateway.reset_peak()

    begun = time.monotonic()
    with connect(gateway.url, timeout=30) as wire:
        line = f"Content-Encoding: {bomb.coding}"
        answer = wire.say(post(body, line)).answer()
    took = time.monotonic() - begun
    grown = gateway.memory() - idle

    print(f"{len(body)} bytes: +{grown / MB:.0f} MB, {took:.2f} s, {answer.status}")  # noqa: T201 - figures
    assert answer.status in bomb.statuses
    assert grown < PEAK
    assert took < 10


# -- slowness ----------------------------------------------------------------------


def test_a_reader_that_never_reads_costs_bounded_memory(
    gateway: Process, simulator: Simulator
) -> None:
    body = (
        b'{"model":"gpt-5","input":"x","tools":[{"type":"image_generation"}],'
        b'"stream":true,"metadata":{"simulator":"bits=8 images=8 delay_ms=1"}}'
    )
    idle = gateway.memory("VmRSS")
    gateway.reset_peak()

    readers = [Wire(port=int(gateway.url.rpartition(":")[2])) for _ in range(5)]
    for wire in readers:
        wire.say(post(body))
        wire.take(100)
    held = -1
    deadline = time.monotonic() + 10
    while held != (held := simulator.received[-1].sent) and time.monotonic() < deadline:
        time.sleep(0.3)
    grown = gateway.memory() - idle
    for wire in readers:
        wire.reset()

    print(f"5 readers that do not read: +{grown / MB:.0f} MB")  # noqa: T201 - figures
    assert grown < 50 * MB
    assert simulator.received[-1].ended.wait(5)


def test_idle_connections_cost_little(gateway: Process) -> None:
    port = int(gateway.url.rpartition(":")[2])
    idle = gateway.memory("VmRSS")

    many = [socket.create_connection(("127.0.0.1", port)) for _ in range(400)]
    answer = httpx2.get(f"{gateway.url}/livez")
    grown = gateway.memory("VmRSS") - idle
    for each in many:
        each.close()

    assert answer.status_code == 200
    assert grown < 20 * MB


def test_the_log_tells_nothing_went_wrong(gateway: Process) -> None:
    assert b"Traceback" not in Path(gateway.log).read_bytes()
