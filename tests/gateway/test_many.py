"""Many image streams at once, whose clients leave when they like."""

from __future__ import annotations

import asyncio
import collections
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest
from raw import post
from stage import BOUND

from imagegate.simulator import Received, Simulator

Start = Callable[[str], str]
Records = Callable[[], list[dict[str, Any]]]
STREAMS = 100
# Each round leaves a little behind that is kept: the simulator's requests.
GROWTH = 40_000_000
BODY = json.dumps(
    {
        "model": "gpt-5",
        "input": "a cat",
        "tools": [{"type": "image_generation"}],
        "stream": True,
        "store": False,
        "metadata": {"simulator": "bits=3 delay_ms=20"},
    }
).encode()


async def client(port: int, random: Random) -> int:
    """Read a stream, to its end or until one has enough; return how much it was."""
    patience = random.choice([0, 1, 500, 5_000, 200_000, 10**9, 10**9])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(post(BODY))
    got = 0
    while got < patience and (data := await reader.read(1 << 16)):
        got += len(data)
        if data.endswith(b"0\r\n\r\n"):
            break
    if random.random() < 0.5:
        writer.transport.abort()
    writer.close()
    return got


def resident() -> int:
    """Return how many bytes this process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


async def crowd(port: int, seed: int) -> list[int]:
    random = Random(seed)  # noqa: S311 - no secret
    return await asyncio.gather(*(client(port, random) for _ in range(STREAMS)))


def ended(received: list[Received]) -> bool:
    return all(request.ended.is_set() for request in received)


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_each_stream_has_one_completion_and_none_goes_on_unheard(
    gateway: Start, simulator: Simulator, records: Records
) -> None:
    port = urlsplit(gateway("standard")).port
    assert port is not None
    simulator.received.clear()
    held = []
    for seed in range(3):
        asyncio.run(crowd(port, seed))
        until(lambda: ended(list(simulator.received)))
        held.append(resident())

    decided = [r for r in records() if r["event"] == "imagegate.request_rewritten"]

    def completions() -> collections.Counter[str]:
        return collections.Counter(
            record["decision_id"]
            for record in records()
            if record["event"] == "imagegate.exchange_finished"
        )

    until(lambda: len(completions()) >= len(decided))
    # Who left before its request was whole was not decided about.
    assert 2 * STREAMS < len(decided) <= 3 * STREAMS
    assert set(completions().values()) == {1}
    assert {each.outcome for each in simulator.received} == {"finished", "left"}
    assert held[2] - held[1] < GROWTH


@pytest.mark.parametrize("leave", ["before the head", "within the image"])
def test_leaving_ends_the_call_within_a_second(
    gateway: Start, simulator: Simulator, leave: str
) -> None:
    orders = {"before the head": "head_delay_ms=30000", "within the image": "hang=9000"}
    body = BODY.replace(b"bits=3 delay_ms=20", orders[leave].encode())
    port = urlsplit(gateway("standard")).port
    before = len(simulator.received)

    async def leaving() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(body))
        await asyncio.to_thread(until, lambda: len(simulator.received) > before)
        writer.close()

    asyncio.run(leaving())

    assert simulator.received[-1].ended.wait(1)
    assert simulator.received[-1].outcome == "left"
