"""Names: asked for once at a time, and without holding up anybody."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from scripted import Connect, keeping, provider, whole

from imagegate.upstream import names
from imagegate.upstream.client import Origin, UpstreamError, UpstreamRequest
from imagegate.upstream.names import addresses_of

pytestmark = pytest.mark.anyio

SLOW, OTHER = "slow.example", "other.example"


def request(host: str, port: int = 80) -> UpstreamRequest:
    head = [(b"host", host.encode())]
    return UpstreamRequest(
        method="GET", origin=Origin("http", host, port), target=b"/", headers=head
    )


class Names:
    """What answers for names; one of them when it is let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.let = threading.Event()
        self.failure: OSError | None = None

    def __call__(self, host: str, port: int, flags: int = 0) -> Any:
        if flags:
            return socket.getaddrinfo(host, port, flags=flags)
        self.asked.append(host)
        if host == SLOW:
            assert self.let.wait(30)
        if self.failure is not None:
            raise self.failure
        return socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    found = Names()
    monkeypatch.setattr(names, "_look_up", found)
    yield found
    found.let.set()


async def test_a_crowd_asks_for_a_name_once_and_for_another_meanwhile(
    answering: Names, connect: Connect
) -> None:
    async with provider(keeping) as upstream:
        client = connect()
        crowd = [
            asyncio.create_task(client.send(request(SLOW, upstream.port)))
            for _ in range(50)
        ]
        other = await client.send(request(OTHER, upstream.port))
        assert await whole(other) == b"ok"
        assert not any(task.done() for task in crowd)

        answering.let.set()
        for task in crowd:
            assert await whole(await task) == b"ok"

    assert sorted(answering.asked) == [OTHER, SLOW]


async def test_who_asks_later_asks_anew(answering: Names) -> None:
    for _ in range(2):
        assert await addresses_of(OTHER, 1)

    assert answering.asked == [OTHER, OTHER]


async def test_an_address_is_no_name(answering: Names) -> None:
    for address in ("127.0.0.1", "::1"):
        assert await addresses_of(address, 1)

    assert answering.asked == []


async def test_a_name_that_takes_for_ever_is_a_timeout_that_says_so(
    answering: Names, connect: Connect
) -> None:
    with pytest.raises(UpstreamError, match="connect_timeout") as raised:
        await connect(connect_seconds=0.05).send(request(SLOW))

    assert raised.value.cause == "its name has no address in time"
    answering.failure = OSError()


async def test_a_name_without_an_address_is_told_to_all_who_ask(
    answering: Names,
) -> None:
    crowd = [asyncio.create_task(addresses_of(SLOW, 1)) for _ in range(3)]
    await asyncio.sleep(0)
    answering.failure = socket.gaierror(socket.EAI_NONAME, "unknown")
    answering.let.set()

    for task in crowd:
        with pytest.raises(socket.gaierror):
            await task
    assert (SLOW, 1) not in names._asked


async def test_where_no_thread_can_be_had_nobody_waits(
    answering: Names, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    def start(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)

    with pytest.raises(UpstreamError, match="cannot_connect") as raised:
        await connect().send(request(OTHER))

    assert raised.value.cause == "Resource temporarily unavailable"
    assert raised.value.resendable
    assert answering.asked == []


def test_a_loop_that_is_gone_keeps_no_other_from_asking(answering: Names) -> None:
    async def begin() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await addresses_of(SLOW, 1)

    asyncio.run(begin())
    threads = {each for each in threading.enumerate() if SLOW in each.name}
    answering.let.set()
    assert asyncio.run(addresses_of(SLOW, 1))
    for thread in threads:
        thread.join(10)

    assert answering.asked == [SLOW, SLOW]
    assert (SLOW, 1) not in names._asked


HUNG = f"""
import asyncio, threading
from imagegate.upstream import names

def hang(host, port, flags=0):
    if flags:
        raise names.socket.gaierror
    threading.Event().wait()

async def ask():
    async with asyncio.timeout(0.05):
        await names.addresses_of({SLOW!r}, 1)

names._look_up = hang
try:
    asyncio.run(ask())
except TimeoutError:
    print("over")
"""


def test_a_question_without_an_answer_does_not_hold_up_the_end() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HUNG], capture_output=True, timeout=20, check=True
    )

    assert ended.stdout == b"over\n"
