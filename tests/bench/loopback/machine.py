"""Processes on two cores: how they are started, pinned, measured and ended."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAMS = ("provider", "client")
PAGE = os.sysconf("SC_PAGE_SIZE")
START_SECONDS = 60.0
END_SECONDS = 10.0


class CannotMeasureError(Exception):
    """Something that is needed is not there, or does not start; one line says what."""


def cores() -> tuple[int, int]:
    """Return a core for the proxy, and one for those at both its ends."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise CannotMeasureError("two cores are needed: one would measure the other")
    return usable[0], usable[1]


def built(folder: Path) -> dict[str, Path]:
    """Compile what makes the load, if it has changed."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise CannotMeasureError("cc is not installed (Debian: apt install gcc)")
    folder.mkdir(parents=True, exist_ok=True)
    return {name: _compiled(compiler, name, folder) for name in PROGRAMS}


def _compiled(compiler: str, name: str, folder: Path) -> Path:
    program = folder / name
    sources = [HERE / f"{name}.c", HERE / "http.h"]
    newest = max(source.stat().st_mtime for source in sources)
    if not program.exists() or program.stat().st_mtime < newest:
        options = ["-O2", "-std=gnu11", "-Wall", "-Wextra"]
        command = [compiler, *options, "-o", str(program), str(sources[0])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotMeasureError(f"cc: {done.stderr.strip()}")
    return program


def allow_many_files(wanted: int = 16384) -> int:
    """Raise the limit of open files for all that is started from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    return max(soft, most)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Let what is started meanwhile run on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Running:
    """A program that was started, with all its children."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        core: int,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        self._name = Path(command[0]).name
        with pinned(core), log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                cwd=log.parent,
                start_new_session=True,
            )

    def wait_for(self, port: int) -> None:
        """Wait until it listens."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        said = self._log.read_text(errors="replace").strip()[-2000:]
        raise CannotMeasureError(f"{self._name} does not start: {said}")

    def stop(self) -> None:
        """End it; what does not end is killed."""
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in self._tree():
                os.kill(pid, signal.SIGKILL)
            self._process.wait()

    def cpu(self) -> float:
        """Return the seconds that all of it has computed so far."""
        return sum(map(_computed, self._tree()))

    def rss(self) -> int:
        """Return the bytes of memory that all of it holds."""
        return sum(map(_resident, self._tree()))

    def _tree(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for each in Path("/proc").iterdir():
            text = _read(each / "stat") if each.name.isdecimal() else ""
            if text:
                parent = int(text.rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(each.name))
        found = [self._process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _computed(pid: int) -> float:
    """Sum up the scheduler's nanoseconds of every thread."""
    threads = [*Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int((_read(each) or "0").split()[0]) for each in threads) / 1e9


def _resident(pid: int) -> int:
    text = _read(Path(f"/proc/{pid}/statm"))
    return int(text.split()[1]) * PAGE if text else 0
