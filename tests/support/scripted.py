"""The two ends of a forwarder: a provider that follows a script, a server's side.

The provider speaks raw bytes over a socket, so that it can misbehave in any way; the
server's side calls an ASGI application as a server would.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from imagegate.upstream.client import Client, Origin, UpstreamAnswer, UpstreamRequest

Headers = Sequence[tuple[bytes, bytes]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
STREAM = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
PATIENCE = 30.0
"""Seconds for what should happen at once: how long a test waits before it fails."""


async def until(true: Callable[[], object]) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - any condition, not an event
            await asyncio.sleep(0.002)


# -- the provider ---------------------------------------------------------------


@dataclass
class Call:
    """One connection to the provider, told by a script what to do."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    provider: Provider

    async def request(self) -> bytes:
        """Read one request: its head, and as much body as the head says."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        whole = head + await self.reader.readexactly(length)
        self.provider.received.append(whole)
        return whole

    async def say(self, data: bytes) -> None:
        if self.writer.is_closing():
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the other side has closed the connection."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while await self.reader.read(65536):
                    pass

    def reset(self) -> None:
        """End the connection as a crash does."""
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


Script = Callable[[Call], Awaitable[None]]


@dataclass
class Provider:
    """What the provider has seen."""

    port: int = 0
    scheme: str = "http"
    received: list[bytes] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    most: int = 0

    @property
    def base(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def origin(self) -> Origin:
        return Origin(self.scheme, "127.0.0.1", self.port)


@contextlib.asynccontextmanager
async def provider(
    script: Script, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Provider]:
    """Serve by a script, which is run for each connection."""
    made = Provider(scheme="https" if tls else "http")
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        made.connections += 1
        made.open += 1
        made.most = max(made.most, made.open)
        try:
            await script(Call(reader, writer, made))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            made.open -= 1
            running.discard(task)
            writer.close()

    sock = socket.create_server(("127.0.0.1", 0))
    # Little is in flight, so that it shows who stands still.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    made.port = sock.getsockname()[1]
    server = await asyncio.start_server(serve, sock=sock, ssl=tls)
    try:
        yield made
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@dataclass
class Deaf(Provider):
    """One whose machine is there and takes next to nothing, as behind a dead link."""

    listening: socket.socket = field(kw_only=True)

    async def hear(self) -> int:
        """Read whatever comes after all, to the end; return how much it was."""
        loop, got = asyncio.get_running_loop(), 0
        self.listening.setblocking(False)  # noqa: FBT003 - its name
        async with asyncio.timeout(PATIENCE):
            taken, _ = await loop.sock_accept(self.listening)
            with taken, contextlib.suppress(ConnectionError):
                while piece := await loop.sock_recv(taken, 65536):
                    got += len(piece)
        return got


@contextlib.contextmanager
def deaf() -> Iterator[Deaf]:
    """Let clients connect, and read nothing of what they say."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield Deaf(port=listening.getsockname()[1], listening=listening)


def saying(*answers: bytes) -> Script:
    """Answer each request of a connection with the next of these, then close it."""

    async def script(call: Call) -> None:
        for answer in answers:
            await call.request()
            await call.say(answer)

    return script


async def keeping(call: Call) -> None:
    """Answer every request on a connection, as a sound server does."""
    while True:
        await call.request()
        await call.say(OK)


async def silent(call: Call) -> None:
    """Take the request, and never answer."""
    await call.request()
    await call.gone()


def pouring(piece: bytes = b"x" * 1000) -> Script:
    """Answer with a stream that does not end, as fast as it is taken."""
    chunk = b"%x\r\n%b\r\n" % (len(piece), piece)

    async def script(call: Call) -> None:
        await call.request()
        await call.say(STREAM)
        while not call.writer.is_closing():
            await call.say(chunk)
            await asyncio.sleep(0)

    return script


# -- the server's side ----------------------------------------------------------


@dataclass
class Asked:
    """One request to an ASGI application, and what has come back so far."""

    method: str = "POST"
    path: str = "/v1/responses"
    raw_path: bytes | None = None
    root_path: str = ""
    query: bytes = b""
    headers: Headers = ()
    body: bytes | None = b"{}"
    more: Sequence[bytes] = ()
    outcome: dict[str, str] = field(default_factory=dict)
    status: int | None = None
    answer_headers: dict[bytes, bytes] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    complete: bool = False
    left: asyncio.Event = field(default_factory=asyncio.Event)
    reading: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.reading.set()
        given = [] if self.body is None else [self.body, *self.more]
        self._given = given

    @property
    def answer(self) -> bytes:
        return b"".join(self.pieces)

    async def of(self, app: Any) -> Asked:
        """Ask an application, until it is done."""
        scope = {
            "type": "http",
            "method": self.method,
            "path": self.path,
            "raw_path": self.path.encode() if self.raw_path is None else self.raw_path,
            "root_path": self.root_path,
            "query_string": self.query,
            "headers": list(self.headers),
            "extensions": {"imagegate.outcome": self.outcome},
        }
        async with asyncio.timeout(PATIENCE):
            await app(scope, self._receive, self._send)
        return self

    async def _receive(self) -> dict[str, Any]:
        if self._given:
            body = self._given.pop(0)
            more = bool(self._given)
            return {"type": "http.request", "body": body, "more_body": more}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.reading.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.answer_headers = dict(message["headers"])
        else:
            self.pieces.append(message["body"])
            self.complete = not message["more_body"]


# -- the client -----------------------------------------------------------------

Connect = Callable[..., Client]
"""Makes a client that is closed when the test is over."""


def asking(
    provider: Provider, body: bytes = b"{}", method: str = "POST"
) -> UpstreamRequest:
    headers = [(b"host", provider.origin.authority)]
    if body:
        headers.append((b"content-length", b"%d" % len(body)))
    return UpstreamRequest(
        method=method,
        origin=provider.origin,
        target=b"/v1/responses",
        headers=headers,
        body=body,
    )


async def whole(answer: UpstreamAnswer) -> bytes:
    """Read an answer to its end, and close it."""
    pieces = []
    try:
        async with asyncio.timeout(PATIENCE):
            while piece := await answer.read():
                pieces.append(piece)
    finally:
        await answer.close()
    return b"".join(pieces)
