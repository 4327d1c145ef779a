"""One file: whole lines or none, and an account of what could not be taken back."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from journals import chattr, files_up_to, hidden, is_open

from imagegate.audit.logfile import LogFile, PartlyWrittenError

NAME = "20261121T000000.000000Z-0123456789abcdef.jsonl"
LINES = [b"1" * 9 + b"\n", b"2" * 19 + b"\n", b"3" * 4 + b"\n"]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    opened = LogFile.create(tmp_path / NAME)
    yield opened
    chattr("-a", opened.path)
    opened.close()


def test_a_file_is_locked_before_anybody_sees_it(tmp_path: Path) -> None:
    opened = LogFile.create(tmp_path / NAME)

    assert LogFile.claim(tmp_path / NAME) is None
    assert hidden(tmp_path) == []
    opened.close()
    claimed = LogFile.claim(tmp_path / NAME)
    assert claimed is not None
    claimed.close()


def test_a_file_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"something")

    with pytest.raises(FileExistsError):
        LogFile.create(tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == b"something"
    assert hidden(tmp_path) == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "else").write_bytes(b"something")
    (tmp_path / NAME).symlink_to(tmp_path / "else")

    with pytest.raises(OSError, match="symbolic links"):
        LogFile.claim(tmp_path / NAME)


def test_a_file_that_went_is_not_claimed(tmp_path: Path) -> None:
    assert LogFile.claim(tmp_path / NAME) is None


def test_a_file_that_went_while_it_was_waited_for_is_not_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAME).touch()
    lock = fcntl.flock

    def compressed_meanwhile(fd: int, how: int) -> None:
        lock(fd, how)
        (tmp_path / NAME).unlink()

    monkeypatch.setattr(fcntl, "flock", compressed_meanwhile)

    assert LogFile.claim(tmp_path / NAME) is None


def test_what_was_discarded_is_gone(file: LogFile) -> None:
    fd = file.fd
    file.discard()

    assert not file.path.exists()
    assert not is_open(fd)


def test_lines_are_appended_all_or_none(file: LogFile) -> None:
    file.append(LINES)
    with files_up_to(file.size + 15), pytest.raises(OSError, match="too large"):
        file.append(LINES)

    assert file.path.read_bytes() == b"".join(LINES)
    assert file.torn.size == 0


@pytest.mark.parametrize("first", range(0, 36, 2))
@pytest.mark.parametrize("second", [0, 1, 2, 11, 30])
def test_what_cannot_be_taken_back_is_accounted_for(
    file: LogFile, first: int, second: int
) -> None:
    file.append([b"0\n"])
    if chattr("+a", file.path):
        pytest.skip("files cannot be made append-only here")
    kept = [*first_lines(file, 2 + first), *first_lines(file, 2 + first + second)]
    torn, digest, state = file.torn.size, file.torn.hash, file.state()
    file.mend()
    file.append([b"9\n"])

    data = file.path.read_bytes()
    assert state == "ours"
    assert file.size == len(data)
    whole = [b"0\n", *kept, b"9\n"]
    found = [line for line in data.splitlines(keepends=True) if line in whole]
    rest = data
    for line in whole:
        rest = rest.replace(line, b"", 1)
    rest = rest.removesuffix(b"\n")
    assert [line for line in found if line != b"\n"] == whole
    if not kept or torn:
        assert (torn, digest) == (len(rest), sha256(rest).hexdigest() if rest else None)


def first_lines(file: LogFile, limit: int) -> list[bytes]:
    """Append up to a limit, and return the lines that stayed."""
    with files_up_to(limit):
        try:
            file.append(LINES)
        except PartlyWrittenError as error:
            return LINES[: error.lines]
        except OSError:
            return []
    return LINES


def test_a_file_that_was_not_synced_is_not_trusted_again(
    file: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error", str(fd))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(OSError, match="Input/output"):
            file.sync()

    with pytest.raises(OSError, match="Input/output"):
        file.sync()
