"""What the fast client owes beyond what any client does: turns, room, no leaks."""

from __future__ import annotations

import asyncio
import random
import weakref
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from scripted import (
    OK,
    STREAM,
    Call,
    asking,
    keeping,
    provider,
    saying,
    silent,
    until,
    whole,
)

from imagegate.upstream.client import UpstreamError, UpstreamRequest
from imagegate.upstream.fast.client import FastAnswer, FastClient
from imagegate.upstream.fast.connection import READ, Buffer, Connection
from imagegate.upstream.fast.reading import Reading

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client() -> AsyncIterator[FastClient]:
    made = FastClient(connections=3, pool_seconds=30.0)
    yield made
    await made.close()


async def test_who_waits_longest_is_served_first(client: FastClient) -> None:
    order: list[int] = []

    async def ask(number: int) -> None:
        body = b'{"number":%03d}' % number
        answer = await client.send(asking(upstream, body))
        order.append(number)
        assert await whole(answer) == b"ok"

    async with provider(keeping) as upstream:
        await asyncio.gather(*[ask(-1) for _ in range(3)])  # connecting has no order
        order.clear()
        tasks = []
        for number in range(60):
            tasks.append(asyncio.create_task(ask(number)))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    # Three are under way at once, and may overtake each other by that much.
    assert all(abs(place - number) <= 3 for place, number in enumerate(order)), order
    assert upstream.connections == 3


async def test_many_who_leave_anywhere_leave_nothing_behind(client: FastClient) -> None:
    chance = random.Random(7)  # noqa: S311 - no secret

    async def script(call: Call) -> None:
        while True:
            await call.request()
            await call.say(STREAM + b"2\r\nno\r\n")
            await asyncio.sleep(chance.random() / 500)
            await call.say(b"2\r\nok\r\n0\r\n\r\n")

    async def ask() -> None:
        body = b"x" * chance.choice([2, 2, 300_000])
        assert await whole(await client.send(asking(upstream, body))) == b"nook"

    async with provider(script) as upstream:
        for _ in range(40):
            tasks = [asyncio.create_task(ask()) for _ in range(12)]
            for task in chance.sample(tasks, 8):
                await asyncio.sleep(chance.random() / 1000)
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(each) for each in done} <= {
                type(None),
                asyncio.CancelledError,
            }
        await until(lambda: upstream.open <= 3)
        [pool] = client._pools.values()
        assert pool._slots == len(pool._all) == len(pool._resting) <= 3
        assert not pool._waiting
        await asyncio.gather(*[ask() for _ in range(9)])


async def test_many_small_chunks_are_one_piece(client: FastClient) -> None:
    chunks = b"".join(b"4\r\n%03d;\r\n" % number for number in range(200))

    async def script(call: Call) -> None:
        await call.request()
        await call.say(STREAM)
        await call.say(chunks + b"0\r\n\r\n")

    async with provider(script) as upstream:
        answer = await client.send(asking(upstream))
        pieces = []
        while piece := await answer.read():
            pieces.append(piece)
        await answer.close()

    assert b"".join(pieces) == b"".join(b"%03d;" % number for number in range(200))
    assert len(pieces) <= 2


@pytest.mark.parametrize("said", [OK, STREAM + b"2\r\nok\r\n0\r\n\r\n"])
async def test_the_last_piece_is_known_to_be_the_last(
    client: FastClient, said: bytes
) -> None:
    async with provider(saying(said)) as upstream:
        answer = await client.send(asking(upstream))
        ended = [answer.ended]
        assert await answer.read() == b"ok"
        ended.append(answer.ended)
        await answer.close()

    assert ended == [False, True]


async def test_an_answer_without_a_body_has_ended_with_its_head(
    client: FastClient,
) -> None:
    async with provider(saying(OK)) as upstream:
        answer = await client.send(asking(upstream, b"", "HEAD"))
        assert answer.ended
        assert await whole(answer) == b""


async def test_a_connection_that_stood_still_reads_again(client: FastClient) -> None:
    body = b"x" * 3_000_000
    said = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)

    async def script(call: Call) -> None:
        while True:
            await call.request()
            await call.say(said + body)

    async with provider(script) as upstream:
        for _ in range(3):
            answer = await client.send(asking(upstream))
            await asyncio.sleep(0.02)  # it fills up, and reading stops
            assert await whole(answer) == body

    assert upstream.connections == 1


async def test_a_body_in_pieces_is_sent_in_order(client: FastClient) -> None:
    pieces: list[bytes | memoryview]
    pieces = [b"{", memoryview(b"a" * 700_000), b"", b"b" * 10, b"c" * 70_000, b"}"]
    whole_body = b"".join(pieces)

    async with provider(keeping) as upstream:
        request = asking(upstream, whole_body)
        sent = UpstreamRequest(
            method=request.method,
            origin=request.origin,
            target=request.target,
            headers=request.headers,
            body=pieces,
        )
        assert await whole(await client.send(sent)) == b"ok"

    assert upstream.received[0].endswith(b"\r\n\r\n" + whole_body)


