"""The real tools read what an operator copies, and find nothing wrong with it."""

from __future__ import annotations

import configparser
import json
import tomllib
from pathlib import Path

import pytest
import yaml
from tools import DEPLOY, run

from imagegate.cli.exits import Exit
from imagegate.identity.keyfile import change_keys
from imagegate.settings import read_settings


def test_the_image_follows_good_practice() -> None:
    run("hadolint", DEPLOY / "docker/Dockerfile")


def test_the_image_copies_only_what_is_there() -> None:
    kept = {
        line[1:]
        for line in DEPLOY.parent.joinpath(".dockerignore").read_text().split()
        if line[0] == "!"
    }
    copied = {
        word
        for line in DEPLOY.joinpath("docker/Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    copied = {word.replace("${REQUIREMENTS}", "requirements.txt") for word in copied}

    assert all(DEPLOY.parent.joinpath(word).exists() for word in copied)
    assert copied <= kept | {"deploy/requirements.txt"}
    assert "deploy/requirements*.txt" in kept


def test_compose_takes_the_file() -> None:
    file = DEPLOY / "compose/compose.yaml"

    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)


def test_compose_mounts_what_is_there() -> None:
    folder = DEPLOY / "compose"
    services = yaml.safe_load(folder.joinpath("compose.yaml").read_text())["services"]
    mounted = [
        volume.split(":")[0]
        for service in services.values()
        for volume in service.get("volumes", ())
    ]

    assert all(folder.joinpath(each).exists() for each in mounted if each[0] == ".")


def test_prometheus_takes_its_configuration_and_the_alerts(tmp_path: Path) -> None:
    for name in "compose/prometheus.yaml", "prometheus/alerts.yaml":
        tmp_path.joinpath(Path(name).name).write_text(DEPLOY.joinpath(name).read_text())

    said = run("promtool", "check", "config", tmp_path / "prometheus.yaml")

    assert "1 rule files found" in said


def test_the_alerts_tell_the_providers_fault_from_others(tmp_path: Path) -> None:
    ended = {
        "fails": {"completed 200": 90, "failed 503": 10},
        "does not answer": {"completed 200": 90, "upstream_error 502": 10},
        "leads elsewhere": {"completed 200": 1, "failed 307": 9},
        "fails among much that is refused": {"refused 403": 99, "failed 500": 1},
        "refuses the key": {"completed 200": 50, "failed 401": 50},
        "is fine": {"completed 200": 80, "failed 200": 10, "failed 400": 10},
        "is fine on a websocket": {"completed ": 80, "failed ": 10, "failed 429": 10},
    }
    series = [
        (f'outcome="{end.split(" ")[0]}",status="{end.split(" ")[1]}"', name, number)
        for name, counted in ended.items()
        for end, number in counted.items()
    ]
    alerts = tmp_path / "alerts.yaml"
    alerts.write_text(DEPLOY.joinpath("prometheus/alerts.yaml").read_text())
    fails = 'ALERTS{alertname="ImagegateUpstreamFails",alertstate="firing",'
    expected = {
        f'{fails}instance="{name}",severity="ticket"}}' for name in [*ended][:4]
    }
    refuses = fails.replace("Fails", "RefusesMuch")
    expected.add(
        f'{refuses}instance="refuses the key",severity="ticket",status="401"}}'
    )
    test = {
        "interval": "1m",
        "input_series": [
            {
                "series": f'imagegate_exchanges_total{{{labels},instance="{name}"}}',
                "values": f"0+{number}x60",
            }
            for labels, name, number in series
        ],
        "promql_expr_test": [
            {
                "expr": 'ALERTS{alertname=~"ImagegateUpstream.*",alertstate="firing"}',
                "eval_time": "50m",
                "exp_samples": [{"labels": each, "value": 1} for each in expected],
            }
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(
        json.dumps({"rule_files": [alerts.name], "tests": [test]}), encoding="utf-8"
    )

    assert "SUCCESS" in run("promtool", "test", "rules", file)


def test_systemd_takes_the_unit_and_finds_it_closed(tmp_path: Path) -> None:
    text = DEPLOY.joinpath("systemd/imagegate.service").read_text()
    unit = tmp_path / "imagegate.service"
    # Where nothing is installed, the command is not there, nor is the page.
    unit.write_text(text.replace("/opt/imagegate/bin/imagegate", "/bin/true"))

    assert run("systemd-analyze", "verify", unit) == ""
    found = json.loads(
        run("systemd-analyze", "security", "--offline=true", "--json=short", unit)
    )
    exposed = {row["json_field"] for row in found if row["set"] is False}
    # It needs the network of its host, and that is all.
    assert exposed == {
        "IPAddressDeny",
        "PrivateNetwork",
        "RestrictAddressFamilies_AF_INET_INET6",
        "RestrictAddressFamilies_AF_UNIX",
        "RootDirectoryOrRootImage",
        "DeviceAllow",
    }


def test_the_unit_is_down_only_while_it_is_stopped_or_refused() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.read(DEPLOY / "systemd/imagegate.service")
    service = unit["Service"]

    # What fails before it is tried again even where that does not help; and a strict
    # look at the policy would refuse what the gateway takes, an exception that ran out.
    assert "ExecStartPre" not in service
    # A limit counts restarts by hand too: the one too many would leave it stopped.
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert service["Restart"] == "on-failure"
    refused = set(map(int, service["RestartPreventExitStatus"].split()))
    assert refused == {Exit.USAGE, Exit.INVALID}


@pytest.mark.parametrize("name", ["systemd", "compose"])
def test_the_settings_beside_it_are_read_by_the_gateway(
    name: str, tmp_path: Path
) -> None:
    text = DEPLOY.joinpath(name, "gateway.toml").read_text()
    secrets = "/run/credentials/imagegate.service"
    for folder in "/etc/imagegate", secrets, "/var/lib/imagegate":
        text = text.replace(folder, str(tmp_path))
    policy = tmp_path / tomllib.loads(text)["policy"]
    policy.parent.mkdir(exist_ok=True)
    policy.write_bytes(
        DEPLOY.parent.joinpath("policies/standard/policy.yaml").read_bytes()
    )
    secret = tmp_path / "provider-key"
    secret.write_text("k")
    secret.chmod(0o400)
    change_keys(tmp_path / "keys.jsonl", lambda keys: keys)
    file = tmp_path / "gateway.toml"
    file.write_text(text)

    assert read_settings({}, {}, config=str(file)).problems == ()


@pytest.mark.parametrize("name", ["vector/vector.yaml", "envoy/envoy.yaml"])
def test_what_is_yaml_can_be_read(name: str) -> None:
    assert isinstance(yaml.safe_load(DEPLOY.joinpath(name).read_text()), dict)
