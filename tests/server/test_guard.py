"""The server guard, over raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from raw import Answer, Wire
from stage import Certificates, certify

from imagegate.server import guard
from imagegate.server.guard import HeadLimits, guarded

POST = b"POST /v1/responses HTTP/1.1\r\nHost: x\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
CLOSE = b"Connection: close\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


class App:
    """Answers in the way that the path names, and notes what it was told."""

    def __init__(self) -> None:
        self.left = threading.Event()
        self.busy = threading.Event()
        self.sent = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.untaken = scope["extensions"]["imagegate.untaken"]
        answer = {
            "/early": self._early,
            "/stream": self._stream,
            "/busy": self._busy,
            "/headers": self._headers,
            "/short": self._short,
            "/chunks": self._chunks,
            "/pieces": self._pieces,
        }.get(scope["path"], self._echo)
        await answer(scope, receive, send)

    async def _echo(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer with what was understood."""
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.set()
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        seen = {
            "method": scope["method"],
            "path": scope["raw_path"].decode(),
            "decoded": scope["path"],
            "headers": [[k.decode(), v.decode("latin-1")] for k, v in scope["headers"]],
            "size": len(body),
            "body": body[:100].decode(),
        }
        await _answer(send, 200, json.dumps(seen).encode())

    async def _early(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer without reading the body."""
        del scope, receive
        await _answer(send, 413, b'{"error":{"code":"too_large"}}')

    async def _stream(self, scope: Any, receive: Any, send: Any) -> None:
        """Send for ever, until the client is said to have left."""
        del scope
        await receive()
        watch = asyncio.ensure_future(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        piece = {"type": "http.response.body", "body": b"x" * 65_536, "more_body": True}
        self.sent = 0
        while not watch.done():
            sending = asyncio.ensure_future(send(piece))
            await asyncio.wait({watch, sending}, return_when=asyncio.FIRST_COMPLETED)
            self.sent += 65_536
            await asyncio.sleep(0)
        self.left.set()

    async def _busy(self, scope: Any, receive: Any, send: Any) -> None:
        """Read the body, and then listen no more until somebody calls."""
        del send
        while (await receive()).get("more_body"):
            pass
        departed = asyncio.Event()
        scope["extensions"]["imagegate.departure"](departed.set)
        self.busy.set()
        await departed.wait()
        self.left.set()

    async def _headers(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the header that the query names."""
        await receive()
        headers = json.loads(bytes.fromhex(scope["query_string"].decode()))
        pairs = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers]
        start = {"type": "http.response.start", "status": 200, "headers": pairs}
        await send(start)
        await send({"type": "http.response.body", "body": b"abc"})

    async def _short(self, scope: Any, receive: Any, send: Any) -> None:
        """Send less than was promised."""
        del scope
        await receive()
        head = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b"abc"})

    async def _chunks(self, scope: Any, receive: Any, send: Any) -> None:
        """Send chunks of the sizes that the query names; one too many, if it says.

        One of no bytes, or of fewer, is the last.
        """
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        sizes = [int(each) for each in scope["query_string"].split(b",")]
        for size in sizes:
            more = {"type": "http.response.body", "more_body": size > 0}
            await send(more | {"body": b"%d " % size * (abs(size) // 4)})

    async def _pieces(self, scope: Any, receive: Any, send: Any) -> None:
        """Say the length that the query names first, and send pieces of the others."""
        await receive()
        length, *sizes = map(int, scope["query_string"].split(b","))
        head = [(b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        for size in sizes:
            more = {"type": "http.response.body", "more_body": True}
            await send(more | {"body": b"%d" % (size % 10) * size})
        await send({"type": "http.response.body"})


async def _answer(send: Any, status: int, body: bytes) -> None:
    head = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def serving(
    app: App, certificates: Certificates | None = None, **limits: Any
) -> Iterator[int]:
    config = uvicorn.Config(
        app,
        http=guarded(HeadLimits(**limits)),
        ws="none",
        lifespan="off",
        log_level="critical",
        timeout_graceful_shutdown=10,
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


@pytest.fixture(scope="module")
def port(app: App) -> Iterator[int]:
    with serving(app) as port:
        yield port


@pytest.fixture(scope="module")
def impatient(app: App) -> Iterator[int]:
    """Serve with a deadline for heads that a test can wait for."""
    with serving(app, seconds=0.2) as port:
        yield port


def talk(port: int, *sent: bytes) -> bytes:
    """Send pieces, and read until the server ends the connection."""
    with Wire(port=port) as wire:
        return wire.say(*sent).rest()


def ask(port: int, *sent: bytes) -> Answer:
    """Send pieces, and read an answer after which the connection must end."""
    with Wire(port=port) as wire:
        answer = wire.say(*sent).answer()
        assert wire.rest() == b""
        return answer


def length(spelled: bytes) -> bytes:
    return POST + b"Content-Length: " + spelled + b"\r\n\r\nabc"


def coding(*lines: bytes) -> bytes:
    return POST + b"".join(line + b"\r\n" for line in lines) + b"\r\n0\r\n\r\n"


def target(spelled: bytes) -> bytes:
    return b"GET " + spelled + b" HTTP/1.1\r\nHost: a\r\n\r\n"


def chunks(spelled: bytes) -> bytes:
    return POST + CHUNKED + spelled


def line(spelled: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + spelled + b"\r\n\r\n"


BAD, TE, TARGET = "malformed_http", "bad_transfer_encoding", "bad_target"
REFUSED: dict[str, tuple[bytes, int, str]] = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_host"),
    "two hosts": (line(b"Host: b"), 400, "bad_host"),
    "the same host twice": (line(b"Host: a"), 400, "bad_host"),
    "two hosts in 1.0": (
        b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        400,
        "bad_host",
    ),
    "http 0.9": (b"GET /v1/models\r\n\r\n", 400, "bad_http_version"),
    "http 2.0 in the line": (
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        400,
        "bad_http_version",
    ),
    "http 1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400, BAD),
    "http 2 prior knowledge": (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
        400,
        BAD,
    ),
    "chunked in 1.0": (
        b"POST / HTTP/1.0\r\nHost: a\r\n" + CHUNKED + b"0\r\n\r\n",
        400,
        TE,
    ),
    "gzip, chunked": (coding(b"Transfer-Encoding: gzip, chunked"), 400, TE),
    "gzip": (coding(b"Transfer-Encoding: gzip"), 400, TE),
    "identity": (coding(b"Transfer-Encoding: identity"), 400, TE),
    "chunked, chunked": (coding(b"Transfer-Encoding: chunked, chunked"), 400, BAD),
    "xchunked": (coding(b"Transfer-Encoding: xchunked"), 400, TE),
    "chunked in quotes": (coding(b'Transfer-Encoding: "chunked"'), 400, TE),
    "chunked and a vertical tab": (coding(b"Transfer-Encoding: \x0bchunked"), 400, BAD),
    "chunked, identity": (coding(b"Transfer-Encoding: chunked, identity"), 400, BAD),
    "chunked with a parameter": (coding(b"Transfer-Encoding: chunked;x=1"), 400, TE),
    "no coding named": (coding(b"Transfer-Encoding:"), 400, BAD),
    "chunked twice": (
        coding(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        400,
        BAD,
    ),
    "chunked, then identity": (
        coding(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
        400,
        BAD,
    ),
    "both framings": (
        coding(b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        400,
        BAD,
    ),
    "both framings, the other way": (
        coding(b"Transfer-Encoding: chunked", b"Content-Length: 3"),
        400,
        BAD,
    ),
    "the same length twice": (
        length(b"3\r\nContent-Length: 3"),
        400,
        BAD,
    ),
    "two lengths": (length(b"3\r\nContent-Length: 4"), 400, BAD),
    "a list of lengths": (length(b"3, 3"), 400, BAD),
    "signed length": (length(b"+3"), 400, BAD),
    "negative length": (length(b"-1"), 400, BAD),
    "hexadecimal length": (length(b"0x3"), 400, BAD),
    "length with underscore": (length(b"0_3"), 400, BAD),
    "length beyond 64 bits": (length(b"9" * 30), 400, BAD),
    "no length": (length(b""), 400, BAD),
    "absolute form": (target(b"http://evil/y"), 400, TARGET),
    "two slashes": (target(b"//evil/y"), 400, TARGET),
    "fragment": (target(b"/x#frag?y"), 400, TARGET),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400, TARGET),
    "no slash": (target(b"v1/models"), 400, BAD),
    "a host first": (target(b"@evil/y"), 400, BAD),
    "connect": (b"CONNECT evil:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_method"),
    "connect to a path": (
        b"CONNECT /v1/responses HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
        "bad_method",
    ),
    "bytes beyond ascii in the target": (target(b"/v1/\xef\xbc\x8fx"), 400, BAD),
    "a nul in the target": (target(b"/v1/\0x"), 400, BAD),
    "obs-fold": (line(b"X: 1\r\n 2"), 400, BAD),
    "obs-fold by tab": (line(b"X: 1\r\n\t2"), 400, BAD),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: a\n\n", 400, BAD),
    "one bare line feed": (line(b"X: 1\nY: 2"), 400, BAD),
    "bare carriage return": (line(b"X: 1\rY: 2"), 400, BAD),
    "a nul in a value": (line(b"X: 1\x002"), 400, BAD),
    "a nul in a name": (line(b"X\0: 1"), 400, BAD),
    "no colon": (line(b"X"), 400, BAD),
    "no name": (line(b": 1"), 400, BAD),
    "space before colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, BAD),
    "space before the first name": (
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        400,
        BAD,
    ),
    "lower-case method": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400, BAD),
    "a method nobody knows": (b"FROB / HTTP/1.1\r\nHost: a\r\n\r\n", 400, BAD),
    "tls": (b"\x16\x03\x01\x02\0\1\0\1\xfc\3\3", 400, BAD),
    "hexadecimal chunk size": (chunks(b"0x2\r\nhi\r\n0\r\n\r\n"), 400, BAD),
    "signed chunk size": (chunks(b"+2\r\nhi\r\n0\r\n\r\n"), 400, BAD),
    "chunk size beyond 64 bits": (chunks(b"f" * 20 + b"\r\nhi"), 400, BAD),
    "no chunk size": (chunks(b"\r\nhi\r\n0\r\n\r\n"), 400, BAD),
    "a chunk that is longer": (chunks(b"2\r\nhiho\r\n0\r\n\r\n"), 400, BAD),
    "a line feed after an extension": (chunks(b"2;\nhi\r\n0\r\n\r\n"), 400, BAD),
    "a chunk ended by a line feed": (chunks(b"2\r\nhi\n0\r\n\r\n"), 400, BAD),
    "a trailer without colon": (chunks(b"0\r\nX\r\n\r\n"), 400, BAD),
    "many headers": (line(b"X: y\r\n" * 200), 431, "head_too_large"),
    "20000 headers": (line(b"X: y\r\n" * 20_000), 431, "head_too_large"),
    "large header": (line(b"X: " + b"y" * 40_000), 431, "head_too_large"),
    "header of 70 KB": (line(b"X: " + b"y" * 70_000), 431, "head_too_large"),
    "header of 5 MB": (line(b"X: " + b"y" * 5_000_000), 431, "head_too_large"),
    "name of 5 MB": (line(b"y" * 5_000_000 + b": x"), 431, "head_too_large"),
    "endless header": (
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000,
        431,
        "head_too_large",
    ),
    "long target": (target(b"/" + b"y" * 9_000), 414, "target_too_long"),
    "target of 5 MB": (target(b"/" + b"y" * 5_000_000), 414, "target_too_long"),
    "chunk extension of 1 MB": (
        chunks(b"2;" + b"x" * 1_000_000 + b"\r\nhi\r\n0\r\n\r\n"),
        431,
        "head_too_large",
    ),
    "trailer of 1 MB": (
        chunks(b"2\r\nhi\r\n0\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n"),
        431,
        "head_too_large",
    ),
    "100000 trailers": (
        chunks(b"2\r\nhi\r\n0\r\n" + b"X: y\r\n" * 100_000 + b"\r\n"),
        431,
        "head_too_large",
    ),
}


@pytest.mark.parametrize(
    ("sent", "status", "code"), REFUSED.values(), ids=REFUSED.keys()
)
def test_ambiguous_requests_are_refused_and_the_refusal_can_be_read(
    port: int, sent: bytes, status: int, code: str
) -> None:
    answer = ask(port, sent)

    assert (answer.status, answer.code) == (status, code)
    assert answer.header("connection") == "close"
    assert answer.header("x-should-retry") == "false"


@pytest.mark.parametrize(
    ("path", "decoded"),
    [
        ("/v1%2Fresponses", "/v1/responses"),
        ("/v1/r%65sponses", "/v1/responses"),
        ("/v1/%2e%2e/x", "/v1/../x"),
        ("/v1/%00", "/v1/\0"),
        ("/v1/%ff", "/v1/\ufffd"),
    ],
)
def test_the_path_is_kept_as_it_was_spelled(port: int, path: str, decoded: str) -> None:
    seen = ask(
        port, f"GET {path} HTTP/1.1\r\n".encode() + b"Host: x\r\n" + CLOSE + b"\r\n"
    )

    assert (seen.json()["path"], seen.json()["decoded"]) == (path, decoded)


@pytest.mark.parametrize("announced", [b"", b"Trailer: X-User\r\n"])
def test_trailers_never_become_headers(port: int, announced: bytes) -> None:
    sent = POST + CLOSE + announced + CHUNKED + b"2\r\nhi\r\n0\r\n"
    trailers = b"X-MS-OAI-Image-Generation-Deployment: evil\r\nX-User: evil\r\n\r\n"

    seen = ask(port, sent + trailers).json()

    assert seen["body"] == "hi"
    assert "evil" not in str(seen["headers"])


@pytest.mark.parametrize("protocol", [b"h2c", b"foo", b"TLS/1.2", b"websocket"])
def test_a_body_survives_an_offer_to_upgrade(port: int, protocol: bytes) -> None:
    offer = b"Connection: Upgrade, X-Mine\r\nUpgrade: " + protocol + b"\r\n"
    second = b"GET /second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    with Wire(port=port) as wire:
        wire.say(POST + offer + b"Content-Length: 5\r\n\r\nhello" + second)
        first, then = wire.answer().json(), wire.answer().json()

    assert first["body"] == "hello"
    assert ["connection", "X-Mine"] in first["headers"]
    assert then["path"] == "/second"


def test_a_chunked_body_survives_an_offer_to_upgrade(port: int) -> None:
    offer = b"Connection: close, upgrade\r\nUpgrade: h2c\r\n"

    seen = ask(port, POST + offer + CHUNKED + b"2\r\nhi\r\n0\r\n\r\n").json()

    assert seen["body"] == "hi"


def test_a_request_in_single_bytes_is_understood(port: int) -> None:
    sent = POST + CLOSE + b"Content-Length: 2\r\n\r\nhi"

    assert ask(port, *(bytes([byte]) for byte in sent)).json()["body"] == "hi"


def test_a_large_body_is_taken_in_whatever_pieces_it_comes(port: int) -> None:
    size = 5_000_000
    sent = POST + CLOSE + b"Content-Length: %d\r\n\r\n" % size

    assert ask(port, sent + b"x" * size).json()["size"] == size


def test_a_large_body_is_taken_in_chunks_of_any_size(port: int) -> None:
    pieces = [b"%x\r\n%b\r\n" % (size, b"x" * size) for size in range(1, 2_000)]

    seen = ask(port, POST + CLOSE + CHUNKED, b"".join(pieces), b"0\r\n\r\n").json()

    assert seen["size"] == 1_999_000


def test_each_pipelined_request_has_its_own_answer(port: int) -> None:
    one = POST + b"Content-Length: 1\r\n\r\n"

    with Wire(port=port) as wire:
        wire.say(one + b"a" + one + b"b" + one + b"c")
        bodies = [wire.answer().json()["body"] for _ in range(3)]

    assert bodies == ["a", "b", "c"]


def test_a_pipelined_request_may_still_be_on_its_way(port: int) -> None:
    one = POST + b"Content-Length: 1\r\n\r\n"

    with Wire(port=port) as wire:
        wire.say(one + b"a" + one)
        first = wire.answer().json()["body"]
        wire.say(b"b")
        second = wire.answer().json()["body"]

    assert (first, second) == ("a", "b")


def test_what_follows_a_whole_request_does_not_spoil_its_answer(port: int) -> None:
    with Wire(port=port) as wire:
        wire.say(POST + b"Content-Length: 2\r\n\r\nhi\0\0garbage")
        answer = wire.answer()
        assert wire.rest() == b""

    assert answer.json()["body"] == "hi"


def test_what_follows_requests_that_wait_ends_them_all(port: int) -> None:
    one = POST + b"Content-Length: 1\r\n\r\na"

    with Wire(port=port) as wire:
        assert wire.say(one + one + b"\0\0garbage").rest() == b""


# -- time --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [b"", b"\r\n", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: a\r\nX: "],
    ids=["nothing", "blank lines", "half a line", "half a head"],
)
def test_a_slow_head_ends_the_connection(impatient: int, sent: bytes) -> None:
    assert ask(impatient, sent).code == "head_too_slow"


@pytest.mark.parametrize("drip", [b"X: y\r\n", b"y", b"\r\n"])
def test_a_head_that_drips_wins_no_time(impatient: int, drip: bytes) -> None:
    begun = time.monotonic()
    with Wire(port=impatient) as wire:
        wire.say(b"" if drip == b"\r\n" else b"GET / HTTP/1.1\r\nX: ")
        while wire.silent_for(0.02):
            with contextlib.suppress(OSError):
                wire.say(drip)
        answer = wire.answer()

    assert answer.code == "head_too_slow"
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("sent", [b"\r\n", b"GET / HTTP/1.1\r\n"])
def test_an_idle_connection_cannot_be_held_by_half_a_request(
    impatient: int, sent: bytes
) -> None:
    with Wire(port=impatient) as wire:
        first = wire.say(GET + b"\r\n").answer()
        second = wire.say(sent).answer()
        assert wire.rest() == b""

    assert (first.status, second.code) == (200, "head_too_slow")


def test_many_slow_heads_do_not_keep_a_good_client_waiting(port: int) -> None:
    with contextlib.ExitStack() as slow:
        for _ in range(300):
            slow.enter_context(Wire(port=port)).say(b"GET / HTTP/1.1\r\nX: ")
        begun = time.monotonic()
        answer = ask(port, GET + CLOSE + b"\r\n")
        took = time.monotonic() - begun

    assert answer.status == 200
    assert took < 1


# -- refusals while the client still sends -----------------------------------------


def test_a_client_that_still_sends_can_read_an_early_refusal(port: int) -> None:
    size = 1_000_000_000
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size

    with Wire(port=port) as wire:
        wire.say(head)
        taken = wire.say_what_is_taken(bytes(12_000_000))
        answer = wire.answer()

    assert taken == 12_000_000
    assert (answer.status, answer.code) == (413, "too_large")
    assert answer.header("connection") == "close"


def test_an_unwanted_body_is_not_read_to_its_end(port: int) -> None:
    size = 300_000_000
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size

    with Wire(port=port) as wire:
        wire.say(head)
        taken = wire.say_what_is_taken(bytes(size))
        answer = wire.answer()

    assert answer.status == 413
    assert taken < guard.LINGER_BYTES + 16_000_000  # what the sockets hold


def test_an_unwanted_body_is_not_waited_for_for_ever(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "LINGER_SECONDS", 0.1)
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"

    with Wire(port=port) as wire:
        assert wire.say(head).answer().status == 413
        deadline = time.monotonic() + 5
        with contextlib.suppress(OSError):
            while time.monotonic() < deadline:
                wire.say(b"x")
                time.sleep(0.02)

    assert time.monotonic() < deadline


def test_after_an_early_refusal_nothing_more_is_understood(port: int) -> None:
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"

    with Wire(port=port) as wire:
        answer = wire.say(head).answer()
        assert wire.say(b"hello" + GET + b"\r\n").half_close().rest() == b""

    assert answer.status == 413


def test_a_refused_body_is_the_end_for_the_application_too(app: App, port: int) -> None:
    app.left.clear()

    ask(port, chunks(b"2\r\nhi\r\nno size\r\n"))

    assert app.left.wait(5)


# -- expectations ------------------------------------------------------------------


EXPECT = POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n"


def test_a_client_that_waits_for_100_is_told_to_go_on(port: int) -> None:
    with Wire(port=port) as wire:
        assert wire.say(EXPECT + CLOSE + b"\r\n").line() == b"HTTP/1.1 100 Continue"
        wire.line()
        answer = wire.say(b"hi").answer()

    assert answer.json()["body"] == "hi"


def test_a_body_that_is_not_waited_for_is_taken_too(port: int) -> None:
    answer = ask(port, EXPECT + CLOSE + b"\r\nhi")

    assert answer.json()["body"] == "hi"


def test_a_client_that_waits_for_100_may_be_refused_instead(port: int) -> None:
    answer = ask(port, EXPECT.replace(b"/v1/responses", b"/early") + b"\r\n")

    assert (answer.status, answer.interim) == (413, 0)


def test_a_refused_body_is_not_asked_for(port: int) -> None:
    head = POST + b"Expect: 100-continue\r\n"

    with Wire(port=port) as wire:
        answer = wire.say(head + CHUNKED + b"no size\r\n").answer()

    assert (answer.code, answer.interim) == (BAD, 0)


# -- leaving -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
def test_the_application_hears_at_once_that_a_client_has_left(
    app: App, port: int, how: str
) -> None:
    app.left.clear()
    with Wire(port=port) as wire:
        wire.say(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n").take(100)
        if how == "reset":
            wire.reset()
        elif how == "half-close":
            wire.half_close()
            wire.rest()

    assert app.left.wait(2)


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
@pytest.mark.parametrize("behind", [b"", GET + b"\r\n"], ids=["alone", "pipelined"])
@pytest.mark.parametrize("size", [0, 1_000_000])
def test_who_is_called_when_a_client_leaves_need_not_listen(
    app: App, port: int, how: str, behind: bytes, size: int
) -> None:
    app.left.clear()
    app.busy.clear()
    head = b"POST /busy HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size

    with Wire(port=port) as wire:
        wire.say(head)
        for _ in range(10):
            wire.say(b"x" * (size // 10))
        wire.say(behind)
        assert app.busy.wait(5)
        assert not app.left.is_set()
        if how == "reset":
            wire.reset()
        elif how == "half-close":
            wire.half_close()
            wire.rest()

    assert app.left.wait(2)


def test_who_asks_to_be_called_after_the_client_has_left_is_called(
    app: App, port: int
) -> None:
    app.left.clear()
    length = b"Content-Length: 5\r\n\r\n"

    with Wire(port=port) as wire:
        # The body never comes, and the application takes that for its end.
        wire.say(b"POST /busy HTTP/1.1\r\nHost: x\r\n" + length)

    assert app.left.wait(2)


def test_a_client_that_leaves_has_left_every_pipelined_request(
    app: App, port: int
) -> None:
    app.left.clear()
    stream = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"

    with Wire(port=port) as wire:
        wire.say(stream + GET + b"\r\n").take(100)

    assert app.left.wait(2)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def held_for(app: App) -> int:
    """Return how much was sent when nothing more is taken."""
    before = -1
    deadline = time.monotonic() + 10
    while app.sent != before and time.monotonic() < deadline:
        before = app.sent
        time.sleep(0.1)
    return app.sent


def test_a_reader_that_never_reads_stops_the_application(app: App, port: int) -> None:
    app.left.clear()
    with Wire(port=port) as wire:
        wire.say(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n").take(100)
        held = held_for(app)

    assert held < 30_000_000  # the kernel's buffers, and little of ours
    assert app.left.wait(2)


def test_an_application_is_told_what_a_client_has_still_to_take(
    app: App, port: int
) -> None:
    """A slow client takes megabytes before `send` shows anything of it."""
    sizes = ",".join(["60000"] * 30 + ["0"])
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        wire.connect(("127.0.0.1", port))
        wire.sendall(f"GET /chunks?{sizes} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wire.recv(100)
        until(lambda: app.untaken() > 1_500_000)
        before = app.untaken()
        for _ in range(100):
            wire.recv(10_000, socket.MSG_WAITALL)
        until(lambda: app.untaken() < before - 900_000)


# -- answers -----------------------------------------------------------------------


def test_a_small_answer_comes_whole(port: int) -> None:
    """One call of the kernel, one packet, and one client that wakes up once."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        wire.sendall(GET + b"\r\n")
        first = wire.recv(65_536)

    assert first.startswith(b"HTTP/1.1 200")
    assert first.endswith(b"}")


def with_headers(*headers: tuple[str, str]) -> bytes:
    query = json.dumps(headers).encode().hex()
    return f"GET /headers?{query} HTTP/1.1\r\nHost: x\r\n".encode() + CLOSE + b"\r\n"


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\rb", "a\0b"])
def test_a_header_that_would_split_an_answer_is_not_sent(port: int, value: str) -> None:
    answer = talk(port, with_headers(("x", value)))

    assert not answer.startswith(b"HTTP/1.1 200")
    assert b"\nb" not in answer


def test_an_answer_has_one_framing(port: int) -> None:
    headers = [("content-length", "3"), ("transfer-encoding", "chunked")]

    answer = ask(port, with_headers(*headers))

    assert (answer.body, answer.whole) == (b"abc", True)
    assert answer.header("content-length") == "3"
    assert answer.header("transfer-encoding") is None


def test_an_answer_with_two_lengths_is_not_sent(port: int) -> None:
    headers = [("content-length", "3"), ("content-length", "2")]

    assert ask(port, with_headers(*headers)).status == 500


def test_an_answer_that_is_short_ends_the_connection(port: int) -> None:
    with Wire(port=port) as wire:
        answer = wire.say(b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n").answer()

    assert not answer.whole


# -- TLS ---------------------------------------------------------------------------


@contextlib.contextmanager
def secured(port: int, certificates: Certificates) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=certificates.authority)
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wire,
    ):
        yield wire


def test_an_idle_client_of_tls_does_not_hold_the_server(
    app: App, tmp_path: Path
) -> None:
    certificates = certify(tmp_path)
    with contextlib.ExitStack() as client:
        with serving(app, certificates) as port:
            wire = client.enter_context(secured(port, certificates))
            wire.sendall(GET + b"\r\n")
            assert wire.recv(100).startswith(b"HTTP/1.1 200")
            begun = time.monotonic()

        assert time.monotonic() - begun < 5


def test_a_client_of_tls_that_still_sends_can_read_an_early_refusal(
    app: App, tmp_path: Path
) -> None:
    certificates = certify(tmp_path)
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"

    with serving(app, certificates) as port, secured(port, certificates) as wire:
        wire.sendall(head + bytes(5_000_000))
        answer = wire.recv(100)

    assert answer.startswith(b"HTTP/1.1 413")


def test_the_limits_are_those_of_the_class() -> None:
    assert guarded(HeadLimits(count=7)).limits.count == 7


@pytest.mark.parametrize("last", [0, -4, -32_768, -300_000])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_chunks_of_any_size_are_framed_one_by_one(
    port: int, method: str, last: int
) -> None:
    sizes = [1_000, 300_000, 4, 200_000, 32_768, 32_767, last]
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        for _ in range(2):
            client.request(method, f"/chunks?{','.join(map(str, sizes))}")
            answer = client.getresponse()
            data = answer.read()
            whole = b"".join(b"%d " % size * (abs(size) // 4) for size in sizes)
            assert answer.getheader("transfer-encoding", "") == (
                "chunked" if method == "GET" else ""
            )
            assert data == (whole if method == "GET" else b"")
    finally:
        client.close()


SIZES = [1_000, 300_001, 4, 200_002, 32_768, 32_767]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_pieces_of_any_size_make_an_answer_of_the_length_that_it_says(
    port: int, method: str
) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        for _ in range(2):
            client.request(method, f"/pieces?{sum(SIZES)},{','.join(map(str, SIZES))}")
            data = client.getresponse().read()
            whole = b"".join(b"%d" % (size % 10) * size for size in SIZES)
            assert data == (whole if method == "GET" else b"")
    finally:
        client.close()


@pytest.mark.parametrize("size", [10, 40_000])
def test_an_answer_that_is_longer_than_it_says_ends_the_connection(
    port: int, size: int
) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /pieces?50000,40000,%d,40000 HTTP/1.1\r\n" % size)
        client.sendall(b"Host: x\r\n\r\n")
        data = b"".join(iter(lambda: client.recv(65_536), b""))

    sent = data.partition(b"\r\n\r\n")[2]
    assert sent == b"0" * (40_010 if size == 10 else 40_000)


def test_nothing_is_sent_behind_the_end_of_an_answer(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /chunks?4,0,200000,0 HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b"".join(iter(lambda: client.recv(65_536), b""))

    assert data.partition(b"\r\n\r\n")[2] == b"2\r\n4 \r\n0\r\n\r\n"


def test_nothing_is_sent_behind_a_large_end_of_an_answer(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /chunks?-200000,200000 HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b"".join(iter(lambda: client.recv(65_536), b""))

    whole = b"-200000 " * 50_000
    assert (
        data.partition(b"\r\n\r\n")[2]
        == b"%x\r\n%b\r\n" % (len(whole), whole) + b"0\r\n\r\n"
    )


def test_who_waits_for_an_image_is_not_forgotten_on_the_way(
    app: App, port: int
) -> None:
    with Wire(port=port) as wire:
        wire.say(GET + b"\r\n").answer()
        sock = app.untaken.__self__._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
