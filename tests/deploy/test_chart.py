"""The chart renders to what a cluster takes, and to a gateway that starts."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools import DEPLOY, run

from imagegate.gates import read_gate
from imagegate.identity.keyfile import change_keys
from imagegate.settings import read_settings

CHART = DEPLOY / "helm/imagegate"


def render(*values: str, content: bool = True) -> str:
    chosen = itertools.chain.from_iterable(("--set", value) for value in values)
    return run("helm", "template", "gate", CHART, *chosen, content=content)


def objects(*values: str) -> dict[str, dict[str, Any]]:
    found = filter(None, yaml.safe_load_all(render(*values)))
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in found}


def pod(rendered: dict[str, dict[str, Any]], kind: str) -> dict[str, Any]:
    spec: dict[str, Any] = rendered[f"{kind}/gate"]["spec"]["template"]["spec"]
    return spec


def test_helm_finds_nothing_wrong() -> None:
    run("helm", "lint", CHART, "--strict")


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("audit.volume.enabled=false",),
        ("autoscaling.enabled=false", "networkPolicy.enabled=false"),
        (
            "lockedNamespaces={web,mobile}",
            "networkPolicy.inside[0].namespace=redis",
            "networkPolicy.inside[0].port=6379",
        ),
        ("unauthenticated=true", "service.type=LoadBalancer", "workers=4"),
    ],
)
def test_a_cluster_takes_what_is_rendered(
    values: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "rendered.yaml"
    file.write_text(render(*values))

    run("kubernetes-validate", "--strict", file)


@pytest.mark.parametrize(
    "value", ["audit.mode=fast", "workers=0", "replica=2", "image.digest=sha256:x"]
)
def test_what_is_no_value_is_refused(value: str) -> None:
    said = render(value, content=False)

    assert value.partition("=")[0].rpartition(".")[2] in said


def test_its_settings_and_its_policy_are_read_by_the_gateway(tmp_path: Path) -> None:
    rendered = objects()
    settings = rendered["ConfigMap/gate-settings"]["data"]["gateway.toml"]
    policy = rendered["ConfigMap/gate-policy"]["data"]["policy.yaml"]
    [container] = pod(rendered, "StatefulSet")["containers"]
    secret = tmp_path / "openai-key"
    secret.write_text("k")
    secret.chmod(0o440)
    change_keys(tmp_path / "keys.jsonl", lambda keys: keys)
    environ = {each["name"]: each["value"] for each in container["env"]}
    file = tmp_path / "gateway.toml"
    here = settings.replace("/run/secrets/imagegate", str(tmp_path))
    rules = tmp_path / "policy.yaml"
    rules.write_text(policy)
    file.write_text(here.replace(tomllib.loads(settings)["policy"], str(rules)))
    environ["IMAGEGATE_AUDIT_DIRECTORY"] = str(tmp_path / "trail")

    reading = read_settings({}, environ, config=str(file))

    assert reading.problems == ()
    assert read_gate(policy.encode(), file="policy.yaml").policy.name == "standard"
    mounted = {each["mountPath"] for each in container["volumeMounts"]}
    assert str(Path(tomllib.loads(settings)["policy"]).parent) in mounted
    assert set(re.findall(r'(?:file:|file = ")(/[\w/]+)/', settings)) <= mounted
    assert reading.settings.identity.keys.file == tmp_path / "keys.jsonl"


def test_records_outlive_the_instance_that_wrote_them() -> None:
    stateful = objects()["StatefulSet/gate"]["spec"]

    kept = stateful["persistentVolumeClaimRetentionPolicy"]
    assert kept == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    [container] = stateful["template"]["spec"]["containers"]
    trail = next(
        e["mountPath"] for e in container["volumeMounts"] if e["name"] == "trail"
    )
    directory = {e["name"]: e["value"] for e in container["env"]}
    assert directory["IMAGEGATE_AUDIT_DIRECTORY"].startswith(f"{trail}/")


def test_without_a_volume_records_go_to_standard_output() -> None:
    [container] = pod(objects("audit.volume.enabled=false"), "Deployment")["containers"]

    assert "IMAGEGATE_AUDIT_DIRECTORY" not in {e["name"] for e in container["env"]}


def test_it_runs_as_nobody_and_writes_where_it_must() -> None:
    spec = pod(objects(), "StatefulSet")
    [container] = spec["containers"]

    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = {
        e["mountPath"] for e in container["volumeMounts"] if "readOnly" not in e
    }
    assert writable == {"/tmp", "/var/lib/imagegate"}  # noqa: S108 - a mount of its own


def test_streams_end_before_the_instance_is_killed() -> None:
    rendered = objects("graceSeconds=120")
    spec = pod(rendered, "StatefulSet")
    [container] = spec["containers"]
    environ = {each["name"]: each["value"] for each in container["env"]}
    [_, pause] = container["lifecycle"]["preStop"]["exec"]["command"]

    needed = int(environ["IMAGEGATE_LISTEN_GRACE"]) + int(pause) + 5
    assert spec["terminationGracePeriodSeconds"] > needed


def test_locked_namespaces_reach_no_provider() -> None:
    rendered = objects("lockedNamespaces={web}")

    lock = rendered["NetworkPolicy/gate-only-way-out"]
    assert lock["metadata"]["namespace"] == "web"
    assert lock["spec"]["policyTypes"] == ["Egress"]
    names, inside = lock["spec"]["egress"]
    assert {each["port"] for each in names["ports"]} == {53}
    private = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}
    assert {each["ipBlock"]["cidr"] for each in inside["to"]} == private
