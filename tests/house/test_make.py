from __future__ import annotations

import os
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = ROOT.joinpath("Makefile").read_text()
TESTED = ROOT / "tests/requirements.txt"
DEPLOYED = ROOT / "deploy/requirements.txt"

# Registry hosts and machine paths, in two pieces: this file names none either.
FORBIDDEN = [
    left + right
    for left, right in [
        ("py", "pi.org"),
        ("python", "hosted"),
        ("debian", ".org"),
        ("npm", "js.org"),
        ("file:", "///"),
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("/ho", "me/"),
        (".py", "env/"),
    ]
]


def phony_targets() -> list[str]:
    names = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    return " ".join(names).split()


def committed_files() -> Iterator[Path]:
    """Yield all that .gitignore leaves, without git: a tarball has none."""
    ignored = [".git", *ROOT.joinpath(".gitignore").read_text().split()]

    def kept(name: str) -> bool:
        return not any(fnmatch(name, pattern.strip("/")) for pattern in ignored)

    for folder, folders, names in os.walk(ROOT):
        folders[:] = filter(kept, folders)
        yield from (Path(folder, name) for name in filter(kept, names))


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.MULTILINE))


def test_help_shows_every_target_on_one_line() -> None:
    shown = subprocess.run(
        ["make", "help"],  # noqa: S607 - the make on PATH is the one people type
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert [line.split()[0] for line in shown.splitlines()] == phony_targets()
    assert all(len(line.split()) > 1 for line in shown.splitlines())
    assert max(map(len, shown.splitlines())) <= 88


def test_every_target_is_phony() -> None:
    targets = re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE)

    assert targets == phony_targets()


@pytest.mark.parametrize("word", FORBIDDEN)
def test_no_file_names_a_registry_host_or_a_machine_path(word: str) -> None:
    naming = [
        str(path.relative_to(ROOT))
        for path in committed_files()
        if word.encode() in path.read_bytes()
    ]

    assert naming == []


@pytest.mark.parametrize("lock", [TESTED, DEPLOYED], ids=lambda path: path.parent.name)
def test_every_locked_requirement_has_one_version_and_a_hash(lock: Path) -> None:
    text = re.sub(r"^ *#.*\n", "", lock.read_text(), flags=re.MULTILINE)
    requirements = re.split(r"\n(?=\S)", text.strip())

    assert requirements
    for requirement in requirements:
        first, *hashes = requirement.split(" \\\n")
        assert re.fullmatch(r"[\w.-]+==[\w.+!]+( ; .+)?", first)
        assert hashes
        assert all(re.fullmatch(r" +--hash=sha256:[0-9a-f]{64}", h) for h in hashes)


def test_what_is_deployed_is_what_is_tested() -> None:
    assert pins(DEPLOYED).items() <= pins(TESTED).items()


@pytest.mark.parametrize("script", ["setup", "run"])
def test_a_script_of_ci_can_be_started(script: str) -> None:
    path = ROOT / ".ci" / script

    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!")
