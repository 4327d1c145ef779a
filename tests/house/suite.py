"""Run pytest in two processes that share the files out, and tell it as one run.

Half of the suite waits: for processes that start, for deadlines, for children that
end. So the first process takes the files from the front and a second one from the
back, until they meet. Whoever creates a file's name in a common folder has it. What
the second did is told here, a whole file at a time, in the place of a file of ours:
there is one report, one closing line and one exit code, as pytest gives them.

Two processes on a machine that others use as well may starve a test that waits for
something. So where only a few fail, these are run again, by themselves: who passes
then is told at the end, and is no failure. What fails for a reason fails again: of
a property, the example that broke it is kept and comes first.

What is on the command line goes to all.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

OVER, DIED = "over", "died"
FEW = 3
"""So many tests may have failed for want of time; more of them have a reason."""


def claimed(
    items: Iterable[pytest.Item], folder: Path, *, backwards: bool
) -> Iterator[list[pytest.Item]]:
    """Yield the tests of each file that nobody else has."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    for name in sorted(files, key=list(files).index, reverse=backwards):
        with contextlib.suppress(FileExistsError):
            (folder / name.replace("/", "|")).touch(exist_ok=False)
            yield files[name]


def run(files: Iterator[list[pytest.Item]], after_each: Callable[[], None]) -> None:
    """Run the tests as pytest itself does, file by file."""
    here = next(files, None)
    while here:
        there = None
        for item, following in zip(here, [*here[1:], None], strict=True):
            if following is None:
                there = next(files, None)
                following = there[0] if there else None  # noqa: PLW2901 - the last's
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if item.session.shouldfail:
                raise item.session.Failed(item.session.shouldfail)
            if item.session.shouldstop:
                raise item.session.Interrupted(item.session.shouldstop)
        after_each()
        here = there


class Second:
    """Takes files from the back, and tells nobody but the first."""

    def __init__(self, folder: Path, pipe: int) -> None:
        self._folder = folder
        self._pipe = os.fdopen(pipe, "w", buffering=1)
        self._reports: list[Any] = []

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.pluginmanager.unregister(name="terminalreporter")
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._reports.append(
            self._config.hook.pytest_report_to_serializable(
                config=self._config, report=report
            )
        )

    def _tell(self) -> None:
        self._pipe.write(f"{json.dumps(self._reports)}\n")
        self._reports.clear()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if not session.testsfailed:  # else the first says what cannot be collected
            run(claimed(session.items, self._folder, backwards=True), self._tell)
        self._pipe.write(f"{json.dumps(OVER)}\n")
        return True


class First:
    """Takes files from the front, and tells what the second did between them."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        reading, writing = os.pipe()
        self.failed: dict[str, None] = {}
        self._folder = folder
        self._ended = ""
        self._second = subprocess.Popen(
            [sys.executable, __file__, "--second", folder, str(writing), *arguments],
            pass_fds=[writing],
            stdin=subprocess.DEVNULL,
        )
        os.close(writing)
        self._heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._ear = threading.Thread(target=self._hear, args=[reading], daemon=True)
        self._ear.start()

    def _hear(self, reading: int) -> None:
        with os.fdopen(reading) as lines:
            for line in lines:
                self._heard.put(json.loads(line))
        self._heard.put(DIED)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed[report.nodeid] = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed:
            return None

        def tell() -> None:
            while not self._heard.empty():
                self._tell(session.config)

        run(claimed(session.items, self._folder, backwards=False), tell)
        while not self._ended:
            self._tell(session.config)
        if self._ended == DIED:
            code = self._second.wait()
            session.shouldfail = f"the second process died, exit code {code}"
            raise session.Failed(session.shouldfail)
        return True

    def _tell(self, config: pytest.Config) -> None:
        """Tell the tests of one file as if they had run here."""
        heard = self._heard.get()
        if isinstance(heard, str):
            self._ended = self._ended or heard
            return
        for data in heard:
            report = config.hook.pytest_report_from_serializable(
                config=config, data=data
            )
            where = {"nodeid": report.nodeid, "location": tuple(report.location)}
            if report.when == "setup":
                config.hook.pytest_runtest_logstart(**where)
            config.hook.pytest_runtest_logreport(report=report)
            if report.when == "teardown":
                config.hook.pytest_runtest_logfinish(**where)

    def end(self) -> None:
        self._second.terminate()
        self._second.wait()
        self._ear.join()


class Again:
    """Leaves of all tests those that failed."""

    def __init__(self, names: Path) -> None:
        self._names = frozenset(names.read_text().splitlines())

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        left_out = [item for item in items if item.nodeid not in self._names]
        items[:] = [item for item in items if item.nodeid in self._names]
        config.hook.pytest_deselected(items=left_out)


def passes_again(folder: Path, failed: Iterable[str], arguments: list[str]) -> bool:
    """Run some tests by themselves, and say so if all of them pass."""
    names, said = folder / "failed", "\n".join(failed)
    names.write_text(said)
    sys.stdout.write(f"\nOnce more, by themselves:\n{said}\n\n")
    sys.stdout.flush()
    again = [sys.executable, __file__, "--again", str(names), *arguments]
    if subprocess.run(again, check=False).returncode:
        return False
    sys.stdout.write(f"\nFailed beside others, and passed by themselves:\n{said}\n")
    return True


def main(arguments: list[str]) -> int:
    match arguments:
        case ["--second", folder, pipe, *rest]:
            second = Second(Path(folder), int(pipe))
            return pytest.main(["-p", "no:cacheprovider", *rest], plugins=[second])
        case ["--again", names, *rest]:
            return pytest.main(rest, plugins=[Again(Path(names))])
    with tempfile.TemporaryDirectory() as folder:
        first = First(Path(folder), arguments)
        try:
            code = pytest.main(arguments, plugins=[first])
        finally:
            first.end()
        if code != pytest.ExitCode.TESTS_FAILED or not 0 < len(first.failed) <= FEW:
            return code
        return 0 if passes_again(Path(folder), first.failed, arguments) else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
