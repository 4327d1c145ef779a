"""Files that an operator names, and what stands in their place."""

from __future__ import annotations

import os
import pty
import threading
from pathlib import Path

import pytest

from imagegate import named_file
from imagegate.cli.app import run
from imagegate.named_file import read_lasting, read_named, writing_of
from imagegate.settings import read_settings

WORDS = {"policy": "standard", "upstreams": ["https://api.openai.com"]}


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a pipe, and little patience."""
    monkeypatch.setattr(named_file, "PIPE_SECONDS", 0.2)
    os.mkfifo(tmp_path / "pipe", 0o600)
    return tmp_path / "pipe"


def test_a_file_is_read_up_to_what_is_wanted(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")

    assert read_named(file, 100) == read_lasting(file) == b"0123456789"
    assert read_named(file, 4) == read_lasting(file, 4) == b"0123"


@pytest.mark.parametrize("after", [b"# new\n[listen]\ngrace = 5\n", b"", b"[x]"])
def test_a_file_that_is_written_meanwhile_is_not_read_half_and_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bytes
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"[listen]\ngrace = 5\n")
    read, texts = os.pread, [after]

    def writing(descriptor: int, size: int, at: int) -> bytes:
        data = read(descriptor, size, at)
        if texts:
            file.write_bytes(texts.pop())
        return data

    monkeypatch.setattr(os, "pread", writing)

    assert read_lasting(file) == read_named(file, 100) == after


def test_a_file_that_never_stands_still_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    read = os.pread

    def writing(descriptor: int, size: int, at: int) -> bytes:
        file.write_bytes(file.read_bytes() + b"x")
        return read(descriptor, size, at)

    monkeypatch.setattr(os, "pread", writing)

    with pytest.raises(OSError, match="changes while it is read"):
        read_lasting(file, 10)


def test_a_pipe_is_read_to_its_end_however_it_comes(pipe: Path) -> None:
    def write() -> None:
        with pipe.open("wb", buffering=0) as into:
            for _ in range(3):
                into.write(b"x" * 100_000)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert read_named(pipe, 1_000_000) == b"x" * 300_000
    finally:
        writer.join()


def test_an_open_pipe_has_a_name_as_in_process_substitution() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"version: 1\n")
    os.close(writing)
    try:
        assert read_named(Path(f"/dev/fd/{reading}"), 100) == b"version: 1\n"
    finally:
        os.close(reading)


def test_a_pipe_that_nobody_writes_into_gets_its_time(pipe: Path) -> None:
    with pytest.raises(TimeoutError, match=r"did not end within 0\.2 seconds"):
        read_named(pipe, 100)


def test_a_pipe_that_does_not_end_gets_its_time(pipe: Path) -> None:
    writing = os.open(pipe, os.O_RDWR)
    os.write(writing, b"half a policy")
    try:
        with pytest.raises(TimeoutError, match="did not end"):
            read_named(pipe, 100)
        assert read_named(Path("/dev/zero"), 100) == bytes(100)
    finally:
        os.close(writing)


def test_who_types_may_take_any_time(pipe: Path) -> None:
    del pipe  # its patience is what is meant
    ours, theirs = pty.openpty()
    typed = threading.Timer(0.5, os.write, (ours, b"version: 1\n\x04"))
    typed.start()
    try:
        assert read_named(Path(os.ttyname(theirs)), 100) == b"version: 1\n"
    finally:
        typed.join()
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("other", ["/dev/zero", "/dev/null"])
def test_what_is_to_last_is_a_regular_file(pipe: Path, other: str) -> None:
    for each in (pipe, Path(other)):
        with pytest.raises(OSError, match="no regular file"):
            read_lasting(each)


def test_a_policy_that_never_comes_is_said(
    pipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", str(pipe)]) == 2
    assert "it is a pipe that did not end within" in capsys.readouterr().err


def test_settings_that_never_come_are_said(pipe: Path) -> None:
    [problem] = read_settings(WORDS, {}, config=str(pipe)).problems

    assert problem.id == "unreadable-file"
    assert "it is a pipe that did not end within" in problem.message


@pytest.mark.parametrize(
    "setting",
    [
        "AUDIT_HASH_KEY",
        "AUDIT_PRICES",
        "IDENTITY_KEYS_FILE",
        "IDENTITY_JWT_JWKS_FILE",
        "POOL_AUTHORITIES",
        "POOL_PROXY_LOGIN",
        "QUOTAS_PASSWORD",
        "CREDENTIAL",
    ],
)
def test_a_pipe_in_the_place_of_what_lasts_is_refused_at_once(
    pipe: Path, setting: str
) -> None:
    environ = {
        "IMAGEGATE_POOL_PROXY": "http://127.0.0.1:3128",
        "IMAGEGATE_QUOTAS_REDIS": "redis://127.0.0.1",
        "IMAGEGATE_IDENTITY_JWT_ISSUER": "https://issuer.example",
        "IMAGEGATE_IDENTITY_JWT_AUDIENCE": "imagegate",
        f"IMAGEGATE_{setting}": str(pipe),
    }
    if setting == "CREDENTIAL":
        environ["IMAGEGATE_CREDENTIAL"] = f"authorization=file:{pipe}"

    problems = read_settings(WORDS, environ).problems

    assert any("no regular file" in each.message for each in problems), problems


@pytest.mark.parametrize("one", ["CERTIFICATE", "KEY"])
def test_a_pipe_in_the_place_of_a_certificate_or_its_key_is_refused(
    pipe: Path, one: str
) -> None:
    file = pipe.with_name("other.pem")
    file.touch(mode=0o600)
    names = dict.fromkeys(("CERTIFICATE", "KEY"), file) | {one: pipe}
    environ = {f"IMAGEGATE_LISTEN_TLS_{k}": str(v) for k, v in names.items()}

    [problem] = read_settings(WORDS, environ).problems

    assert "no regular file" in problem.message


def test_paths_in_settings_out_of_a_pipe_are_as_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    reading, writing = os.pipe()
    os.write(writing, b'policy = "mine.yaml"\n')
    os.close(writing)
    try:
        words = {"upstreams": WORDS["upstreams"]}
        found = read_settings(words, {}, config=f"/dev/fd/{reading}").settings
    finally:
        os.close(reading)

    assert found.policy == str(tmp_path / "mine.yaml")


def test_one_writing_is_told_from_another_once_it_is_old_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one moment a file may be written twice, and look the same."""
    file = tmp_path / "file"
    file.write_text("one")
    assert writing_of(file) is None

    monkeypatch.setattr(named_file, "SETTLED", -1)
    first = writing_of(file)
    assert first is not None
    assert first == writing_of(file)
    file.write_text("another")
    assert writing_of(file) != first


def test_settings_longer_than_they_may_be_are_not_read_in_part(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes(b"#" * 999_990 + b"\n[listen]\nport = 80\n")

    [problem] = read_settings(WORDS, {}, config=str(file)).problems

    assert "longer than 1,000,000 bytes" in problem.message
