"""Descriptors: as many as there may be, and clients for half of them."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from imagegate.server.descriptors import OTHERS, ask_for, carried, needed
from imagegate.server.listener import CannotListenError

FILES = resource.RLIMIT_NOFILE


@pytest.fixture(autouse=True)
def most() -> Iterator[int]:
    """Begin with few of those that there may be."""
    before = resource.getrlimit(FILES)
    resource.setrlimit(FILES, (512, before[1]))
    yield before[1]
    resource.setrlimit(FILES, before)


def test_a_process_asks_for_what_its_clients_take() -> None:
    ask_for(250)

    assert resource.getrlimit(FILES)[0] == needed(250) == 660
    assert carried(250) == 250


def test_it_takes_all_that_there_may_be_and_no_more(most: int) -> None:
    ask_for(1 << 40)

    assert resource.getrlimit(FILES) == (most, most)
    assert carried(1 << 40) == (most - OTHERS) // 2


def test_what_is_granted_already_is_left() -> None:
    ask_for(100)

    assert resource.getrlimit(FILES)[0] == 512


def test_a_kernel_that_grants_less_than_it_says_is_lived_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    with monkeypatch.context() as patch:
        patch.setattr(resource, "setrlimit", refuse)
        ask_for(250)

    assert carried(250) == (512 - OTHERS) // 2


def test_where_there_is_no_limit_all_are_carried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endless = resource.RLIM_INFINITY, resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda _: endless)
    ask_for(1 << 40)

    assert carried(1 << 40) == 1 << 40


def test_a_limit_that_leaves_room_for_nobody_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    with pytest.raises(CannotListenError, match="64 descriptors"):
        ask_for(10_000)
