"""The thread that watches, and the policy that follows its file."""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imagegate.engine.errors import PolicyError
from imagegate.gates import Followed, load_gate
from imagegate.gates.checking import prices_source
from imagegate.gates.watch import News, Watch
from imagegate.gates.watched import Observer, Source, Told, UnusableError

Lines = Callable[[], list[dict[str, Any]]]
POLICY = "version: 1\nname: mine\nowner: o@example.com\nmode: {}\n"
SOON = 10.0


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end, "it never came to be so"
        threading.Event().wait(0.01)


def check(text: bytes) -> Told:
    if text == b"bad":
        raise UnusableError("bad")
    return {"text": text.decode()}


class Listener(Observer):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def asked(self) -> None:
        self.heard.append("asked")

    def answered(self) -> None:
        self.heard.append("answered")

    def loaded(self, name: str, told: Told) -> None:
        self.heard.append(f"{name} {told['text']}")

    def failed(self, name: str) -> None:
        self.heard.append(f"{name} failed")


class Two:
    """Two files, and what is told of them."""

    def __init__(self, folder: Path) -> None:
        self.files = {name: folder / name for name in ("one", "two")}
        for file in self.files.values():
            file.write_text("first")
        self.news: list[News] = []
        self.failing = 0
        self.listener = Listener()
        self.bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.watch = Watch(
            {name: Source(file=file, check=check) for name, file in self.files.items()},
            {"one": b"first", "two": b"first", "fixed": b"as ever"},
            self.take,
            observer=self.listener,
            every=0.05,
            bell=self.bell,
        )

    def take(self, news: News) -> None:
        if self.failing:
            self.failing -= 1
            raise RuntimeError
        self.news.append(news)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    made = Two(tmp_path)
    with made.watch:
        yield made


def test_what_changed_together_is_handed_on_together(two: Two) -> None:
    for file in two.files.values():
        file.write_text("second")
    until(lambda: bool(two.news))

    texts = {"one": b"second", "two": b"second", "fixed": b"as ever"}
    assert two.news == [News(texts=texts)]


def test_a_file_that_is_at_rest_waits_for_one_that_is_being_written(two: Two) -> None:
    two.files["one"].write_text("second")
    until(lambda: two.watch._watched["one"].waiting)
    threading.Event().wait(0.1)
    two.files["two"].write_text("second")
    until(lambda: bool(two.news))

    texts = {"one": b"second", "two": b"second", "fixed": b"as ever"}
    assert two.news == [News(texts=texts)]


def test_one_that_cannot_be_used_keeps_no_other_back(two: Two) -> None:
    two.files["one"].write_text("bad")
    two.files["two"].write_text("second")
    until(lambda: bool(two.news))

    texts = {"one": b"first", "two": b"second", "fixed": b"as ever"}
    assert two.news == [News(texts=texts, stale=("one",))]

    two.files["one"].write_text("first")
    until(lambda: len(two.news) == 2)
    assert two.news[1] == News(texts=texts)


def test_whoever_asks_gets_an_answer_when_all_is_done(two: Two) -> None:
    two.files["one"].write_text("second")
    two.watch.look_now()
    until(lambda: "answered" in two.listener.heard)

    assert two.listener.heard == ["asked", "one second", "answered"]
    assert len(two.news) == 1


def test_many_who_ask_at_once_get_one_look(two: Two, told: Lines) -> None:
    for _ in range(5_000):
        two.bell.put(None)
    until(lambda: "answered" in two.listener.heard)

    assert two.listener.heard == ["asked", "answered"]
    assert [line["event"] for line in told()] == ["imagegate.unchanged"] * 2


def test_a_signal_may_ask_in_the_middle_of_another(two: Two) -> None:
    before = signal.signal(signal.SIGHUP, lambda *_: two.bell.put(None))
    try:
        for _ in range(2_000):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    two.files["one"].write_text("second")

    until(lambda: bool(two.news))


def test_what_could_not_be_put_in_force_is_tried_again(two: Two, told: Lines) -> None:
    two.failing = 2
    two.files["one"].write_text("second")
    until(lambda: bool(two.news))

    assert two.news[0].texts["one"] == b"second"
    failed = [line for line in told() if line["event"] == "imagegate.unexpected"]
    assert [line["exception"] for line in failed] == ["RuntimeError"] * 2


def test_it_ends_at_once(tmp_path: Path) -> None:
    two = Two(tmp_path)
    two.watch._every = 60
    with two.watch:
        began = time.monotonic()

    assert time.monotonic() - began < 1


# -- an embedded policy ---------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "policy.yaml"
    made.write_text(POLICY.format("enforce"))
    return made


def test_a_followed_policy_is_what_its_file_says(file: Path, told: Lines) -> None:
    with Followed(file, candidate="standard", every=0.05) as gates:
        first = gates.current
        assert first.gate.digest == load_gate(file).digest
        assert first.candidate is not None

        file.write_text(POLICY.format("observe"))
        until(lambda: gates.current is not first)
        second = gates.current
        file.write_text(POLICY.format("on"))
        until(lambda: bool(gates.stale))

        assert second.gate.policy.mode == "observe"
        assert gates.current is second
        assert gates.stale == ("policy",)
        file.write_text(POLICY.format("enforce"))
        gates.look_now()
        until(lambda: not gates.stale)
        assert gates.current.gate.digest == first.gate.digest
    [failed] = [x for x in told() if x["event"] == "imagegate.reload_failed"]
    [problem] = failed["problems"]
    assert problem == (
        f"{file}:4:7: error [implicit-value] mode: found 'on': YAML reads this as true "
        "or false; known here: `enforce`, `observe`"
    )


def test_outside_it_is_what_it_was(file: Path) -> None:
    gates = Followed(file)
    gates.look_now()
    gates.__exit__(None, None, None)
    with gates:
        pass
    file.write_text(POLICY.format("observe"))

    assert gates.current.gate.policy.mode == "enforce"
    with gates:  # and from there on it follows again
        until(lambda: gates.current.gate.policy.mode == "observe")


def test_a_policy_that_cannot_be_used_is_no_beginning(file: Path) -> None:
    file.write_text("version: 1\n")

    with pytest.raises(PolicyError):
        Followed(file)


def test_a_price_table_is_checked_as_at_the_start(tmp_path: Path) -> None:
    source = prices_source(tmp_path / "prices.toml")
    shipped = Path(__file__).parents[2] / "proxy/imagegate/prices.toml"

    assert source.check(shipped.read_bytes()) == {"prices": "2026-11-21"}
    with pytest.raises(UnusableError) as raised:
        source.check(b"currency = 1\n")
    assert raised.value.problems[0].startswith(f"{tmp_path}/prices.toml: ")
