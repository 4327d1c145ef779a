"""One file, looked at again and again, whatever befalls it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.gates import watched as module
from imagegate.gates.watched import Observer, Source, Told, UnusableError, Watched

Lines = Callable[[], list[dict[str, Any]]]
GOOD, OTHER, BAD = b"good 1\n", b"good 2\n", b"bad\n"


class Clock:
    """What time it is, for the module."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Counts(Observer):
    def __init__(self) -> None:
        self.taken: list[str] = []
        self.refused = 0

    def loaded(self, name: str, told: Told) -> None:
        self.taken.append(f"{name} {told['text']}")

    def failed(self, name: str) -> None:
        assert name == "policy"
        self.refused += 1


def check(text: bytes) -> Told:
    if not text.startswith(b"good"):
        raise UnusableError("p:1:1: error", *["more"] * 24)
    return {"text": text.decode().strip()}


class Subject:
    """A file, and who watches it."""

    def __init__(self, file: Path, clock: Clock, **more: Any) -> None:
        self.file = file
        self.clock = clock
        self.counts = Counts()
        self.watched = Watched(
            "policy", Source(file=file, check=check, **more), file.read_bytes()
        )
        self.looks()

    def look(self, seconds: float = 0.1) -> bool:
        self.clock.now += seconds
        return self.watched.moved(self.counts)

    def looks(self) -> bool:
        """Look until nothing is waited for; tell whether anything moved."""
        moved = self.look()
        for _ in range(100):
            if not self.watched.waiting:
                return moved
            moved |= self.look()
        raise AssertionError("it never comes to rest")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def subject(tmp_path: Path, clock: Clock) -> Subject:
    file = tmp_path / "policy.yaml"
    file.write_bytes(GOOD)
    return Subject(file, clock)


def test_what_did_not_change_is_not_told(subject: Subject, told: Lines) -> None:
    os.utime(subject.file)

    assert subject.looks() is False
    assert (subject.counts.taken, told()) == ([], [])


def test_a_file_that_is_written_in_place_is_taken(
    subject: Subject, told: Lines
) -> None:
    subject.file.write_bytes(OTHER)

    assert subject.looks() is True
    assert subject.watched.text == OTHER
    assert subject.counts.taken == ["policy good 2"]
    assert told() == [
        {
            "level": "info",
            "event": "imagegate.reloaded",
            "what": "policy",
            "file": str(subject.file),
            "text": "good 2",
        }
    ]


def test_a_file_that_is_renamed_over_it_is_taken(subject: Subject) -> None:
    """Of the same length and the same time, as `cp -p` leaves it."""
    beside = subject.file.with_suffix(".new")
    beside.write_bytes(OTHER)
    before = subject.file.stat()
    os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))
    beside.rename(subject.file)

    assert subject.looks() is True
    assert subject.watched.text == OTHER


def test_a_link_that_is_turned_as_kubernetes_turns_it_is_seen(
    tmp_path: Path, clock: Clock
) -> None:
    for number, text in enumerate((GOOD, OTHER)):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "policy.yaml").write_bytes(text)
    (tmp_path / "..data").symlink_to("..0")
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    subject = Subject(tmp_path / "policy.yaml", clock)

    (tmp_path / "..data_tmp").symlink_to("..1")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    assert subject.looks() is True
    assert subject.watched.text == OTHER


def test_a_file_is_not_read_before_it_keeps_still(subject: Subject) -> None:
    """Half of it could be used, and means something else."""
    with subject.file.open("wb", buffering=0) as writing:
        for piece in (b"good", b" 1 and", b" 2", b"\n"):
            assert subject.look() is False
            writing.write(piece)
    assert subject.look() is False

    assert subject.looks() is True
    assert subject.watched.text == b"good 1 and 2\n"
    assert subject.counts.taken == ["policy good 1 and 2"]


def test_a_file_that_never_keeps_still_is_read_after_all(subject: Subject) -> None:
    for number in range(200):
        subject.file.write_bytes(b"good %d\n" % number)
        subject.look()

    # Every five seconds of these twenty.
    assert 3 <= len(subject.counts.taken) <= 4


