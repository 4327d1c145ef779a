from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from imagegate.cli.audit.tail import Follower
from imagegate.zstd import zstd


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def test_the_last_records_are_told_a_line_each(imagegate: Run, trail: Path) -> None:
    lines = imagegate("audit", "tail", "-n", "5", trail).out.splitlines()

    assert len(lines) == 5
    assert "request_rewritten" in lines[0]
    assert "quality: high → medium (settings.quality.max)" in lines[0]
    assert "sales" in lines[0]
    assert "outcome=completed" in lines[3]


def test_packed_files_are_read_when_plain_ones_do_not_suffice(
    imagegate: Run, trail: Path
) -> None:
    lines = imagegate("audit", "tail", "-n", "100", trail).out.splitlines()

    assert len(lines) == 15
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--event", "blocked"], 1),
        (["--team", "design"], 8),
        (["--principal", "u-sales"], 7),
        (["--decision", "decision-2"], 4),
        (["--outcome", "refused"], 1),
        (["--outcome", "refused", "--team", "design"], 0),
    ],
)
def test_filters(options: list[str], count: int, imagegate: Run, trail: Path) -> None:
    ran = imagegate("audit", "tail", "-n", "100", *options, trail)

    assert len(ran.out.splitlines()) == count


def test_records_are_printed_as_they_are(imagegate: Run, trail: Path) -> None:
    ran = imagegate("audit", "tail", "--format", "json", "-n", "1", trail)

    last = (trail / "audit-2.jsonl").read_text().splitlines()[-1]
    assert json.loads(ran.out) == json.loads(last)


