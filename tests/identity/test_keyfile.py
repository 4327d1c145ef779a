from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from keyed import given_out, key_of, write_keys

from imagegate.identity import Keys, KeysError, keyfile
from imagegate.identity.keyfile import BusyError, change_keys, read_keys
from imagegate.identity.secret import mint


def adding(name: str) -> Callable[[Keys], Keys]:
    return lambda keys: Keys(keys.hash_key, [*keys.all, key_of(mint(), name)])


def names(file: Path) -> list[str]:
    return [key.name for key in read_keys(file).all]


def test_the_first_change_makes_the_file_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys.jsonl"

    change_keys(file, adding("one"))
    change_keys(file, adding("two"))

    assert names(file) == ["one", "two"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_each_file_has_a_hash_key_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        change_keys(tmp_path / name, adding("one"))

    first, second = (read_keys(tmp_path / name).hash_key for name in ("a", "b"))
    assert first != second


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_file_that_nobody_else_can_write_is_read(tmp_path: Path, mode: int) -> None:
    assert not read_keys(write_keys(tmp_path / "keys", mode=mode)).all


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o660, 0o620, 0o700 | 0o010])
def test_a_file_that_others_can_write_or_read_is_refused(
    tmp_path: Path, mode: int
) -> None:
    file = write_keys(tmp_path / "keys", mode=mode)

    with pytest.raises(KeysError, match="chmod"):
        read_keys(file)
    with pytest.raises(KeysError, match="chmod"):
        change_keys(file, adding("one"))


def test_another_users_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_keys(tmp_path / "keys")
    owner = file.stat().st_uid

    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner == 0:
        read_keys(file)  # root's is everybody's
        os.chown(file, 4711, -1)
    with pytest.raises(KeysError, match="another user"):
        read_keys(file)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    read_keys(file)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="no regular file"):
        read_keys(Path(os.devnull))
    with pytest.raises(OSError, match="irectory"):
        read_keys(tmp_path)


def test_mode_and_owner_stay_what_they_were(tmp_path: Path) -> None:
    """A gateway that reads the file by its group goes on reading it."""
    file = write_keys(tmp_path / "keys", mode=0o640)
    if os.geteuid() == 0:
        os.chown(file, -1, 4711)
    before = file.stat()

    change_keys(file, adding("one"))

    after = file.stat()
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino


def test_a_link_stays_one(tmp_path: Path) -> None:
    file = write_keys(tmp_path / "there")
    link = tmp_path / "link"
    link.symlink_to(file)

    change_keys(link, adding("one"))

    assert link.is_symlink()
    assert names(file) == ["one"]


def test_a_change_that_fails_leaves_the_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_keys(tmp_path / "keys", given_out("one")[1])
    before = file.read_bytes()

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, f"{fd} is full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        change_keys(file, adding("two"))

    assert file.read_bytes() == before
    assert {each.name for each in tmp_path.iterdir()} == {"keys", ".keys.lock"}


def test_it_is_synced_before_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_keys(tmp_path / "keys")
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def syncing(fd: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"
        done.append(f"sync {kind}")
        fsync(fd)

    def renaming(old: str, new: Path) -> None:
        done.append("rename")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(os, "replace", renaming)
    change_keys(file, adding("one"))

    assert done == ["sync file", "rename", "sync directory"]


def test_who_finds_the_file_locked_waits_and_then_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyfile, "_LOCK_SECONDS", 0.1)
    file = tmp_path / "keys"
    change_keys(file, adding("one"))

    with (tmp_path / ".keys.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BusyError):
            change_keys(file, adding("two"))
    change_keys(file, adding("three"))

    assert names(file) == ["one", "three"]


ADMINISTRATOR = """
    import sys
    from pathlib import Path
    from keyed import key_of
    from imagegate.identity import Keys
    from imagegate.identity.keyfile import change_keys
    from imagegate.identity.secret import mint

    file, who = Path(sys.argv[1]), sys.argv[2]
    for number in range(20):
        key = key_of(mint(), f"{who}-{number}")
        change_keys(file, lambda keys: Keys(keys.hash_key, [*keys.all, key]))
"""


def test_administrators_do_not_lose_each_others_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    program = textwrap.dedent(ADMINISTRATOR)
    support = Path(__file__).parents[1] / "support"

    at_work = [
        subprocess.Popen(
            [sys.executable, "-c", program, file, who],
            env={**os.environ, "PYTHONPATH": str(support)},
        )
        for who in "abc"
    ]

    assert [each.wait(60) for each in at_work] == [0, 0, 0]
    assert sorted(names(file)) == sorted(f"{w}-{n}" for w in "abc" for n in range(20))
