"""Every setting, option and command that is named in `deploy/` exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt
from tools import DEPLOY
from typer.main import get_command

from imagegate.cli.app import app
from imagegate.settings import read_settings
from imagegate.settings.keys import keys
from imagegate.settings.sources import CONFIG

TEXTS = sorted(
    file
    for file in DEPLOY.rglob("*")
    if file.is_file() and file.suffix not in {".txt", ".json"}
)
VARIABLES = {key.variable for key in keys().values()} | {
    CONFIG,
    "IMAGEGATE_UPSTREAM",
    "IMAGEGATE_CREDENTIAL",
    "IMAGEGATE_",  # what all of them begin with, in words
}
OPTIONS = {
    name: {option for each in command.params for option in each.opts}
    for name, command in getattr(get_command(app), "commands", {}).items()
}
COMMAND = re.compile(r"(?:^|[\s`/])imagegate ((?:[a-z]+)(?: [^\n`#]*)?)")


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: str(file.relative_to(DEPLOY)))
def test_variables_exist(file: Path) -> None:
    named = set(re.findall(r"IMAGEGATE_[A-Z_]*", file.read_text()))

    assert named <= VARIABLES


def started() -> list[tuple[str, list[str]]]:
    """List how the manifests start the command, with its arguments."""
    unit = DEPLOY.joinpath("systemd/imagegate.service").read_text()
    found = [shlex.split(line) for line in re.findall(r"bin/imagegate (.*)", unit)]
    compose = yaml.safe_load(DEPLOY.joinpath("compose/compose.yaml").read_text())
    found.append(compose["services"]["gateway"]["command"])
    image = DEPLOY.joinpath("docker/Dockerfile").read_text()
    chart = DEPLOY.joinpath("helm/imagegate/templates/workload.yaml").read_text()
    lists = re.findall(r"^(?:CMD| +args:) (\[.*)", f"{image}\n{chart}", re.MULTILINE)
    found += [yaml.safe_load(each) for each in lists]
    return [(words[0], words[1:]) for words in found]


def test_commands_and_options_exist() -> None:
    found = started()

    assert len(found) == 4
    for command, words in found:
        assert {each for each in words if each[:1] == "-"} <= OPTIONS[command]


def settings_files() -> list[tuple[str, str]]:
    shown = [
        (f"{page.name}:{each.map[0] + 1}", each.content)
        for page in sorted(DEPLOY.glob("*.md"))
        for each in MarkdownIt().parse(page.read_text())
        if each.type == "fence" and each.info == "toml" and each.map
    ]
    files = [file for file in TEXTS if file.suffix == ".toml"]
    return shown + [(str(file.relative_to(DEPLOY)), file.read_text()) for file in files]


@pytest.mark.parametrize(
    "text", [pytest.param(text, id=name) for name, text in settings_files()]
)
def test_files_of_settings_say_nothing_unknown(text: str, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text)

    problems = read_settings({}, {}, config=str(file)).problems

    unknown = [each for each in problems if each.id.startswith(("unknown", "expected"))]
    assert unknown == []
