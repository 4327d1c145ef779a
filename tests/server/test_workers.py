from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagegate.server import workers as module
from imagegate.server.child import HUNG_BEATS
from imagegate.server.signals import held_back
from imagegate.server.workers import CannotStartError, Workers

pytestmark = pytest.mark.anyio

# What a worker does, without a gateway: `said` is the plan, `status` the pipe.
CHILD = """
import os, signal, socket, sys, time
said, news, status = input(), input(), int(sys.argv[2])
def note():
    with open(f"{said}/{os.getpid()}", "w") as file:
        file.write(news)
def serve():
    global news
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
    note()
    os.write(status, b"1")
    for line in sys.stdin:
        news = line.strip()
        note()
        os.write(status, b"-" if news == "bad" else b"+")
"""
OBEDIENT = CHILD + "serve()"
# One whose loop turns, as a thread here, says so until it is told to hang.
TURNING = (
    CHILD
    + """
import threading
def turn():
    while news != "hang":
        os.write(status, b".")
        time.sleep(0.01)
threading.Thread(target=turn, daemon=True).start()
serve()
"""
)
STUBBORN = CHILD + "signal.signal(signal.SIGTERM, signal.SIG_IGN); serve()"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


class Watched:
    """Workers with what they said."""

    def __init__(
        self,
        script: str,
        folder: Path,
        listening: socket.socket,
        *,
        count: int = 2,
        grace: float = 5,
    ) -> None:
        self.folder = folder
        self.all_serve = asyncio.Event()
        self.workers = Workers(
            (sys.executable, "-c", script),
            plan=str(folder).encode(),
            news=b"first",
            listening=listening,
            count=count,
            grace=grace,
            on_started=self.all_serve.set,
            pause=0.01,
        )
        self.ending = asyncio.create_task(self.workers.run())

    def pids(self) -> set[int]:
        return {int(file.name) for file in self.folder.iterdir()}

    def all_are_there(self) -> bool:
        serving = [child for child in self.workers._children if child.serves]
        return len(serving) == self.workers._count

    def news(self) -> list[str]:
        """Return what those that live have in force."""
        alive = (child.process.pid for child in self.workers._children)
        return [Path(self.folder, str(pid)).read_text() for pid in alive]

    async def serve(self) -> None:
        await asyncio.wait_for(self.all_serve.wait(), 20)
        await until(lambda: len(self.pids()) == self.workers._count)

    async def end(self) -> bool:
        return await asyncio.wait_for(self.ending, 20)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to be so")


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_signal_is_passed_on_and_everything_ends_well(
    tmp_path: Path, listening: socket.socket
) -> None:
    ends_well = CHILD + "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); serve()"
    watched = Watched(ends_well, tmp_path, listening)
    await watched.serve()

    os.kill(os.getpid(), signal.SIGTERM)

    assert await watched.end() is True
    assert all(map(gone, watched.pids()))


async def test_a_child_that_ends_with_an_error_is_not_well(
    tmp_path: Path, listening: socket.socket
) -> None:
    watched = Watched(OBEDIENT, tmp_path, listening)
    await watched.serve()

    watched.workers.stop(signal.SIGTERM)  # of which the children die

    assert await watched.end() is False


