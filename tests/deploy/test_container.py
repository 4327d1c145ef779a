"""What the image, the compose file and the words beside them say fits together."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from tools import DEPLOY

from imagegate.identity.keyfile import change_keys
from imagegate.server.listener import Listener
from imagegate.settings import read_settings

IMAGE = DEPLOY.joinpath("docker/Dockerfile").read_text()
COMPOSE = yaml.safe_load(DEPLOY.joinpath("compose/compose.yaml").read_text())


@pytest.fixture
def command() -> list[str]:
    """Return the words of `docker run` as an operator copies them."""
    text = DEPLOY.joinpath("README.md").read_text().replace("\\\n", "")
    [line] = re.findall(r"^docker run .*$", text, re.MULTILINE)
    return shlex.split(line)


def test_both_halves_of_the_image_have_the_same_python() -> None:
    first, second = re.findall(r"^FROM (\S+)", IMAGE, re.MULTILINE)

    assert first == second


def test_the_gateway_starts_with_what_is_copied(
    command: list[str], tmp_path: Path
) -> None:
    given = [command[at + 1] for at, word in enumerate(command) if word == "-e"]
    fixed = re.findall(r"^\s+(IMAGEGATE_[A-Z_]+=\S+)", IMAGE, re.MULTILINE)
    environ = dict(each.split("=", 1) for each in fixed + given)
    assert environ["IMAGEGATE_AUDIT_DIRECTORY"].startswith("/var/lib/imagegate/")
    environ["IMAGEGATE_AUDIT_DIRECTORY"] = str(tmp_path / "trail")
    environ["IMAGEGATE_POLICY"] = str(DEPLOY.parent / "policies/standard")

    assert read_settings({}, environ).problems == ()


def test_an_engine_waits_for_open_streams(command: list[str]) -> None:
    grace = Listener().grace
    waits = COMPOSE["services"]["gateway"]["stop_grace_period"]

    assert int(command[command.index("--stop-timeout") + 1]) > grace
    assert int(waits.removesuffix("s")) > grace


def test_what_is_followed_is_mounted_by_its_folder(command: list[str]) -> None:
    mounted = [command[at + 1] for at, word in enumerate(command) if word == "-v"]
    composed = COMPOSE["services"]["gateway"]["volumes"]
    settings = "./gateway.toml"  # another takes a restart in any case

    assert "secrets" not in COMPOSE["services"]["gateway"]
    for volume in composed:
        if volume[0] == "." and not volume.startswith(settings):
            assert DEPLOY.joinpath("compose", volume.split(":")[0]).is_dir()
    for volume in mounted:
        if volume[0] == "$":
            here = volume.split(":")[0].replace("$PWD", str(DEPLOY.parent))
            assert Path(here).is_dir()


def test_a_provider_in_the_place_of_the_stand_in_is_taken(tmp_path: Path) -> None:
    text = DEPLOY.joinpath("compose/gateway.toml").read_text()
    text = re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.MULTILINE)
    text = re.sub(r"\[upstreams\.simulator\]\nurl = .*\n", "", text)
    text = text.replace("/run/secrets/imagegate", str(tmp_path))
    standard = DEPLOY.parent / "policies/standard/policy.yaml"
    text = text.replace("/etc/imagegate/policy/policy.yaml", str(standard))
    change_keys(tmp_path / "keys.jsonl", lambda keys: keys)
    key = tmp_path / "openai-key"
    key.write_text("k")
    key.chmod(0o400)
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    outside = {"IMAGEGATE_LISTEN_HOST": "0.0.0.0"}  # noqa: S104 - in a container

    reading = read_settings({}, outside, config=str(file))

    assert reading.problems == ()
    assert list(reading.settings.upstreams) == ["openai"]
    assert reading.settings.identity.keys.file == tmp_path / "keys.jsonl"
