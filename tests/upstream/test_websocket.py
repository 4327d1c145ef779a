"""WebSockets through the forwarder, with a provider on the other side."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from stage import Certificates, certify
from starlette.types import Message, Scope
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from imagegate.upstream.credentials import Injected
from imagegate.upstream.forwarder import Deadlines, Forwarder, Upstream
from imagegate.upstream.sockets import SocketClient, Sockets

pytestmark = pytest.mark.anyio
BOUND = 15.0
"""Seconds for what comes at once, on a machine that others use as well."""
_LONG = 30_000_000
OFFERED: dict[str, Any] = {"websocket.http.response": {}}
Handler = Callable[[ServerConnection], Awaitable[None]]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certify(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls_server(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.key)
    return context


@contextlib.asynccontextmanager
async def provider(handler: Handler, **options: Any) -> AsyncIterator[Server]:
    """Serve; what it does is ended when a test fails, for it may wait for the test."""
    options = {"compression": None, "max_size": None, "close_timeout": 1, **options}
    handling: list[asyncio.Task[Any] | None] = []

    async def handle(connection: ServerConnection) -> None:
        handling.append(asyncio.current_task())
        await handler(connection)

    async with serve(handle, "127.0.0.1", 0, **options) as server:
        try:
            yield server
        except BaseException:
            for task in filter(None, handling):
                task.cancel()
            raise


def base(server: Server, scheme: str = "http") -> str:
    host = "localhost" if scheme == "https" else "127.0.0.1"
    return f"{scheme}://{host}:{next(iter(server.sockets)).getsockname()[1]}"


class Client:
    """The server's side of one WebSocket, and a client behind it."""

    def __init__(self, app: Forwarder, **scope: Any) -> None:
        self.app = app
        self.scope: Scope = {
            "type": "websocket",
            "path": "/v1/responses",
            "raw_path": b"/v1/responses",
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer k")],
            "extensions": {**OFFERED, "imagegate.outcome": {}},
            **scope,
        }
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: asyncio.Queue[Message] = asyncio.Queue()
        self.reading = asyncio.Event()
        self.reading.set()
        self.incoming.put_nowait({"type": "websocket.connect"})

    async def send(self, message: Message) -> None:
        await self.reading.wait()
        self.sent.put_nowait(message)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.app(self.scope, self.incoming.get, self.send))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})

    def say(self, **said: Any) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", **said})

    def leave(self) -> None:
        self.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def next(self) -> Message:
        async with asyncio.timeout(BOUND):
            return await self.sent.get()

    async def run(self) -> list[Message]:
        """Run to the end, and return all that was sent."""
        async with self.running() as task, asyncio.timeout(BOUND):
            await task
        return [self.sent.get_nowait() for _ in range(self.sent.qsize())]

    @property
    def ended(self) -> str | None:
        found: str | None = self.scope["extensions"]["imagegate.outcome"].get("ended")
        return found


def forwarder(
    url: str, options: Sockets | None = None, total: float = 60.0, **upstream: Any
) -> Forwarder:
    return Forwarder(
        None,  # type: ignore[arg-type] # for HTTP only
        Upstream(name="p", base=url, **upstream),
        deadlines=Deadlines(total=total),
        sockets=SocketClient(options),
    )


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def test_messages_pass_as_they_are_in_both_directions() -> None:
    async with provider(echo) as server:
        client = Client(forwarder(base(server)))
        async with client.running() as task:
            accepted = await client.next()
            client.say(text="ü" * 70_000)
            client.say(bytes=b"\x00\xff", text=None)
            first, second = await client.next(), await client.next()
            client.leave()
            async with asyncio.timeout(BOUND):
                await task

    assert accepted["type"] == "websocket.accept"
    assert first == {"type": "websocket.send", "text": "ü" * 70_000}
    assert second == {"type": "websocket.send", "bytes": b"\x00\xff"}


async def test_an_image_of_45_mb_passes() -> None:
    async def sending(connection: ServerConnection) -> None:
        await connection.send("A" * 45_000_000)
        await connection.wait_closed()

    async with provider(sending) as server:
        client = Client(forwarder(base(server)))
        async with client.running():
            await client.next()
            message = await client.next()
            client.leave()

    assert len(message["text"]) == 45_000_000


