"""What the README shows first is what happens, and its tables are whole.

`test_readme.py` runs the blocks that stand for themselves; these belong together, or
run until they are told to end.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from typer.main import get_command

from imagegate.cli.app import app
from imagegate.cli.demo.scenes import Scene
from imagegate.cli.demo.stage import Stage
from imagegate.gates import load_gate
from imagegate.settings import read_settings
from imagegate.settings.keys import keys
from imagegate.settings.sources import UPSTREAM_KEYS

ROOT = Path(__file__).resolve().parents[2]
README = ROOT.joinpath("README.md").read_text()
DEPLOY = {page.stem: page.read_text() for page in ROOT.glob("deploy/*.md")}
FIRST_SCREEN = README.partition("\n## ")[0]


def fenced(markdown: str, language: str) -> list[str]:
    return [
        token.content
        for token in MarkdownIt().parse(markdown)
        if token.type == "fence" and token.info == language
    ]


def is_part_of(shown: Any, whole: Any) -> bool:
    """Tell whether everything that is shown is there, in its order."""
    match shown, whole:
        case dict(), dict():
            return all(k in whole and is_part_of(shown[k], whole[k]) for k in shown)
        case list(), list():
            rest = iter(whole)
            return all(any(is_part_of(one, each) for each in rest) for one in shown)
        case _:
            return bool(shown == whole)


def test_the_request_before_and_after_and_its_record_are_what_happens() -> None:
    asked, sent, record = map(json.loads, fenced(FIRST_SCREEN, "json"))
    tool = {name: value for name, value in asked.items() if name != "type"}

    with Stage.of(load_gate("standard").policy) as stage:
        played = stage.play(Scene(title="", tool=tool), lambda _: None)

    assert played.sent == sent
    assert list(sent) == list(played.sent or ())
    assert is_part_of(record, played.records[0])


@pytest.mark.parametrize(
    ("shown", "whole", "part"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"a": 2}, False),
        ([{"a": 1}, {"a": 3}], [{"a": 1}, {"a": 2}, {"a": 3}], True),
        ([{"a": 3}, {"a": 1}], [{"a": 1}, {"a": 3}], False),
    ],
)
def test_a_part_is_told_from_what_is_none(
    shown: Any, whole: Any, *, part: bool
) -> None:
    assert is_part_of(shown, whole) is part


def test_the_two_commands_do_what_is_said() -> None:
    [block] = fenced(FIRST_SCREEN, "text")
    make, serve = block.splitlines()
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}

    dry = subprocess.run(
        [*make.split(), "--dry-run"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert dry.stdout.splitlines()[-1] == ".venv/bin/imagegate demo"

    # Where `make run` put it: nobody has it on the path yet.
    assert serve.startswith(".venv/bin/imagegate ")
    started = serve.removeprefix(".venv/bin/").split()
    words = [sys.executable, "-m", *started, "--port", "0"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        listening = json.loads(process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert listening["event"] == "imagegate.listening"
    assert listening["upstreams"] == {"/": "https://api.openai.com"}


def test_four_lines_embed_it() -> None:
    [block] = fenced(FIRST_SCREEN, "python")

    lines = [line for line in block.splitlines() if line and "Starlette" not in line]

    assert len(lines) == 4


def test_the_first_screen_is_one_sentence_and_fits_on_it() -> None:
    paragraph = FIRST_SCREEN.split("\n\n")[1]

    assert paragraph.count(".") == 1
    assert paragraph.endswith(".")
    assert len(FIRST_SCREEN.splitlines()) < 60


def test_every_command_is_in_the_table() -> None:
    root = get_command(app)
    names = set()
    for name, command in getattr(root, "commands", {}).items():
        inner = getattr(command, "commands", None)
        names |= {f"{name} {each}" for each in inner} if inner else {name}

    shown = re.findall(r"^\| `imagegate ([a-z]+(?: [a-z]+)?)", README, re.MULTILINE)

    assert set(shown) == names


def test_the_example_of_a_configuration_file_is_fine(tmp_path: Path) -> None:
    pages = ("README", "identity", "quotas")
    text = "\n".join(block for page in pages for block in fenced(DEPLOY[page], "toml"))
    for secret in ("azure-key", "redis-password"):
        key = tmp_path / secret
        key.write_text("k")
        key.chmod(0o600)
    file = tmp_path / "gateway.toml"
    file.write_text(text.replace("/run/secrets", str(tmp_path)))

    reading = read_settings({}, {"OPENAI_API_KEY": "k"}, config=str(file))

    assert reading.problems == ()
    assert set(reading.settings.upstreams) == {"openai", "azure"}


def _spelled(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return " ".join(default) if isinstance(default, tuple) else str(default)


def test_every_setting_is_in_the_table_with_its_default() -> None:
    table = DEPLOY["settings"].partition("\n## Limits")[0]
    rows = re.findall(r"^\| `([a-zA-Z_.]+)` \| (?:`(.*?)`)? *\|", table, re.MULTILINE)
    shown = {path: default for path, default in rows if "NAME" not in path}

    expected = {
        key.path: "" if key.default in (None, "", ()) else _spelled(key.default)
        for key in keys().values()
    }
    assert shown == expected
    assert {path.rpartition(".")[2] for path, _ in rows if "NAME" in path} == set(
        UPSTREAM_KEYS
    )
