"""The address of a Redis server, and its password."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagegate.redis_server import check_url, is_installed, read_password


@pytest.mark.parametrize(
    "url",
    ["http://x", "redis://", "localhost:6379", "redis://:secret@host", "unix://"],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected|password"):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    ["redis://h", "redis://user@h:1/2", "rediss://[::1]:6379/0", "unix:///run/r.sock"],
)
def test_an_address_that_is_one_is_fine(url: str) -> None:
    check_url(url)


def test_a_password_is_read_without_the_white_space_around_it(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(" secret\n")
    assert read_password(file) == "secret"
    file.write_text("\n")
    with pytest.raises(ValueError, match="empty"):
        read_password(file)


def test_the_extra_is_there() -> None:
    assert is_installed()
