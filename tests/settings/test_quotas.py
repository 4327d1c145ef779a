"""Where counters are kept: what cannot work is found before the first request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagegate.settings import Reading, read_settings
from imagegate.settings import quotas as checks


def read(**options: Any) -> Reading:
    upstreams = ["https://api.openai.com"]
    environ = {f"IMAGEGATE_QUOTAS_{k.upper()}": str(v) for k, v in options.items()}
    return read_settings({"policy": "standard", "upstreams": upstreams}, environ)


def found(reading: Reading) -> list[tuple[str, str]]:
    return [(each.id, each.path) for each in reading.problems]


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("secret")
    file.chmod(0o600)
    return file


def test_a_file_or_a_server_is_fine(tmp_path: Path, password: Path) -> None:
    assert found(read()) == []
    assert found(read(file=tmp_path / "q.db")) == []
    assert found(read(redis="redis://h:1/0", password=password)) == []


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"file": "/nowhere/q.db"}, ("no-directory", "quotas.file")),
        ({"redis": "http://h"}, ("bad-value", "quotas.redis")),
        ({"redis": "redis://:secret@h"}, ("bad-value", "quotas.redis")),
        ({"outage": "maybe"}, ("bad-value", "quotas.outage")),
        ({"seconds": "0"}, ("bad-value", "quotas.seconds")),
    ],
)
def test_what_cannot_work_is_said(
    said: dict[str, str], problem: tuple[str, str]
) -> None:
    assert found(read(**said)) == [problem]


def test_counters_are_in_one_place(tmp_path: Path) -> None:
    reading = read(file=tmp_path / "q.db", redis="redis://h")

    assert found(reading) == [("two-places", "quotas.redis")]


def test_a_password_belongs_to_a_server(password: Path) -> None:
    assert found(read(password=password)) == [("no-server", "quotas.password")]


def test_a_password_is_one_and_nobody_elses(password: Path) -> None:
    password.chmod(0o644)
    said = {"redis": "redis://h", "password": password}
    assert found(read(**said)) == [("open-secret", "quotas.password")]
    password.chmod(0o600)
    password.write_text("\n")
    assert found(read(**said)) == [("no-credential", "quotas.password")]
    password.unlink()
    assert found(read(**said)) == [("unreadable-file", "quotas.password")]


def test_the_extra_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "is_installed", lambda: False)

    assert found(read(redis="redis://h")) == [("missing-extra", "quotas.redis")]