async def test_a_body_that_was_sent_is_not_held(client: FastClient) -> None:
    def sending() -> tuple[weakref.ref[memoryview], asyncio.Task[Any]]:
        view = memoryview(b"x" * 300_000)
        usual = asking(upstream, view.tobytes())
        request = UpstreamRequest(
            method=usual.method,
            origin=usual.origin,
            target=usual.target,
            headers=usual.headers,
            body=[view],
        )
        return weakref.ref(view), asyncio.create_task(client.send(request))

    async with provider(silent) as upstream:
        kept, task = sending()
        await until(lambda: upstream.received)
        assert kept() is None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_closed_client_asks_nobody(client: FastClient) -> None:
    async with provider(silent) as upstream:
        held = [asyncio.create_task(client.send(asking(upstream))) for _ in range(5)]
        await until(lambda: len(upstream.received) == 3)
        await client.close()
        ended: list[Any] = await asyncio.gather(*held, return_exceptions=True)
        with pytest.raises(UpstreamError):
            await client.send(asking(upstream))
        await until(lambda: upstream.open == 0)

    assert {type(each) for each in ended} == {UpstreamError}
    assert len(upstream.received) == 3


class Transport:
    """Notes whether it is to be read from."""

    _reads = True

    def is_reading(self) -> bool:
        return self._reads

    def pause_reading(self) -> None:
        self._reads = False

    def resume_reading(self) -> None:
        self._reads = True

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self._reads = False


class Keeps:
    """Where a connection belongs that is used once."""

    def rest(self, connection: Connection) -> None:
        """Take a connection back."""

    def lost(self, connection: Connection) -> None:
        """Take word that it is no more."""


class Line:
    """A connection over which a test says what comes."""

    def __init__(self) -> None:
        self.buffer = Buffer()
        self.transport = Transport()
        self.connection = Connection(Keeps(), self.buffer)
        self.connection.connection_made(cast("Any", self.transport))
        self.reading = Reading()
        self.connection.begin(self.reading)
        self.bring(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n")
        self.answer = FastAnswer(self.connection, self.reading)
        self.taken: list[int] = []
        self.after: list[int] = []

    async def take(self, pieces: int = 100) -> None:
        for _ in range(pieces):
            self.taken.append(len(await self.answer.read()))

    def bring(self, data: bytes) -> None:
        self.buffer.view[: len(data)] = data
        self.connection.buffer_updated(len(data))

    def bring_and_note(self, data: bytes) -> None:
        """Bring as a loop does, and note how much was taken before it went on."""
        self.bring(data)
        self.after.append(len(self.taken))


async def test_more_of_a_large_answer_is_taken_before_anything_else_is_read() -> None:
    line = Line()
    task = asyncio.create_task(line.take())
    await asyncio.sleep(0)
    line.bring(b"x" * READ)
    await until(lambda: line.taken)  # the first of them wakes in its turn

    for _ in range(3):
        asyncio.get_running_loop().call_soon(line.bring_and_note, b"x" * READ)
    await until(lambda: len(line.after) == 3)

    assert line.taken == [READ] * 4
    assert line.after == [2, 3, 4]
    assert line.transport.is_reading()
    task.cancel()


@pytest.mark.parametrize("taken", [0, 1, 2])
async def test_of_a_large_answer_nothing_is_read_that_nobody_asks_for(
    taken: int,
) -> None:
    line = Line()
    task = asyncio.create_task(line.take(taken))
    await asyncio.sleep(0)

    for _ in range(max(1, taken)):
        assert line.transport.is_reading()
        line.bring(b"x" * READ)
        await asyncio.sleep(0.001)

    await task
    assert not line.transport.is_reading()
    assert line.reading.held == (0 if taken else READ)
    task = asyncio.create_task(line.take(2))
    await asyncio.sleep(0)
    assert line.transport.is_reading()
    task.cancel()


async def test_what_comes_while_the_answer_waits_elsewhere_is_read_when_it_asks() -> (
    None
):
    line, elsewhere = Line(), asyncio.Event()

    async def take() -> None:
        for _ in range(2):
            await line.take(1)
        await elsewhere.wait()  # as for a record, or for a client that is slow
        await line.take(2)

    task = asyncio.create_task(take())
    for taken in (1, 2):
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(line.bring, b"x" * READ)
        await until(lambda taken=taken: len(line.taken) == taken)  # type: ignore[misc]
    assert not line.transport.is_reading()
    assert not line.reading.held  # what was taken is all there is to hold

    elsewhere.set()
    await until(line.transport.is_reading)
    line.bring(b"x" * READ)
    await until(lambda: len(line.taken) == 3)
    await until(line.transport.is_reading)
    task.cancel()
