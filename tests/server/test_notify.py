from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagegate.server.notify import Notify


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def heard(manager: socket.socket) -> dict[str, str]:
    lines = manager.recv(4096).decode().split("\n")
    return dict(line.split("=", 1) for line in lines)


def test_a_manager_is_told_how_it_goes(manager: socket.socket) -> None:
    notify = Notify({"NOTIFY_SOCKET": manager.getsockname()})

    notify.ready("policy standard abc")
    assert heard(manager) == {"READY": "1", "STATUS": "policy standard abc"}
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify.reloading()
    told = heard(manager)
    assert told.pop("RELOADING") == "1"
    assert before <= int(told.pop("MONOTONIC_USEC")) <= before + 5_000_000
    assert told == {}
    notify.ready()
    assert heard(manager) == {"READY": "1"}
    notify.status("policy loud def")
    assert heard(manager) == {"STATUS": "policy loud def"}
    notify.stopping()
    assert heard(manager) == {"STOPPING": "1"}


def test_an_address_that_is_no_file_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0imagegate-{os.getpid()}")
        listening.settimeout(5)

        Notify({"NOTIFY_SOCKET": f"@imagegate-{os.getpid()}"}).ready()

        assert heard(listening) == {"READY": "1"}


def test_it_says_that_it_lives_twice_in_the_time_in_which_it_has_to(
    manager: socket.socket,
) -> None:
    environ = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "200000"}
    notify = Notify({**environ, "WATCHDOG_PID": str(os.getpid())})
    manager.settimeout(0.05)

    for _ in range(10):
        notify.beat()
    assert heard(manager) == {"WATCHDOG": "1"}
    with pytest.raises(TimeoutError):
        manager.recv(1)
    while time.monotonic() - notify._beat < 0.1:
        notify.beat()
    notify.beat()
    assert heard(manager) == {"WATCHDOG": "1"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "0"},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "soon"},
        {
            "NOTIFY_SOCKET": "/nowhere/at/all",
            "WATCHDOG_USEC": "1000000",
            "WATCHDOG_PID": "1",
        },
    ],
)
def test_where_nobody_listens_nothing_happens(environ: dict[str, str]) -> None:
    notify = Notify(environ)

    notify.ready("x")
    notify.beat()

    assert notify.watchdog_seconds is None


def test_children_have_nothing_to_tell() -> None:
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1", "HOME": "/"}

    notify = Notify.taken_from(environ)

    assert environ == {"HOME": "/"}
    assert notify.watchdog_seconds == 0.000001