async def test_a_child_that_dies_is_replaced(
    tmp_path: Path, listening: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    watched = Watched(OBEDIENT, tmp_path, listening)
    await watched.serve()
    victim = min(watched.pids())

    os.kill(victim, signal.SIGKILL)
    await until(lambda: len(watched.pids()) == 3)
    watched.workers.stop(signal.SIGTERM)
    await watched.end()

    said = capsys.readouterr().err
    assert f'"imagegate.worker_died","pid":{victim},"signal":"SIGKILL"' in said


async def test_children_that_die_at_their_start_end_the_parent(
    tmp_path: Path, listening: socket.socket
) -> None:
    watched = Watched(CHILD + "sys.exit(3)", tmp_path, listening)

    with pytest.raises(CannotStartError, match="the last with code 3: what it printed"):
        await watched.end()
    assert not watched.all_serve.is_set()


BREAKABLE = (
    CHILD
    + """
if os.path.exists(f"{said}.broken"):
    sys.exit(3)
serve()
"""
)


async def test_a_child_that_cannot_be_replaced_ends_none_of_the_others(
    tmp_path: Path, listening: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, broken = tmp_path / "there", tmp_path / "there.broken"
    folder.mkdir()
    watched = Watched(BREAKABLE, folder, listening)
    await watched.serve()
    victim, other = watched.pids()
    broken.touch()

    os.kill(victim, signal.SIGKILL)
    said = ""
    while said.count('"exit_code":3') <= module.ATTEMPTS:
        assert not watched.ending.done()
        await asyncio.sleep(0.01)
        said += capsys.readouterr().err
    broken.unlink()
    await until(watched.all_are_there)

    assert other in watched.pids()
    assert not gone(other)
    watched.workers.stop(signal.SIGTERM)
    await watched.end()


async def test_when_the_last_child_is_gone_and_none_can_be_replaced_the_parent_ends(
    tmp_path: Path, listening: socket.socket
) -> None:
    folder, broken = tmp_path / "there", tmp_path / "there.broken"
    folder.mkdir()
    watched = Watched(BREAKABLE, folder, listening)
    await watched.serve()
    broken.touch()

    for child in watched.pids():
        os.kill(child, signal.SIGKILL)

    with pytest.raises(CannotStartError, match="3 workers in a row ended at once"):
        await watched.end()


async def test_a_program_that_is_not_there_ends_the_parent(
    tmp_path: Path, listening: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    watched = Watched(OBEDIENT, tmp_path, listening)
    watched.workers._command = ("/nowhere/python",)

    with pytest.raises(CannotStartError, match="/nowhere/python: No such file"):
        await watched.end()
    told = '"imagegate.worker_not_started","program":"/nowhere/python","error":"No such'
    assert told in capsys.readouterr().err


async def test_a_program_that_is_gone_for_a_moment_ends_nothing(
    tmp_path: Path, listening: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    watched = Watched(OBEDIENT, tmp_path, listening)
    await watched.serve()
    there, watched.workers._command = watched.workers._command, ("/nowhere/python",)

    os.kill(min(watched.pids()), signal.SIGKILL)
    said = ""
    while "worker_not_started" not in said:
        await asyncio.sleep(0.001)
        said += capsys.readouterr().err
    watched.workers._command = there
    await until(lambda: len(watched.pids()) == 3)

    watched.workers.stop(signal.SIGKILL)
    await watched.end()


async def test_children_that_the_system_kills_are_told_of(
    tmp_path: Path, listening: socket.socket
) -> None:
    script = CHILD + "os.kill(os.getpid(), signal.SIGKILL)"

    with pytest.raises(CannotStartError, match="SIGKILL, as the kernel does when mem"):
        await Watched(script, tmp_path, listening).end()


async def test_what_nobody_foresaw_ends_the_parent_and_is_in_the_log(
    tmp_path: Path, listening: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    watched = Watched(OBEDIENT, tmp_path, listening)
    watched.workers._command = ("embedded\0null",)

    with pytest.raises(CannotStartError, match="the log says where"):
        await watched.end()
    assert '"exception":"ValueError"' in capsys.readouterr().err


async def test_a_child_that_never_serves_is_not_waited_for_for_ever(
    tmp_path: Path,
    listening: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "START_SECONDS", 0.3)
    watched = Watched(CHILD + "time.sleep(60)", tmp_path, listening, count=1)

    with pytest.raises(CannotStartError, match=r"did not serve within 0\.3 seconds"):
        await watched.end()
    assert capsys.readouterr().err.count("imagegate.worker_late") == module.ATTEMPTS


async def test_a_child_that_does_not_end_is_killed_after_its_grace(
    tmp_path: Path, listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_SECONDS", 0.1)
    watched = Watched(STUBBORN, tmp_path, listening, grace=0.1)
    await watched.serve()

    watched.workers.stop(signal.SIGTERM)

    assert await watched.end() is False
    assert all(map(gone, watched.pids()))


async def test_who_is_told_to_stop_while_children_start_stops(
    tmp_path: Path, listening: socket.socket
) -> None:
    watched = Watched(CHILD + "time.sleep(60)", tmp_path, listening)
    await until(lambda: len(watched.workers._children) == 2)

    watched.workers.stop(signal.SIGTERM)

    assert await watched.end() is True


async def test_who_was_told_to_stop_before_there_were_children_stops(
    tmp_path: Path, listening: socket.socket
) -> None:
    with held_back():
        signal.raise_signal(signal.SIGTERM)
        watched = Watched(CHILD + "time.sleep(60)", tmp_path, listening)

        assert await watched.end() is True


async def test_a_child_that_only_starts_is_spared_an_interrupt(
    tmp_path: Path, listening: socket.socket, capfd: pytest.CaptureFixture[str]
) -> None:
    watched = Watched(CHILD + "note(); time.sleep(60)", tmp_path, listening)
    await until(lambda: len(watched.pids()) == 2)

    watched.workers.stop(signal.SIGINT)

    assert await watched.end() is True
    assert "KeyboardInterrupt" not in capfd.readouterr().err


async def test_who_is_told_to_stop_between_two_children_stops(
    tmp_path: Path, listening: socket.socket
) -> None:
    watched = Watched(CHILD + "sys.exit(3)", tmp_path, listening, count=1)
    watched.workers._pause = 60
    await until(lambda: bool(watched.workers._children))
    await until(lambda: not watched.workers._children)

    watched.workers.stop(signal.SIGTERM)

    assert await watched.end() is True


async def test_who_is_told_to_stop_in_the_moment_of_a_start_stops(
    tmp_path: Path, listening: socket.socket
) -> None:
    watched = Watched(CHILD + "time.sleep(60)", tmp_path, listening, count=1)

    # Before the program is even there.
    asyncio.get_running_loop().call_soon(watched.workers.stop, signal.SIGTERM)

    assert await watched.end() is True


async def test_a_child_that_served_long_is_replaced_as_soon_as_the_first_time(
    tmp_path: Path,
    listening: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "STABLE_SECONDS", 0)
    watched = Watched(OBEDIENT, tmp_path, listening, count=1)
    await watched.serve()

    for number in (1, 2, 3):
        await until(lambda: len(watched.pids()) == number)  # noqa: B023 - called here
        [child] = watched.workers._children
        child.signal(signal.SIGKILL)
    await until(lambda: len(watched.pids()) == 4)
    watched.workers.stop(signal.SIGTERM)
    await watched.end()

    assert capsys.readouterr().err.count('"again_in":0.01') == 3


# -- children that hang ---------------------------------------------------------------


HURRY = 0.03


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", HURRY)


@pytest.mark.usefixtures("hurried")
async def test_a_child_that_is_stopped_is_killed_and_replaced(
    tmp_path: Path, listening: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    watched = Watched(TURNING, tmp_path, listening)
    await watched.serve()
    victim = min(watched.pids())

    os.kill(victim, signal.SIGSTOP)
    await until(lambda: len(watched.pids()) == 3)
    await until(watched.all_are_there)
    watched.workers.stop(signal.SIGTERM)
    await watched.end()

    said = capsys.readouterr().err
    assert said.count(f'"imagegate.worker_hung","pid":{victim}') == 1
    assert said.count("worker_hung") == 1
    assert f'"imagegate.worker_died","pid":{victim},"signal":"SIGKILL"' in said


@pytest.mark.usefixtures("hurried")
async def test_a_child_that_answers_and_does_not_turn_is_replaced(
    tmp_path: Path, listening: socket.socket
) -> None:
    """What takes news is no loop, and takes them while that hangs."""
    watched = Watched(TURNING, tmp_path, listening, count=1)
    await watched.serve()
    [first] = watched.pids()

    assert await watched.workers.tell(b"hang") is True
    while not gone(first):
        await watched.workers.tell(b"hang")
    watched.workers.stop(signal.SIGTERM)

    await watched.end()


@pytest.mark.usefixtures("hurried")
async def test_children_that_turn_have_what_they_are_told_and_are_left_alone(
    tmp_path: Path, listening: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    watched = Watched(TURNING, tmp_path, listening)
    await watched.serve()
    children = watched.pids()

    for number in range(200):  # more than enough looks
        assert await watched.workers.tell(str(number).encode()) is True
        await asyncio.sleep(0.01)

    assert watched.news() == ["199", "199"]
    assert watched.pids() == children
    assert "worker_hung" not in capsys.readouterr().err
    watched.workers.stop(signal.SIGTERM)
    await watched.end()


@pytest.mark.usefixtures("hurried")
async def test_children_that_were_stopped_with_their_parent_are_left_alone(
    tmp_path: Path, listening: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    """As by a machine that sleeps, or a debugger of all of them."""
    watched = Watched(TURNING, tmp_path, listening)
    await watched.serve()
    children = watched.pids()

    for child in children:
        os.kill(child, signal.SIGSTOP)
    await asyncio.sleep(0.1)  # what they have said is heard
    time.sleep(1.2 * HUNG_BEATS * HURRY)  # noqa: ASYNC251 - held up
    await asyncio.sleep(0.05)  # who comes first does not matter
    for child in children:
        os.kill(child, signal.SIGCONT)
    await watched.workers.tell(b"second")
    await asyncio.sleep(0.1)  # and whoever were killed would be gone

    assert not any(map(gone, children))
    assert "worker_hung" not in capsys.readouterr().err
    watched.workers.stop(signal.SIGTERM)
    await watched.end()


# -- news -----------------------------------------------------------------------------


async def test_news_reach_every_child_and_it_is_known_that_they_did(
    tmp_path: Path, listening: socket.socket
) -> None:
    watched = Watched(OBEDIENT, tmp_path, listening)
    await watched.serve()
    before = watched.news()

    told = await watched.workers.tell(b"second")

    assert before == ["first", "first"]
    assert told is True
    assert watched.news() == ["second", "second"]
    watched.workers.stop(signal.SIGTERM)
    watched.workers.stop(signal.SIGTERM)  # who is impatient
    await watched.end()


async def test_a_child_that_replaces_another_begins_with_what_the_others_have(
    tmp_path: Path, listening: socket.socket
) -> None:
    watched = Watched(OBEDIENT, tmp_path, listening)
    await watched.serve()
    await watched.workers.tell(b"second")

    os.kill(min(watched.pids()), signal.SIGKILL)
    await until(lambda: len(watched.pids()) == 3)
    await until(watched.all_are_there)

    assert watched.news() == ["second", "second"]
    watched.workers.stop(signal.SIGTERM)
    await watched.end()


async def test_news_that_come_while_a_child_is_killed_reach_who_replaces_it(
    tmp_path: Path, listening: socket.socket
) -> None:
    watched = Watched(OBEDIENT, tmp_path, listening)
    await watched.serve()

    for number in range(20):
        if number % 5 == 0:
            await until(watched.all_are_there)
            next(iter(watched.workers._children)).signal(signal.SIGKILL)
        assert await watched.workers.tell(str(number).encode())
    await until(watched.all_are_there)

    assert watched.news() == ["19", "19"]
    watched.workers.stop(signal.SIGTERM)
    await watched.end()


async def test_a_child_that_does_not_take_news_is_named(
    tmp_path: Path,
    listening: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "LATE_SECONDS", 0.3)
    watched = Watched(OBEDIENT, tmp_path, listening)
    await watched.serve()
    victim = min(watched.pids())
    os.kill(victim, signal.SIGSTOP)

    told = await watched.workers.tell(b"second")
    more = [await watched.workers.tell(b"third %d" % n) for n in range(3)]
    os.kill(victim, signal.SIGCONT)

    assert [told, *more] == [False] * 4
    await until(lambda: watched.news() == ["third 2"] * 2)
    assert f'"imagegate.worker_behind","pid":{victim}' in capsys.readouterr().err
    watched.workers.stop(signal.SIGTERM)
    await watched.end()


async def test_a_child_that_cannot_use_news_is_behind_until_the_next(
    tmp_path: Path, listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LATE_SECONDS", 0.3)
    watched = Watched(OBEDIENT, tmp_path, listening)
    await watched.serve()

    assert await watched.workers.tell(b"bad") is False
    assert await watched.workers.tell(b"good") is True

    watched.workers.stop(signal.SIGTERM)
    assert await watched.workers.tell(b"late") is True
    await watched.end()


async def test_hang_ups_end_no_child_not_even_one_that_starts(
    tmp_path: Path, listening: socket.socket
) -> None:
    """Whoever sends them to a whole process group means the parent."""
    watched = Watched(OBEDIENT, tmp_path, listening)

    while not watched.all_serve.is_set():
        for child in watched.workers._children:
            child.signal(signal.SIGHUP)
        await asyncio.sleep(0.005)
    first = watched.pids()
    for _ in range(200):
        for child in watched.workers._children:
            child.signal(signal.SIGHUP)
    await watched.workers.tell(b"second")

    assert watched.pids() == first
    watched.workers.stop(signal.SIGTERM)
    await watched.end()