async def test_the_handshake_has_what_a_request_has() -> None:
    seen: list[Request] = []

    async def noting(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append(connection.request)
        await connection.close()

    headers = [
        (b"authorization", b"Bearer clients"),
        (b"user-agent", b"SDK"),
        (b"cookie", b"c"),
        (b"x-forwarded-for", b"1.2.3.4"),
        (b"sec-websocket-extensions", b"permessage-deflate"),
        (b"sec-websocket-protocol", b"openai-insecure-api-key.k"),
        (b"x_twin", b"1"),
        (b"X-Our-User", b"anna"),
        (b"openai-project", b"theirs"),
    ]
    async with provider(noting, compression="deflate") as server:
        app = forwarder(
            base(server) + "/below",
            credential=Injected("authorization", "ours"),
            withheld=frozenset([b"x-our-user"]),
        )
        await Client(app, headers=headers, query_string=b"beta=true").run()

    (request,) = seen
    found = {key.lower(): value for key, value in request.headers.raw_items()}
    assert request.path == "/below/v1/responses?beta=true"
    assert found["authorization"] == "Bearer ours"
    assert found["user-agent"] == "SDK"
    assert found["accept-encoding"] == "identity"
    assert not found.keys() & {
        *("cookie", "x-forwarded-for", "x_twin", "x-our-user", "openai-project"),
        *("sec-websocket-extensions", "sec-websocket-protocol"),
    }


async def test_what_comes_with_the_handshake_is_relayed() -> None:
    def head(_: ServerConnection, __: Request, answer: Response) -> Response:
        answer.headers["x-request-id"] = "req_1"
        answer.headers["apim-request-id"] = "caf\xe9"
        answer.headers["Set-Cookie"] = "a=b"
        answer.headers["Alt-Svc"] = 'h3=":443"'
        return answer

    async with provider(echo, process_response=head) as server:
        client = Client(forwarder(base(server)))
        async with client.running():
            accepted = await client.next()

    names = {name for name, _ in accepted["headers"]}
    assert (b"x-request-id", b"req_1") in accepted["headers"]
    assert names == {b"date", b"server", b"x-request-id", b"apim-request-id"}


@pytest.mark.parametrize("status", [401, 403, 426, 301, 307, 503, 200])
async def test_a_denial_is_relayed_and_no_redirect_is_followed(status: int) -> None:
    asked: list[str] = []

    def deny(connection: ServerConnection, request: Request) -> Response:
        asked.append(request.path)
        answer = connection.respond(status, '{"error":{}}')
        answer.headers["Location"] = "/elsewhere"
        answer.headers["x-request-id"] = "r"
        return answer

    async with provider(echo, process_request=deny) as server:
        client = Client(forwarder(base(server)))
        start, body = await client.run()

    headers = dict(start["headers"])
    assert start["status"] == status
    assert body["body"] == b'{"error":{}}'
    assert headers[b"x-request-id"] == b"r"
    assert headers[b"content-length"] == b"12"
    assert b"location" not in headers
    assert asked == ["/v1/responses"]
    assert client.ended is None


async def test_a_denial_where_the_server_cannot_say_it() -> None:
    def deny(connection: ServerConnection, _: Request) -> Response:
        return connection.respond(401, "")

    async with provider(echo, process_request=deny) as server:
        client = Client(forwarder(base(server)), extensions={})
        sent = await client.run()

    assert sent == [{"type": "websocket.close", "code": 1011}]


async def test_a_provider_that_is_not_there() -> None:
    client = Client(forwarder("http://127.0.0.1:9"))

    start, body = await client.run()

    assert start["status"] == 502
    assert b"cannot_connect" in body["body"]
    assert client.ended == "upstream_error"


async def test_a_provider_that_does_not_answer() -> None:
    async def silent(reader: asyncio.StreamReader, writer: Any) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = Client(forwarder(url, Sockets(open_seconds=0.1)))
        start, _ = await client.run()

    assert start["status"] == 504
    assert client.ended == "timeout"


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 101 Switching\r\n\r\n", b"nonsense\r\n\r\n"]
)
async def test_a_provider_that_answers_nonsense(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = Client(forwarder(url))
        start, _ = await client.run()

    assert start["status"] == 502


async def test_a_header_that_the_library_would_spell_anew_is_refused() -> None:
    client = Client(forwarder("http://127.0.0.1:9"), headers=[(b"x-a", b"\xe9")])

    start, _ = await client.run()

    assert start["status"] == 400


@pytest.mark.parametrize(
    ("code", "told", "ended"),
    [
        (1000, 1000, None),
        (1001, 1001, None),
        (1008, 1008, "upstream_error"),
        (1011, 1011, "upstream_error"),
        (4000, 4000, "upstream_error"),
    ],
)
async def test_the_code_of_the_provider_is_relayed_behind_its_last_words(
    code: int, told: int, ended: str | None
) -> None:
    async def closing(connection: ServerConnection) -> None:
        for number in range(20):
            await connection.send(str(number))
        await connection.close(code, "why")

    async with provider(closing) as server:
        client = Client(forwarder(base(server)))
        sent = await client.run()

    assert [each["text"] for each in sent[1:-1]] == [str(n) for n in range(20)]
    assert sent[-1] == {"type": "websocket.close", "code": told, "reason": "why"}
    assert client.ended == ended


async def test_a_provider_that_dies() -> None:
    async def dying(connection: ServerConnection) -> None:
        await connection.send("a")
        connection.transport.abort()

    async with provider(dying) as server:
        client = Client(forwarder(base(server)))
        sent = await client.run()

    assert sent[-1]["code"] == 1011
    assert client.ended == "upstream_error"


async def test_a_message_beyond_the_limit_ends_it() -> None:
    async def sending(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await connection.send("A" * 2_000)
            await connection.wait_closed()

    async with provider(sending) as server:
        client = Client(forwarder(base(server), Sockets(message=1_000)))
        sent = await client.run()

    assert sent[-1]["code"] == 1009


async def test_a_client_that_leaves_closes_the_provider_at_once() -> None:
    closed = asyncio.Event()

    async def waiting(connection: ServerConnection) -> None:
        await connection.wait_closed()
        closed.set()

    async with provider(waiting) as server:
        client = Client(forwarder(base(server)))
        async with client.running() as task:
            await client.next()
            client.leave()
            async with asyncio.timeout(BOUND):  # no ping is due before
                await closed.wait()
                await task


async def test_a_client_that_leaves_before_there_is_a_connection() -> None:
    async def silent(reader: asyncio.StreamReader, writer: Any) -> None:
        await reader.read()
        gone.set()
        writer.close()

    gone = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = Client(forwarder(url))
        client.leave()
        assert await client.run() == []
    client = Client(forwarder("http://127.0.0.1:9"))
    client.incoming.get_nowait()
    client.leave()
    assert await client.run() == []


async def test_cancelled_while_it_opens_it_leaves_nothing_behind() -> None:
    async def silent(reader: asyncio.StreamReader, writer: Any) -> None:
        came.set()
        await reader.read()
        gone.set()
        writer.close()

    came, gone = asyncio.Event(), asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with Client(forwarder(url)).running() as task, asyncio.timeout(BOUND):
            await came.wait()
            await asyncio.sleep(0.05)
            task.cancel()
            await gone.wait()


async def test_cancelled_while_it_relays_it_closes() -> None:
    closed = asyncio.Event()

    async def waiting(connection: ServerConnection) -> None:
        await connection.wait_closed()
        closed.set()

    async with provider(waiting) as server:
        client = Client(forwarder(base(server)))
        async with client.running() as task, asyncio.timeout(BOUND):
            await client.next()
            task.cancel()
            await closed.wait()


async def test_a_provider_that_does_not_answer_pings_is_given_up() -> None:
    done = asyncio.Event()

    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await done.wait()
        connection.transport.abort()

    options = Sockets(ping_seconds=0.05, pong_seconds=0.05, close_seconds=0.1)
    async with provider(deaf, ping_interval=None) as server:
        client = Client(forwarder(base(server), options))
        sent = await client.run()
        done.set()

    assert sent[-1]["code"] == 1011
    assert client.ended == "timeout"


async def test_a_provider_that_takes_no_byte_more_is_given_up() -> None:
    """No ping can be sent to it either, behind what it does not take."""
    done = asyncio.Event()

    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await done.wait()
        connection.transport.abort()

    options = Sockets(ping_seconds=0.1, pong_seconds=0.1, close_seconds=0.1)
    async with provider(deaf, ping_interval=None) as server:
        client = Client(forwarder(base(server), options))
        client.say(text="A" * 20_000_000)
        sent = await client.run()
        done.set()

    assert sent[-1]["code"] == 1011
    assert client.ended == "timeout"


async def test_what_was_not_taken_when_it_is_given_up_nobody_gets() -> None:
    """What is asked of a provider behind a break would be made for nobody.

    Nor is it asked to agree that it is over, and gets it meanwhile.
    """
    done, heard = asyncio.Event(), asyncio.Event()
    got: list[int] = []

    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await done.wait()
        connection.transport.resume_reading()
        with contextlib.suppress(ConnectionClosed):
            got.append(len(await connection.recv()))
        heard.set()

    options = Sockets(ping_seconds=0.1, pong_seconds=0.1, close_seconds=60.0)
    async with provider(deaf, ping_interval=None) as server:
        client = Client(forwarder(base(server), options))
        client.say(text="A" * 1_000_000)
        await client.run()
        await asyncio.sleep(0.05)  # a loop closes in its next rounds
        done.set()
        async with asyncio.timeout(BOUND):
            await heard.wait()

    assert not got


async def test_a_provider_that_takes_a_long_message_slowly_keeps_it() -> None:
    """It has no ping to answer as long as that is stuck behind the message."""
    whole = asyncio.Event()

    async def slow(connection: ServerConnection) -> None:
        told = asyncio.ensure_future(connection.recv())
        while not told.done():
            connection.transport.pause_reading()
            await asyncio.sleep(0.1)
            connection.transport.resume_reading()
            await asyncio.wait({told}, timeout=0.001)
        assert len(await told) == _LONG
        whole.set()
        await connection.wait_closed()

    options = Sockets(ping_seconds=0.05, pong_seconds=1.0)
    async with provider(slow, ping_interval=None) as server:
        client = Client(forwarder(base(server), options))
        client.say(text="A" * _LONG)
        async with client.running(), asyncio.timeout(2 * BOUND):
            await client.next()
            await whole.wait()
            client.leave()

    assert client.sent.empty()


async def test_a_slow_client_does_not_cost_the_connection() -> None:
    """While it takes its time nobody hears that the provider is there."""

    async def sending(connection: ServerConnection) -> None:
        for _ in range(5):
            await connection.send("A" * 1_000_000)
        await connection.wait_closed()

    options = Sockets(ping_seconds=0.02, pong_seconds=0.02)
    async with provider(sending) as server:
        client = Client(forwarder(base(server), options))
        async with client.running():
            await client.next()
            client.reading.clear()
            await asyncio.sleep(0.3)
            client.reading.set()
            sent = [await client.next() for _ in range(5)]
            client.leave()

    assert {len(each.get("text", "")) for each in sent} == {1_000_000}


async def test_no_connection_is_for_ever() -> None:
    async with provider(echo) as server:
        sent = await Client(forwarder(base(server), total=0.1)).run()

    assert sent[-1]["code"] == 1001


async def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with provider(echo) as server:
        client = Client(forwarder(base(server)))
        client.leave()
        await client.run()
        client = Client(forwarder(base(server)))
        async with client.running():
            assert (await client.next())["type"] == "websocket.accept"
            client.leave()


async def test_nothing_that_is_said_reaches_a_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(0)
    async with provider(echo, logger=None) as server:
        client = Client(forwarder(base(server)))
        async with client.running():
            await client.next()
            client.say(text="CANARY77")
            await client.next()
            client.leave()

    mine = [each for each in caplog.records if "websockets.server" not in each.name]
    assert not [each for each in mine if "CANARY77" in each.getMessage()]
    assert not [each for each in mine if "Bearer" in each.getMessage()]


async def test_failures_of_the_server_are_its_own() -> None:
    async def fail() -> Message:
        raise ZeroDivisionError

    async with provider(echo) as server:
        app = forwarder(base(server))
        given: list[Message] = [{"type": "websocket.connect"}]

        async def receive() -> Message:
            return given.pop() if given else await fail()

        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        with pytest.raises(ZeroDivisionError):
            await app(Client(app).scope, receive, send)


async def test_a_server_that_fails_while_it_opens_leaves_nothing_behind() -> None:
    async def silent(reader: asyncio.StreamReader, writer: Any) -> None:
        came.set()
        await reader.read()
        gone.set()
        writer.close()

    async def receive() -> Message:
        if not given:
            await came.wait()
            raise ZeroDivisionError
        return given.pop()

    async def send(_: Message) -> None:
        raise AssertionError

    came, gone = asyncio.Event(), asyncio.Event()
    given: list[Message] = [{"type": "websocket.connect"}]
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        app = forwarder(url)
        with pytest.raises(ZeroDivisionError):
            await app(Client(app).scope, receive, send)

        await asyncio.wait_for(gone.wait(), BOUND)


async def test_a_certificate_that_nobody_vouches_for(
    tls_server: ssl.SSLContext,
) -> None:
    async with provider(echo, ssl=tls_server) as server:
        start, body = await Client(forwarder(base(server, "https"))).run()

    assert start["status"] == 502
    assert b"untrusted_certificate" in body["body"]


async def test_a_certificate_of_the_operators(
    tls_server: ssl.SSLContext, certificates: Certificates
) -> None:
    async with provider(echo, ssl=tls_server) as server:
        upstream = Upstream(name="p", base=base(server, "https"))
        sockets = SocketClient(authorities=certificates.authority)
        app = Forwarder(None, upstream, sockets=sockets)  # type: ignore[arg-type] # for HTTP only
        client = Client(app)
        async with client.running():
            assert (await client.next())["type"] == "websocket.accept"
            client.leave()
