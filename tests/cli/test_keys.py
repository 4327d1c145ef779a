"""`imagegate keys`: a key is shown once, and then only what it ends in."""

from __future__ import annotations

import datetime
import fcntl
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from imagegate.identity.keyfile import read_keys
from imagegate.identity.secret import read_secret

Run = Callable[..., Any]
DAY = datetime.timedelta(days=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


@pytest.fixture
def keys(imagegate: Run, file: Path) -> Run:
    return lambda *words: imagegate("keys", *words, "--file", file)


def listed(keys: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(keys("list", "--format", "json").out)
    return found


def test_a_key_is_printed_alone_and_its_file_knows_it(keys: Run, file: Path) -> None:
    ran = keys("add", "--name", "ci", "--team", "design", "--team", "web",
               "--attribute", "region=eu", "--attribute", "region=us",
               "--expires", "90d")  # fmt: skip

    secret = read_secret(ran.out.rstrip("\n"))
    assert ran.code == 0
    assert secret is not None
    assert "not shown again" in ran.err
    found = read_keys(file).find(secret)
    assert found is not None
    key, _ = found
    assert (key.name, key.team) == ("ci", ("design", "web"))
    assert key.attributes == {"region": ("eu", "us")}
    assert key.expires == key.created + 90 * DAY
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_no_list_shows_a_secret_or_a_hash(keys: Run, file: Path) -> None:
    text = keys("add", "--name", "ci", "--team", "design").out.strip()

    table, document = keys("list").out, keys("list", "--format", "json").out

    [row] = json.loads(document)
    assert row["name"] == "ci"
    assert row["state"] == "active"
    assert row["last4"] == text[-4:]
    assert table.splitlines()[1].split()[:3] == ["ci", row["id"], "design"]
    for shown in (table, document):
        assert text.rpartition("_")[2][:-4] not in shown
        assert read_keys(file).all[0].hash not in shown


def test_a_name_has_one_key_at_a_time(keys: Run) -> None:
    assert keys("add", "--name", "ci").code == 0

    again = keys("add", "--name", "ci")
    assert (again.code, again.out) == (2, "")
    assert "rotate" in again.err
    assert keys("revoke", "ci").code == 0
    assert keys("add", "--name", "ci").code == 0
    assert [row["state"] for row in listed(keys)] == ["revoked", "active"]


def test_revoking_by_name_takes_all_and_by_id_one(keys: Run) -> None:
    keys("add", "--name", "ci")
    keys("rotate", "ci")
    first, second = listed(keys)

    assert keys("revoke", first["id"]).code == 0
    assert [row["state"] for row in listed(keys)] == ["revoked", "active"]
    assert keys("revoke", "ci").code == 0
    assert [row["state"] for row in listed(keys)] == ["revoked", "revoked"]
    assert keys("revoke", second["id"]).code == 2


def test_rotation_leaves_both_keys_for_a_while(keys: Run, file: Path) -> None:
    keys("add", "--name", "ci", "--team", "design", "--expires", "90d")

    text = keys("rotate", "ci", "--overlap", "2h").out.strip()

    old, new = read_keys(file).all
    assert text.endswith(new.last4)
    assert (new.name, new.team) == (old.name, old.team)
    assert old.hash != new.hash
    assert old.expires is not None
    assert old.expires - new.created == datetime.timedelta(hours=2)
    # As long as the old one was meant to live.
    assert new.expires == new.created + 90 * DAY
    assert [row["state"] for row in listed(keys)] == ["active", "active"]


def test_rotation_does_not_make_an_old_key_live_longer(keys: Run, file: Path) -> None:
    keys("add", "--name", "ci", "--expires", "1h")
    before = read_keys(file).all[0].expires

    assert keys("rotate", "ci", "--overlap", "24h", "--expires", "2099-01-31").code == 0

    old, new = read_keys(file).all
    assert old.expires == before
    assert new.expires == datetime.datetime(2099, 1, 31, tzinfo=datetime.UTC)


def test_rotation_without_overlap_ends_the_old_key_at_once(keys: Run) -> None:
    keys("add", "--name", "ci")

    assert keys("rotate", "ci", "--overlap", "0").code == 0

    assert [row["state"] for row in listed(keys)] == ["expired", "active"]
    assert listed(keys)[1]["expires"] is None


def test_a_key_that_ends_with_the_calendar_can_be_rotated(
    keys: Run, file: Path
) -> None:
    keys("add", "--name", "ci", "--expires", "9999-12-31")
    head, line = file.read_bytes().splitlines()
    made = msgspec.json.decode(line)
    made["created"] = "2026-01-01T00:00:00Z"
    file.write_bytes(head + b"\n" + msgspec.json.encode(made))

    assert keys("rotate", "ci").code == 0

    assert read_keys(file).all[1].expires == datetime.datetime(
        9999, 12, 31, tzinfo=datetime.UTC
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "--name", ""), "`name`"),
        (("add", "--name", "c\ti"), "`name`"),
        (("add", "--name", "x", "--team", ""), "`team`"),
        (("add", "--name", "x", "--attribute", "region"), "NAME=VALUE"),
        (("add", "--name", "x", "--attribute", "team=web"), "`team`"),
        (
            ("add", "--name", "x", "--expires", "soon"),
            "write a span such as 30m, 24h or 90d, or a date such as 2027-01-31",
        ),
        (("add", "--name", "x", "--expires", "2020-01-01"), "over already"),
        (("add", "--name", "x", "--expires", "0"), "over already"),
        (("rotate", "nobody"), "nobody"),
        (("rotate", "ci", "--overlap", "a while"), "24h"),
        (("rotate", "gone"), "no key that holds"),
        (("revoke", "nobody"), "nobody"),
        (("revoke", "gone"), "revoked already"),
    ],
)
def test_what_cannot_be_done_changes_nothing_and_says_why(
    keys: Run, file: Path, words: tuple[str, ...], said: str
) -> None:
    keys("add", "--name", "ci")
    keys("add", "--name", "gone")
    keys("revoke", "gone")
    before = file.read_bytes()

    ran = keys(*words)

    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert file.read_bytes() == before


@pytest.mark.parametrize("command", [("list",), ("add", "--name", "x")])
def test_a_file_that_is_no_file_of_keys_is_left_alone(
    keys: Run, file: Path, command: tuple[str, ...]
) -> None:
    file.write_text("something else")
    file.chmod(0o600)

    ran = keys(*command)

    assert ran.code == 2
    assert "line 1" in ran.err
    assert file.read_text() == "something else"


def test_a_file_that_cannot_be_had_is_said(imagegate: Run, tmp_path: Path) -> None:
    missing = tmp_path / "none" / "keys"

    for words in (("list",), ("add", "--name", "x")):
        ran = imagegate("keys", *words, "--file", missing)
        assert ran.code == 2
        assert "No such file" in ran.err


def test_who_finds_the_file_held_by_another_is_told_so(
    keys: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagegate.identity.keyfile._LOCK_SECONDS", 0.05)
    keys("add", "--name", "ci")

    with file.with_name(f".{file.name}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = keys("revoke", "ci")

    assert ran.code == 2
    assert "held by another process" in ran.err
    assert [row["state"] for row in listed(keys)] == ["active"]


def test_the_gateways_variable_names_the_file(
    imagegate: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEGATE_IDENTITY_KEYS_FILE", str(file))

    assert imagegate("keys", "add", "--name", "ci").code == 0
    assert "ci" in imagegate("keys", "list").out
