"""A client made of a socket: says what it is told, byte for byte."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer as it came.

    `interim` counts what came before it with a status of 1xx; `whole` says that its
    framing told where it ends, and that it came to that end.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    whole: bool
    interim: int = 0

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key == name]
        return ", ".join(found) if found else None

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> Any:
        return self.json()["error"]["code"]


class HungError(AssertionError):
    """Nothing came in time."""


@dataclass(kw_only=True)
class Wire:
    """One connection."""

    port: int
    timeout: float = 10.0
    _socket: socket.socket = field(init=False)
    _read: bytearray = field(default_factory=bytearray)
    _ended: bool = False

    def __post_init__(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.port), self.timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def say(self, *pieces: bytes) -> Self:
        for piece in pieces:
            self._socket.sendall(piece)
        return self

    def say_what_is_taken(self, piece: bytes) -> int:
        """Send until the other side takes no more, and return how much it took."""
        sent = 0
        with contextlib.suppress(OSError):
            while sent < len(piece):
                sent += self._socket.send(piece[sent : sent + (1 << 20)])
        return sent

    def half_close(self) -> Self:
        self._socket.shutdown(socket.SHUT_WR)
        return self

    def reset(self) -> None:
        """Leave without a goodbye."""
        linger = struct.pack("ii", 1, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._socket.close()

    # -- reading ----------------------------------------------------------------

    def answer(self, *, to: str = "GET") -> Answer:
        """Read one answer, after any interim ones."""
        interim = 0
        while True:
            status, headers = self._head()
            if status >= 200:
                break
            interim += 1
        body, whole = self._body(status, dict(headers), to)
        return Answer(
            status=status, headers=headers, body=body, whole=whole, interim=interim
        )

    def rest(self) -> bytes:
        """Read until the other side ends the connection, well or not."""
        while self._more():
            pass
        found, self._read = bytes(self._read), bytearray()
        return found

    def silent_for(self, seconds: float) -> bool:
        """Whether nothing comes in a time, not even an end."""
        self._socket.settimeout(seconds)
        try:
            return not self._read and not self._more() and not self._ended
        except HungError:
            return True
        finally:
            self._socket.settimeout(self.timeout)

    def line(self) -> bytes:
        return self._until(b"\r\n")

    def take(self, size: int) -> bytes:
        """Read so many bytes, or what comes before the end."""
        while len(self._read) < size and self._more():
            pass
        found = bytes(self._read[:size])
        del self._read[:size]
        return found

    def _more(self) -> bool:
        try:
            data = self._socket.recv(1 << 16)
        except TimeoutError:
            raise HungError(f"nothing for {self._socket.gettimeout()} s") from None
        except OSError:
            data = b""
        self._read += data
        self._ended = not data
        return bool(data)

    def _until(self, mark: bytes) -> bytes:
        start = 0
        while (at := self._read.find(mark, start)) < 0:
            start = max(len(self._read) - len(mark), 0)
            if not self._more():
                raise EOFError(bytes(self._read))
        found = bytes(self._read[:at])
        del self._read[: at + len(mark)]
        return found

    def _head(self) -> tuple[int, list[tuple[str, str]]]:
        first, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = [line.partition(":")[::2] for line in lines]
        return int(first.split(" ", 2)[1]), [
            (name.lower(), value.strip()) for name, value in headers
        ]

    def _body(
        self, status: int, headers: dict[str, str], to: str
    ) -> tuple[bytes, bool]:
        if to == "HEAD" or status in {204, 304}:
            return b"", True
        if headers.get("transfer-encoding") == "chunked":
            return self._chunked()
        if "content-length" in headers:
            size = int(headers["content-length"])
            body = self.take(size)
            return body, len(body) == size
        return self.rest(), False

    def _chunked(self) -> tuple[bytes, bool]:
        body = bytearray()
        with contextlib.suppress(EOFError):
            while size := int(self.line(), 16):
                body += self.take(size)
                self.line()
            self.line()
            return bytes(body), True
        return bytes(body), False


def connect(url: str, *, timeout: float = 10.0) -> Wire:
    """Open a connection to where a URL leads."""
    port = urlsplit(url).port
    if port is None:
        raise ValueError(url)
    return Wire(port=port, timeout=timeout)


def post(body: bytes, *lines: str, path: str = "/v1/responses") -> bytes:
    """Spell an ordinary request with a JSON body, and with more header lines."""
    head = [
        f"POST {path} HTTP/1.1",
        "Host: gateway",
        "Authorization: Bearer k",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body
