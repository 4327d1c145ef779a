"""Bodies that are read past the parser, over raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from raw import Answer, Wire
from stage import Certificates, certify

from imagegate.server.guard import HeadLimits, guarded

SIZE = 3_000_000
DATA = bytes(index % 251 for index in range(251)) * (SIZE // 251 + 1)
DATA = DATA[:SIZE]
ROOM = 1_000_000


def post(path: str, *, size: int = SIZE, more: bytes = b"") -> bytes:
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%b\r\n"
    return head % (path.encode(), size, more)


class App:
    """Has a body filled in, as the path says, and tells what came."""

    def __init__(self) -> None:
        self.waits = threading.Event()
        self.ended = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        fill = scope["extensions"]["imagegate.fill"]
        do = getattr(self, "_" + scope["path"][1:])
        await do(fill, receive, send)

    async def _take(self, fill: Any, receive: Any, send: Any) -> None:
        """Take what `receive` gives first, and have all else filled in."""
        first = await receive()
        body, more = bytearray(first["body"]), first["more_body"]
        pieces: list[int] = []
        while more:
            room = memoryview(bytearray(ROOM))
            size = await fill(room, pieces.append)
            body += room[:size]
            if size < ROOM:
                message = await receive()
                if message["type"] == "http.disconnect":
                    self.ended.set()
                    return
                body += message["body"]
                more = message["more_body"]
        rest = await fill(memoryview(bytearray(9)), pieces.append)
        same = body == DATA[: len(body)]
        told = {"size": len(body), "same": same, "filled": sum(pieces), "rest": rest}
        await answer(send, told)

    async def _first(self, fill: Any, receive: Any, send: Any) -> None:
        """Ask for the body before `receive` is."""
        early = await fill(memoryview(bytearray(ROOM)), lambda _: None)
        message = await receive()
        await answer(send, {"early": early, "size": len(message["body"])})

    async def _late(self, fill: Any, receive: Any, send: Any) -> None:
        """Let more come than was asked for, and then have it filled in."""
        size = len((await receive())["body"])
        self.waits.set()
        while not fill.__self__.cycle.body:  # noqa: ASYNC110 - nobody else knows
            await asyncio.sleep(0.01)
        early = await fill(memoryview(bytearray(1)), print)
        size += len((await receive())["body"])
        await answer(send, {"early": early, "size": size})

    async def _give_up(self, fill: Any, receive: Any, send: Any) -> None:
        """Wait for more than comes, and then no longer."""
        size = len((await receive())["body"])
        filled = await self._begin(fill)
        await answer(send, {"size": size, "filled": filled}, 408)

    async def _again(self, fill: Any, receive: Any, send: Any) -> None:
        """Give up, and then try once more."""
        size = len((await receive())["body"])
        filled = await self._begin(fill)
        self.ended.set()
        rest = await fill(memoryview(bytearray(ROOM)), print)
        await answer(send, {"size": size, "filled": filled, "rest": rest})

    async def _begin(self, fill: Any) -> int:
        """Have something filled in, and give up when anything has come."""
        come = asyncio.get_running_loop().create_future()
        room = memoryview(bytearray(ROOM))
        filling = asyncio.ensure_future(fill(room, come.set_result))
        await asyncio.sleep(0)
        self.waits.set()
        size: int = await come
        filling.cancel()
        await asyncio.wait([filling])
        return size


async def answer(send: Any, said: object, status: int = 200) -> None:
    body = json.dumps(said).encode()
    head = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def serving(app: App, loop: str, certificates: Certificates | None) -> Iterator[int]:
    config = uvicorn.Config(
        app,
        http=guarded(HeadLimits()),
        loop=loop,
        lifespan="off",
        log_level="critical",
        ssl_certfile=certificates.server if certificates else None,
        ssl_keyfile=certificates.key if certificates else None,
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def app() -> App:
    return App()


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def port(app: App, request: pytest.FixtureRequest) -> Iterator[int]:
    with serving(app, request.param, None) as port:
        yield port


def whole(answer: Answer, size: int = SIZE) -> bool:
    said = answer.json()
    return bool(said["size"] == size and said["same"] and said["rest"] == 0)


def test_the_rest_of_a_body_is_filled_in(port: int) -> None:
    with Wire(port=port) as wire:
        answer = wire.say(post("/take") + DATA[:9], DATA[9:]).answer()

    assert whole(answer)
    assert answer.json()["filled"] > SIZE - 1_000_000


def test_a_connection_goes_on_behind_it(port: int) -> None:
    with Wire(port=port) as wire:
        for size in (SIZE, 10, ROOM, SIZE):
            answer = wire.say(post("/take", size=size) + DATA[:size]).answer()
            assert whole(answer, size)


def test_what_follows_a_body_is_left_for_the_parser(port: int) -> None:
    two = post("/take") + DATA + post("/take", size=3) + b"\x00\x01\x02"

    with Wire(port=port) as wire:
        wire.say(two[:9], two[9:])
        first, second = wire.answer(), wire.answer()

    assert whole(first)
    assert whole(second, 3)


def test_a_last_request_is_the_last(port: int) -> None:
    with Wire(port=port) as wire:
        wire.say(post("/take", more=b"Connection: close\r\n") + DATA)
        answer = wire.answer()
        assert wire.rest() == b""

    assert whole(answer)


def test_bodies_in_chunks_are_left_to_receive(port: int) -> None:
    head = b"POST /take HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

    with Wire(port=port) as wire:
        wire.say(head + b"3\r\n\x00\x01\x02\r\n")
        answer = wire.say(b"2\r\n\x03\x04\r\n0\r\n\r\n").answer()

    assert answer.json() == {"size": 5, "same": True, "filled": 0, "rest": 0}


def test_a_client_that_waits_for_100_is_not_kept_waiting(port: int) -> None:
    expect = b"Expect: 100-continue\r\n"

    with Wire(port=port) as wire:
        assert wire.say(post("/take", more=expect)).line() == b"HTTP/1.1 100 Continue"
        wire.line()
        answer = wire.say(DATA[:5], DATA[5:]).answer()

    assert whole(answer)


def test_who_has_not_asked_for_a_body_gets_nothing_filled_in(port: int) -> None:
    expect = b"Expect: 100-continue\r\n"

    with Wire(port=port) as wire:
        wire.say(post("/first", size=5, more=expect))
        assert wire.line() == b"HTTP/1.1 100 Continue"
        wire.line()
        answer = wire.say(b"hello").answer()

    assert answer.json() == {"early": 0, "size": 5}


def test_what_has_come_meanwhile_is_for_receive(app: App, port: int) -> None:
    app.waits.clear()

    with Wire(port=port) as wire:
        wire.say(post("/late", size=4) + b"ab")
        assert app.waits.wait(5)
        answer = wire.say(b"cd").answer()

    assert answer.json() == {"early": 0, "size": 4}


@pytest.mark.parametrize("leave", [Wire.reset, Wire.half_close])
def test_a_client_that_leaves_is_told_of(
    app: App, port: int, leave: Callable[[Wire], object]
) -> None:
    app.ended.clear()
    with Wire(port=port) as wire:
        wire.say(post("/take") + DATA[:1000], DATA[1000:2_000_000])
        leave(wire)

        assert app.ended.wait(5)


def test_who_gives_up_answers_and_ends_the_connection(app: App, port: int) -> None:
    app.waits.clear()
    request = post("/take", size=0)

    with Wire(port=port) as wire:
        wire.say(post("/give_up") + DATA[:1000])
        assert app.waits.wait(5)
        answer = wire.say(DATA[1000:2000]).answer()
        wire.say_what_is_taken(request * 1000)
        rest = wire.rest()

    assert (answer.status, answer.header("connection")) == (408, "close")
    assert answer.json() == {"size": 1000, "filled": 1000}
    assert rest == b""


def test_who_gives_up_may_begin_again(app: App, port: int) -> None:
    app.waits.clear()
    app.ended.clear()

    with Wire(port=port) as wire:
        wire.say(post("/again", size=10) + DATA[:2])
        assert app.waits.wait(5)
        wire.say(DATA[2:4])
        assert app.ended.wait(5)
        answer = wire.say(DATA[4:10]).answer()

    assert answer.json() == {"size": 2, "filled": 2, "rest": 6}


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_what_is_encrypted_is_filled_in_too(
    app: App, loop: str, tmp_path: Path
) -> None:
    certificates = certify(tmp_path)
    context = ssl.create_default_context(cafile=certificates.authority)
    said = b""

    with (
        serving(app, loop, certificates) as port,
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wire,
    ):
        for more in (b"", b"Connection: close\r\n"):
            wire.sendall(post("/take", more=more) + DATA[:9])
            wire.sendall(DATA[9:])
        while piece := wire.recv(9999):
            said += piece

    assert said.count(b'"size": 3000000, "same": true') == 2
