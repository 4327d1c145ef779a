"""A Redis server of a test's own, on loopback; it is ended by its number."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from running import until
from stage import without

BOUND = 10.0


class Redisd:
    """A server that can be stopped, held up, and started again.

    Attributes:
        port: Where it listens; the same over restarts.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self._program = shutil.which("redis-server") or shutil.which("valkey-server")
        if self._program is None:
            without("there is no redis-server here: apt-get install redis-server")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        assert self._program is not None
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self._folder), "--save", "", *self._options]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        until(self._answers, seconds=BOUND)

    def stop(self) -> None:
        """End it, as if its machine had gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(BOUND)
            self._process = None

    def hold(self) -> None:
        """Let it answer nothing: connections are made, and nothing follows."""
        self._send(signal.SIGSTOP)

    def release(self) -> None:
        """Let it answer again."""
        self._send(signal.SIGCONT)

    def say(self, *words: str) -> str:
        """Say one command, and return the beginning of the answer."""
        line = "".join(f"${len(x)}\r\n{x}\r\n" for x in words)
        with socket.create_connection(("127.0.0.1", self.port), BOUND) as connection:
            connection.sendall(f"*{len(words)}\r\n{line}".encode())
            return connection.recv(65_536).decode()

    def _answers(self) -> bool:
        try:
            return self.say("PING").startswith(("+PONG", "-NOAUTH"))
        except OSError:
            return False

    def _send(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


@contextlib.contextmanager
def redisd(folder: Path, *options: str) -> Iterator[Redisd]:
    """Run a server."""
    server = Redisd(folder, *options)
    try:
        yield server
    finally:
        with contextlib.suppress(AssertionError):
            server.release()
        server.stop()
