"""A provider that says, byte for byte, what it was given to say."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

LISTEN = 5.0
"""Seconds without a request after which the provider looks whether it may stop."""


@dataclass(kw_only=True)
class Player:
    """Answers each connection with the next of its scripts, and closes it.

    Between two pieces it waits until `go` was called, if it is to keep `step`.
    """

    step: bool = False
    scripts: queue.Queue[Iterable[bytes]] = field(default_factory=queue.Queue)
    _steps: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def go(self) -> None:
        self._steps.release()

    def answer(self, connection: socket.socket) -> None:
        """Read a request, which has a length, and play the next script."""
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(LISTEN)
            data = b""
            while not _is_whole(data):
                data += connection.recv(1 << 16)
            for number, piece in enumerate(self.scripts.get(timeout=LISTEN)):
                if self.step and number:
                    assert self._steps.acquire(timeout=LISTEN)
                connection.sendall(piece)


def _is_whole(data: bytes) -> bool:
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    lengths = [
        int(line[15:])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    ]
    return len(body) >= sum(lengths)


@contextlib.contextmanager
def playing(player: Player) -> Iterator[str]:
    """Serve on loopback, one connection after the other."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            connection, _ = listener.accept()
            if not stopped.is_set():
                player.answer(connection)
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stopped.set()
        with socket.create_connection(listener.getsockname()):
            thread.join()
        listener.close()
