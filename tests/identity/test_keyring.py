from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from keyed import given_out, keys_of, write_keys

from imagegate.identity import KeyFile, KeyRing, KeysError

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def names(ring: KeyRing) -> list[str]:
    return [key.name for key in (await ring.keys()).all]


async def test_keys_are_swapped() -> None:
    ring = KeyRing(keys_of(given_out("one")[1]))
    before = await ring.keys()

    ring.swap(keys_of(given_out("two")[1]))

    assert [key.name for key in before.all] == ["one"]
    assert await names(ring) == ["two"]


async def test_a_file_is_looked_at_once_a_second(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys", Clock()
    write_keys(file, given_out("one")[1])
    ring = KeyFile(file, clock=clock)

    write_keys(file, given_out("two")[1])
    clock.now += 0.9
    assert await names(ring) == ["one"]
    clock.now += 0.1
    assert await names(ring) == ["two"]


async def test_a_file_of_which_the_time_says_nothing_is_read_again(
    tmp_path: Path,
) -> None:
    """Two writings within the grain of the clock have the same time and size."""
    file, clock = tmp_path / "keys", Clock()
    write_keys(file, given_out("one")[1])
    ring = KeyFile(file, clock=clock)
    stat = file.stat()

    file.write_bytes(file.read_bytes().replace(b"one", b"two"))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    clock.now += 1

    assert await names(ring) == ["two"]


async def test_a_file_that_has_not_changed_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagegate.named_file.SETTLED", -1)
    file, clock = tmp_path / "keys", Clock()
    write_keys(file, given_out("one")[1])
    ring = KeyFile(file, clock=clock)
    monkeypatch.setattr("imagegate.identity.keyring.read_keys", None)

    clock.now += 1

    assert await names(ring) == ["one"]


async def test_a_file_that_is_wrong_or_gone_leaves_the_keys_and_says_so_once(
    tmp_path: Path, capsys: Any
) -> None:
    file, clock = tmp_path / "keys", Clock()
    write_keys(file, given_out("one")[1])
    ring = KeyFile(file, clock=clock)

    async def later() -> list[str]:
        clock.now += 1
        return await names(ring)

    file.write_text("not keys")
    assert [await later(), await later()] == [["one"], ["one"]]
    file.chmod(0o666)
    assert await later() == ["one"]
    file.unlink()
    assert await later() == ["one"]
    write_keys(file, given_out("two")[1])
    assert [await later(), await later()] == [["two"], ["two"]]

    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in said] == [
        "imagegate.keys_not_loaded",
        "imagegate.keys_not_loaded",
        "imagegate.keys_not_loaded",
        "imagegate.keys_loaded",
    ]
    assert {line["file"] for line in said[:3]} == {str(file)}
    assert [line["problem"][:6] for line in said[:3]] == [
        "line 1",
        "it is ",
        "No suc",
    ]


async def test_a_gateway_does_not_start_without_its_keys(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        KeyFile(tmp_path / "keys")
    (tmp_path / "keys").touch(0o600)
    with pytest.raises(KeysError):
        KeyFile(tmp_path / "keys")
