"""Where judgements and counters are kept: what cannot work is found at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagegate.settings import Reading, read_settings
from imagegate.settings import stores as checks


def read(section: str = "quotas", **options: Any) -> Reading:
    upstreams = ["https://api.openai.com"]
    beginning = f"IMAGEGATE_{section.upper()}_"
    environ = {f"{beginning}{k.upper()}": str(v) for k, v in options.items()}
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
    said: dict[str, Any] = {"redis": "redis://h", "password": password}
    assert found(read(**said)) == [("open-secret", "quotas.password")]
    password.chmod(0o600)
    password.write_text("\n")
    assert found(read(**said)) == [("no-credential", "quotas.password")]
    password.unlink()
    assert found(read(**said)) == [("unreadable-file", "quotas.password")]


def test_the_extra_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "is_installed", lambda: False)

    assert found(read(redis="redis://h")) == [("missing-extra", "quotas.redis")]


def test_judgements_are_kept_like_counters(tmp_path: Path, password: Path) -> None:
    file = tmp_path / "seen.db"

    assert found(read("state", redis="redis://h:1/0", password=password)) == []
    assert found(read("state", redis="x://h")) == [("bad-value", "state.redis")]
    both = read("state", file=file, redis="redis://h")
    assert found(both) == [("two-places", "state.redis")]
    alone = read("state", password=password)
    assert found(alone) == [("no-server", "state.password")]
