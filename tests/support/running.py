"""`imagegate serve` as a process of its own, for tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import openai


def until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    """Wait for something to be so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be so"
        threading.Event().wait(0.01)


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("IMAGEGATE_")}
    return {**kept, **extra}


def command(
    *arguments: str | Path, program: Sequence[str] = ("-m", "imagegate")
) -> list[str]:
    return [sys.executable, *program, "serve", *map(str, arguments)]


def run(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        command(*arguments),
        env=environment(environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Gateway:
    """A running gateway: its records on one side, its log on the other."""

    def __init__(
        self,
        folder: Path,
        *arguments: str | Path,
        program: Sequence[str] = ("-m", "imagegate"),
        **environ: str,
    ) -> None:
        self._out, self._err = folder / "records", folder / "log"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command("--port", "0", *arguments, program=program),
                env=environment(environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                process_group=0,
            )
        ended = self.process.poll
        try:
            until(lambda: bool(self.said("listening")) or ended() is not None)
            [listening] = self.said("listening")
        except BaseException:
            self.process.kill()
            raise
        self.url: str = listening["url"]

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of the log about something."""
        return [
            line
            for line in map(json.loads, self._whole(self._err))
            if line["event"] == f"imagegate.{event}"
        ]

    def log(self) -> str:
        return self._err.read_text()

    def records(self, event: str) -> list[dict[str, Any]]:
        """Return the records of something."""
        return [
            record
            for record in map(json.loads, self._whole(self._out))
            if record["event"] == f"imagegate.{event}"
        ]

    def _whole(self, file: Path) -> list[str]:
        return [
            line
            for line in file.read_text().splitlines(keepends=True)
            if line[-1:] == "\n"
        ]

    def client(self, **options: Any) -> openai.OpenAI:
        options = {"api_key": "client-canary", "max_retries": 0, **options}
        return openai.OpenAI(base_url=f"{self.url}/v1", **options)

    def workers(self) -> set[int]:
        return children(self.process.pid)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Tell it to end, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextlib.contextmanager
def gateways(root: Path) -> Iterator[Callable[..., Gateway]]:
    """Start gateways, each with a folder of its own; what still runs is killed."""
    started: list[Gateway] = []

    def start(*arguments: str | Path, **more: Any) -> Gateway:
        folder = root / f"gateway-{len(started)}"
        folder.mkdir()
        started.append(Gateway(folder, *arguments, **more))
        return started[-1]

    try:
        yield start
    finally:
        for gateway in started:
            with contextlib.suppress(ProcessLookupError):
                gateway.process.kill()
            gateway.process.wait()


def children(pid: int) -> set[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return set(map(int, listed.split()))


def gone(pid: int) -> bool:
    """Tell whether a process has ended, even if nobody asked for its exit code."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"