def test_what_the_formats_were_called_is_still_understood(
    imagegate: Run, trail: Path, tmp_path: Path
) -> None:
    """Scripts say it."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nname: p\nowner: o\nmode: enforce\n")
    for command in (("verify",), ("tail",), ("replay", "-p", policy)):
        older = imagegate("audit", *command, "--json", trail)
        newer = imagegate("audit", *command, "--format", "json", trail)

        assert older == newer
    tables = [
        imagegate("audit", "query", "ends", trail, "--format", form)
        for form in ("table", "text")
    ]
    assert tables[0] == tables[1]
    wrong = imagegate("audit", "query", "ends", trail, "--format", "xml")
    assert (wrong.code, "'text', 'json', 'csv'" in wrong.err) == (2, True)


def test_what_is_no_record_is_said(imagegate: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"not a record\n")

    ran = imagegate("audit", "tail", tmp_path)

    assert "a line of 13 bytes is no record" in ran.err


def test_following_shows_what_comes(tmp_path: Path) -> None:
    first = tmp_path / "audit-1.jsonl"
    first.write_text('{"event":"imagegate.one"}\n')
    command = [sys.executable, "-m", "imagegate", "audit", "tail", "-f", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert "one" in following.stdout.readline()

        with first.open("a") as file:
            file.write('{"event":"imagegate.two"}\n{"event":"imagega')
        assert "two" in following.stdout.readline()

        (tmp_path / "audit-2.jsonl").write_text('{"event":"imagegate.three"}\n')
        assert "three" in following.stdout.readline()

        with first.open("a") as file:
            file.write('te.four"}\n')
        assert "four" in following.stdout.readline()
        following.terminate()


def test_a_file_that_is_there_twice_is_taken_once(
    imagegate: Run, trail: Path, tmp_path: Path
) -> None:
    plain = (trail / "audit-2.jsonl").read_bytes()
    (tmp_path / "audit-2.jsonl").write_bytes(plain)
    (tmp_path / "audit-2.jsonl.zst").write_bytes(zstd.compress(plain))

    lines = imagegate("audit", "tail", "-n", "100", tmp_path).out.splitlines()

    assert len(lines) == len(plain.splitlines())


def test_a_copy_that_was_made_too_early_hides_nothing(
    imagegate: Run, trail: Path, tmp_path: Path
) -> None:
    """It stays where a trail is copied now and then, and nothing is removed there."""
    whole = (trail / "audit-2.jsonl").read_bytes()
    early = b"".join(whole.splitlines(keepends=True)[:2])
    (tmp_path / "audit-2.jsonl").write_bytes(early)
    (tmp_path / "audit-2.jsonl.zst").write_bytes(zstd.compress(whole))

    ran = imagegate("audit", "tail", "-n", "100", "--format", "json", tmp_path)
    lines = ran.out.splitlines()

    assert sorted(lines) == sorted(whole.decode().splitlines())


def test_following_goes_on_in_what_was_packed_meanwhile(tmp_path: Path) -> None:
    first, second = tmp_path / "audit-1.jsonl", tmp_path / "audit-2.jsonl.zst"
    first.write_text('{"event":"imagegate.one"}\n')
    command = [sys.executable, "-m", "imagegate", "audit", "tail", "-f", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert "one" in following.stdout.readline()

        data = first.read_bytes() + b'{"event":"imagegate.two"}\n'
        (tmp_path / f"{first.name}.zst").write_bytes(zstd.compress(data))
        first.unlink()
        second.write_bytes(zstd.compress(b'{"event":"imagegate.three"}\n'))
        (tmp_path / "audit-3.jsonl").write_text('{"event":"imagegate.four"}\n')
        told = [following.stdout.readline() for _ in range(3)]
        following.terminate()

    assert [line.split()[-1] for line in told] == ["two", "three", "four"]


def test_a_file_is_read_on_from_where_it_was_when_it_is_packed(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"1\n2")
    follower = Follower(file)
    assert list(follower.lines()) == [b"1\n"]

    (tmp_path / "a.jsonl.zst").write_bytes(zstd.compress(b"1\n2\n3\n"))
    file.unlink()
    assert list(follower.lines()) == [b"2\n", b"3\n"]
    assert list(follower.lines()) == []


def test_of_packed_files_only_as_many_are_read_as_it_takes(
    imagegate: Run, trail: Path, tmp_path: Path
) -> None:
    (tmp_path / "audit-0.jsonl.zst").write_bytes(b"is not looked at")
    (tmp_path / "audit-2.jsonl").write_bytes((trail / "audit-2.jsonl").read_bytes())

    ran = imagegate("audit", "tail", "-n", "2", tmp_path)

    assert len(ran.out.splitlines()) == 2
    assert ran.err == ""


@pytest.mark.parametrize(
    "damage",
    [
        b'{"event":"\xff"}',
        b'{"x":' + b"[" * 100_000,
        b'{"event":5}',
        b'{"event":"x","changes":[{}]}',
        b"\0" * 1000,
    ],
    ids=["bytes", "depth", "type", "shape", "zeros"],
)
@pytest.mark.parametrize("options", [[], ["--format", "json"]], ids=str)
def test_damage_hides_no_other_line(
    damage: bytes, options: list[str], imagegate: Run, tmp_path: Path
) -> None:
    line = b'{"event":"%s","time":"2026","principal_team":["t"]}\n'
    data = line % b"imagegate.one" + damage + b"\n" + line % b"imagegate.two"
    (tmp_path / "a.jsonl").write_bytes(data)

    ran = imagegate("audit", "tail", *options, tmp_path)

    assert ran.code == 0
    assert "one" in ran.out
    assert "two" in ran.out
    assert f"a line of {len(damage) + 1:,} bytes is no record" in ran.err


def test_what_cannot_be_decompressed_is_said_and_the_rest_is_shown(
    imagegate: Run, tmp_path: Path
) -> None:
    packed = zstd.compress(b'{"event":"imagegate.one"}\n' * 1000)
    (tmp_path / "a.jsonl.zst").write_bytes(packed[:-3])
    (tmp_path / "b.jsonl").write_text('{"event":"imagegate.two"}\n')

    ran = imagegate("audit", "tail", "-n", "5000", tmp_path)

    assert ran.code == 0
    assert "two" in ran.out
    assert "a.jsonl.zst cannot be decompressed any further" in ran.err


def test_lines_of_a_file_stay_in_their_order_though_the_clock_was_set_back(
    imagegate: Run, tmp_path: Path
) -> None:
    times = ["2027-01-01", "2026-01-01", "2026-01-02"]
    lines = [
        f'{{"event":"imagegate.n{n}","time":"{at}"}}\n' for n, at in enumerate(times)
    ]
    (tmp_path / "a.jsonl").write_text("".join(lines))

    ran = imagegate("audit", "tail", tmp_path)

    assert [line.split()[1] for line in ran.out.splitlines()] == ["n0", "n1", "n2"]
