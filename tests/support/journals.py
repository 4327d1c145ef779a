"""What the tests of the audit have in common: records, and journals of them."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from making import QUICK, completion, decision, generating

from imagegate.audit.chain import NO_LINE, entries_of
from imagegate.audit.journal import Journal
from imagegate.audit.ledger import Witness
from imagegate.audit.logfile import files_in
from imagegate.audit.options import Mode, Options
from imagegate.audit.reading import lines_in, open_log
from imagegate.audit.report import Report
from imagegate.audit.verify import verify


@contextlib.asynccontextmanager
async def journal(
    directory: Path,
    mode: Mode = "blocking",
    options: Options = QUICK,
    witness: Witness | None = None,
) -> AsyncIterator[Journal]:
    opened = Journal.open(directory, mode=mode, options=options, witness=witness)
    try:
        yield opened
    finally:
        await opened.close()


def abandon(opened: Journal) -> None:
    """Leave a journal as the death of its process would."""
    opened._flusher.stop()
    opened._keeper.stop()
    file = opened._ledger._file
    assert file is not None
    file.close()


def orphan(directory: Path) -> Path:
    """Leave a journal with two open decisions, of three."""
    audit = Journal.open(directory, options=QUICK)
    ledger = audit._ledger
    ledger.append(entries_of([decision("a"), decision("b", principal_id="jo")]))
    ledger.append(entries_of([completion("a"), decision("c"), generating("c")]))
    assert audit.file is not None
    file = audit.file
    abandon(audit)
    return file


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file, or of all files of a directory."""
    paths = files_in(path) if path.is_dir() else [path]
    found = []
    for each in paths:
        # One may be compressed or retired between the listing and the reading.
        with contextlib.suppress(FileNotFoundError), open_log(each) as stream:
            for line in lines_in(stream):
                with contextlib.suppress(*NO_LINE):  # `proved` looks at it
                    found.append(msgspec.json.decode(line))
    return found


def events(path: Path) -> list[str]:
    return [line["event"].removeprefix("imagegate.") for line in lines(path)]


def ids(path: Path, event: str = "request_forwarded") -> list[str]:
    found = [line for line in lines(path) if line["event"] == f"imagegate.{event}"]
    return [line["decision_id"] for line in found]


def of(path: Path, event: str) -> list[dict[str, Any]]:
    return [line for line in lines(path) if line["event"] == f"imagegate.{event}"]


def hidden(directory: Path) -> list[str]:
    return [each.name for each in directory.iterdir() if each.name.startswith(".")]


def proved(directory: Path) -> Report:
    """Prove what is there, and return the report."""
    report = verify([directory])
    assert report.problems == (), report.problems
    return report


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.002)


def mount(*arguments: str) -> None:
    """Mount, or skip the test where that is not permitted."""
    done = subprocess.run(["/bin/mount", *arguments], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mount is not permitted here: {done.stderr.decode()}")


@contextlib.contextmanager
def small_disk(path: Path, size: str = "64k") -> Iterator[Path]:
    path.mkdir()
    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path))
    try:
        yield path
    finally:
        subprocess.run(["/bin/umount", "-l", path], check=True)


def chattr(how: str, path: Path) -> int:
    """Change an attribute; another code than 0 says that this cannot be done here."""
    command = ["/usr/bin/chattr", how, str(path)]
    if not Path(command[0]).exists():
        return 127
    return subprocess.run(command, capture_output=True, check=False).returncode


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill(path: Path) -> None:
    """Take all the room that is left on a disk."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as stream:
        while True:
            stream.write(b"\0" * 512)


def descriptor(opened: Journal) -> int:
    file = opened._ledger._file
    assert file is not None
    return file.fd


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