def test_a_file_that_moves_while_it_is_read_is_read_again(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, swaps = os.fstat, [OTHER, b"good 3\n"]

    def fstat(descriptor: int) -> os.stat_result:
        if swaps:
            subject.file.write_bytes(swaps.pop())
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", fstat)
    subject.watched.ask()

    assert subject.looks() is True
    assert swaps == []
    assert subject.counts.taken == ["policy good 2"]


def test_what_cannot_be_used_leaves_what_held_and_is_told_once(
    subject: Subject, told: Lines
) -> None:
    subject.file.write_bytes(BAD)
    moved = subject.looks()
    os.utime(subject.file)
    again = subject.looks()

    assert (moved, again) == (True, False)
    assert subject.watched.text == GOOD
    assert subject.watched.problems
    assert subject.counts.refused == 1
    assert told() == [
        {
            "level": "error",
            "event": "imagegate.reload_failed",
            "what": "policy",
            "file": str(subject.file),
            "problems": ["p:1:1: error", *["more"] * 19],
            "problems_count": 25,
        }
    ]


def test_whoever_asks_is_answered_whether_there_is_something_new_or_not(
    subject: Subject, told: Lines
) -> None:
    subject.watched.ask()
    subject.looks()
    subject.file.write_bytes(BAD)
    subject.looks()
    subject.watched.ask()
    subject.looks()

    events = [each["event"].removeprefix("imagegate.") for each in told()]
    assert events == ["unchanged", "reload_failed", "reload_failed"]


def test_what_is_mended_is_told_to_be(subject: Subject, told: Lines) -> None:
    subject.file.write_bytes(BAD)
    subject.looks()
    subject.file.write_bytes(GOOD)

    assert subject.looks() is True
    assert subject.watched.problems == ()
    assert told()[-1]["event"] == "imagegate.usable_again"

    subject.file.write_bytes(BAD)  # the same as before is told again
    assert subject.looks() is True
    assert subject.counts.refused == 2


def test_a_file_that_vanishes_leaves_what_held(subject: Subject, told: Lines) -> None:
    subject.file.unlink()
    assert subject.looks() is True
    assert subject.watched.text == GOOD
    [line] = told()
    assert line["problems"] == [f"{subject.file}: No such file or directory"]

    subject.file.write_bytes(OTHER)
    assert subject.looks() is True
    assert (subject.watched.text, subject.watched.problems) == (OTHER, ())


def test_a_file_that_is_mounted_alone_and_replaced_outside_is_told(
    tmp_path: Path, clock: Clock, told: Lines
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(GOOD)
    with outside.open("rb") as held:  # leads to the file itself, as such a mount does
        subject = Subject(Path(f"/proc/self/fd/{held.fileno()}"), clock)
        assert subject.watched.problems == ()
        tmp_path.joinpath("new").write_bytes(OTHER)
        tmp_path.joinpath("new").rename(outside)

        assert subject.looks() is True
        assert subject.watched.text == GOOD
        [line] = told()
        assert "mount its folder" in line["problems"][0]
        assert subject.looks() is False


def test_a_file_that_never_had_a_name_is_as_good_as_another(
    tmp_path: Path, clock: Clock, told: Lines
) -> None:
    file = tmp_path / "here-document"
    file.write_bytes(GOOD)
    with file.open("rb") as held:
        file.unlink()
        subject = Subject(Path(f"/proc/self/fd/{held.fileno()}"), clock)

        assert subject.watched.problems == ()
        assert told() == []


def test_a_file_that_is_replaced_while_it_is_opened_is_not_complained_of(
    subject: Subject, told: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(path: str, flags: int) -> int:
        descriptor = os.open(path, flags)
        new = subject.file.with_suffix(".new")
        new.write_bytes(OTHER)
        new.rename(subject.file)
        monkeypatch.undo()
        return descriptor

    now = subject.clock
    monkeypatch.setattr(module, "open_at_once", opened)
    subject.watched.ask()
    subject.look()
    monkeypatch.setattr(module, "time", now)

    assert subject.looks() is True
    assert [line["event"] for line in told()] == ["imagegate.reloaded"]


def test_an_editor_that_takes_the_file_away_for_a_moment_is_not_complained_of(
    subject: Subject, told: Lines
) -> None:
    subject.file.rename(subject.file.with_suffix(".bak"))
    subject.look()
    subject.file.write_bytes(OTHER)

    assert subject.looks() is True
    assert [line["event"] for line in told()] == ["imagegate.reloaded"]


def test_a_folder_in_its_place_is_told_once(subject: Subject, told: Lines) -> None:
    subject.file.unlink()
    subject.file.mkdir()
    subject.looks()
    (subject.file / "more").touch()

    assert subject.looks() is False
    [line] = told()
    assert line["problems"] == [f"{subject.file}: Is a directory"]


def test_a_pipe_in_its_place_is_not_waited_for(subject: Subject) -> None:
    subject.file.unlink()
    os.mkfifo(subject.file)

    assert subject.looks() is True
    assert subject.watched.text == GOOD


def test_who_else_may_write_is_looked_at_before_it_is_read(
    tmp_path: Path, clock: Clock, told: Lines
) -> None:
    file = tmp_path / "keys"
    file.write_bytes(GOOD)

    def admit(found: os.stat_result) -> str | None:
        return "open to others" if found.st_mode & 0o002 else None

    subject = Subject(file, clock, admit=admit)
    file.write_bytes(OTHER)
    file.chmod(0o602)

    assert subject.looks() is True
    assert subject.watched.text == GOOD
    assert told()[-1]["problems"] == ["open to others"]
    file.chmod(0o600)
    subject.looks()
    assert subject.watched.text == OTHER


def test_what_takes_a_restart_is_said_and_not_done(
    tmp_path: Path, clock: Clock, told: Lines
) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes(GOOD)
    subject = Subject(file, clock, live=False)
    file.write_bytes(OTHER)
    subject.looks()

    [line] = told()
    assert (line["level"], line["event"]) == ("warning", "imagegate.restart_needed")
    assert subject.counts.taken == []


@given(
    st.lists(
        st.sampled_from(
            ["good", "other", "bad", "gone", "half", "look", "ask", "rest"]
        ),
        max_size=30,
    )
)
def test_whatever_befalls_it_what_holds_was_once_written_whole_and_good(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """And at rest it is what the file says, or the file is told to be unusable."""
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(module, "time", clock)
        file = tmp_path_factory.mktemp("watched") / "policy.yaml"
        file.write_bytes(GOOD)
        subject = Subject(file, clock)
        texts = {"good": GOOD, "other": OTHER, "bad": BAD, "half": OTHER[:-2]}
        for step in [*steps, "rest"]:
            if step in texts:
                file.write_bytes(texts[step])
            elif step == "gone":
                file.unlink(missing_ok=True)
            elif step == "ask":
                subject.watched.ask()
            elif step == "look":
                subject.look()
            else:
                subject.looks()
            if step == "half":  # who writes it goes on at once
                subject.look(0.01)
                file.write_bytes(OTHER)
            assert subject.watched.text in {GOOD, OTHER}
        says = file.read_bytes() if file.exists() else None
        assert bool(subject.watched.problems) == (says not in {GOOD, OTHER})
        if says in {GOOD, OTHER}:
            assert subject.watched.text == says
