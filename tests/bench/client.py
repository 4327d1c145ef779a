"""What asking a provider costs: the fast client against the one on httpcore2.

Run it: `python tests/bench/client.py [--json FILE]`. The provider is a process of its
own, so only the processor time of the clients is counted. Each figure is that of one
exchange, or of one MB. A ratio of 1/20 says that the fast client takes a twentieth.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from imagegate.upstream.client import Client, Origin, UpstreamRequest
from imagegate.upstream.fast.client import FastClient
from imagegate.upstream.httpx2_client import Httpx2Client
from ratio import Measured, compare, main, show

if sys.platform != "win32":
    import uvloop

MEGABYTE = 1024 * 1024
CONCURRENCY = (1, 16, 128, 512)
ROUNDS = 5
_SERVE = "--serve"
_HEADERS = (
    b"date: Sat, 21 Nov 2026 10:00:00 GMT\r\n"
    b"openai-processing-ms: 812\r\nopenai-version: 2020-10-01\r\n"
    b"x-request-id: req_68a1f0c2b4d88190a7d5e3f2b1c0d9e8\r\n"
    b"x-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n"
)


# -- the provider, in a process of its own ------------------------------------------


def plain(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\n" % _HEADERS
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


def stream(*chunks: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\n%bcontent-type: text/event-stream\r\n" % _HEADERS
    said = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in chunks)
    return b"%btransfer-encoding: chunked\r\n\r\n%b0\r\n\r\n" % (head, said)


ANSWERS: Mapping[bytes, bytes] = {
    b"/small": plain(b'{"id":"resp_0","object":"response","output":[]}'.ljust(400)),
    b"/deltas": stream(*[b'data: {"delta":" word"}\n\n'.ljust(230)] * 200),
    b"/images": stream(*[b"data: ".ljust(2 * MEGABYTE, b"A")] * 3),
    b"/answer": plain(b'{"result":"'.ljust(4 * MEGABYTE, b"A")),
}


class Provider(asyncio.Protocol):
    """Answers what the path says, once the whole request has come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.answer = b""
        self.left = 0

    def data_received(self, data: bytes) -> None:
        if not self.left:
            head, _, body = data.partition(b"\r\n\r\n")
            self.answer = ANSWERS[head.split(b" ", 2)[1]]
            length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self.left = int(length) - len(body)
        else:
            self.left -= len(data)
        if not self.left:
            self.transport.write(self.answer)


async def serve(sock: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(Provider, sock=sock)
    await server.serve_forever()


@contextlib.contextmanager
def provider() -> Iterator[Origin]:
    """Run the provider beside this process."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        port = sock.getsockname()[1]
        number = str(sock.fileno())
        process = subprocess.Popen(
            [sys.executable, __file__, _SERVE, number], pass_fds=(sock.fileno(),)
        )
    try:
        yield Origin("http", "127.0.0.1", port)
    finally:
        process.kill()
        process.wait()


# -- the clients ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is asked, by how many at once, how often; and what one of it is."""

    name: str
    path: bytes
    many: int
    times: int
    body: bytes = b'{"model":"gpt-6-astra","input":"a tabby cat"}'.ljust(300)
    unit: float = 1.0


WORK = (
    *[
        Work(name=f"small, {many} at once", path=b"/small", many=many, times=512)
        for many in CONCURRENCY
    ],
    Work(name="200 deltas, 16 at once", path=b"/deltas", many=16, times=64),
    Work(name="images, per MB", path=b"/images", many=8, times=16, unit=6.0),
    Work(name="4 MB answer, per MB", path=b"/answer", many=8, times=16, unit=4.0),
    Work(
        name="10 MB request, per MB",
        path=b"/small",
        many=4,
        times=8,
        body=b"x" * (10 * MEGABYTE),
        unit=10.0,
    ),
)


def asking(origin: Origin, work: Work) -> UpstreamRequest:
    headers = [
        (b"host", origin.authority),
        (b"accept", b"application/json"),
        (b"authorization", b"Bearer sk-0123456789abcdef0123456789abcdef"),
        (b"content-type", b"application/json"),
        (b"user-agent", b"OpenAI/Python 3.52.0"),
        (b"x-stainless-lang", b"python"),
        (b"x-stainless-os", b"Linux"),
        (b"x-stainless-retry-count", b"0"),
        (b"accept-encoding", b"identity"),
        (b"content-length", b"%d" % len(work.body)),
    ]
    return UpstreamRequest(
        method="POST",
        origin=origin,
        target=work.path,
        headers=headers,
        body=work.body,
    )


async def ask(client: Client, request: UpstreamRequest, times: int) -> None:
    for _ in range(times):
        answer = await client.send(request)
        try:
            while await answer.read():
                pass
        finally:
            await answer.close()


async def ask_all(client: Client, request: UpstreamRequest, work: Work) -> None:
    each = work.times // work.many
    await asyncio.gather(*(ask(client, request, each) for _ in range(work.many)))


def measured(loop: asyncio.AbstractEventLoop, origin: Origin, work: Work) -> Measured:
    clients: list[Client] = [FastClient(), Httpx2Client()]
    request = asking(origin, work)
    work_of = [
        lambda client=client: loop.run_until_complete(ask_all(client, request, work))
        for client in clients
    ]
    row = compare(work.name, *work_of, rounds=ROUNDS, clock=time.process_time)
    for client in clients:
        loop.run_until_complete(client.close())
    counted = work.times // work.many * work.many * work.unit
    return replace(
        row,
        ours=row.ours / counted,
        theirs=None if row.theirs is None else row.theirs / counted,
    )


def measure() -> Mapping[str, list[Measured]]:
    """Measure each work with both clients."""
    loop = (
        asyncio.new_event_loop() if sys.platform == "win32" else uvloop.new_event_loop()
    )
    title = "asking a provider"
    with provider() as origin, contextlib.closing(loop):
        rows = [measured(loop, origin, work) for work in WORK]
    show(title, rows, theirs="httpx2")
    return {title: rows}


if __name__ == "__main__":
    if _SERVE in sys.argv:
        uvloop.run(serve(socket.socket(fileno=int(sys.argv[-1]))))
    else:
        os.environ.pop("PYTHONASYNCIODEBUG", None)
        main(measure)
