from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import asking
import msgspec
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.exchange import Ended, Exchange
from imagegate.engine.gate import Context, Gate
from imagegate.engine.records import CandidateRecord, Record
from imagegate.engine.surface import find_door
from imagegate.metrics import Counted, Losses, Metrics, Reloads, serve
from imagegate.metrics.lumps import MOST_CHILDREN
from imagegate.metrics.port import DIRECTORY, forget, shared

HOLDS = {"policy": "p", "digest": "d", "mode": "enforce"}
DEPLOY = Path(__file__).parents[2] / "deploy"
GATE = Gate(
    asking.policy(
        "settings: { quality: { max: medium, default: medium, otherwise: lower } }"
    ),
    asking.CATALOGUE,
)


class Taking:
    """An audit that takes records, or does not."""

    problem: str | None = None
    lost = 0
    queued = 0

    def __init__(self) -> None:
        self.taken: list[Record] = []

    async def write(self, records: Iterable[Record]) -> None:
        if self.problem:
            raise OSError(self.problem)
        self.taken += records

    async def close(self) -> None:
        self.queued = 0


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def audit() -> Taking:
    return Taking()


@pytest.fixture
def counted(audit: Taking, registry: CollectorRegistry) -> Counted:
    return Counted(audit, Metrics(registry))


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"imagegate_{name}", labels)


def exchange(method: str = "POST", path: str = "/v1/responses") -> Exchange:
    context = Context(
        decision_id="d1",
        door=find_door(method, path),
        date=datetime.date(2026, 11, 21),
    )
    return Exchange(GATE, context)


def write(counted: Counted, *records: Record) -> None:
    asyncio.run(counted.write(records))


def event(kind: str, **members: Any) -> bytes:
    return b"data: " + json.dumps({"type": kind, **members}).encode() + b"\n\n"


def test_an_exchange_is_counted_from_its_records(
    counted: Counted, registry: CollectorRegistry
) -> None:
    one = exchange()
    body = asking.body(asking.request(asking.tool(quality="high")))

    write(counted, one.request(body).record)

    labels = {"provider": "openai", "door": "responses.create"}
    assert value(registry, "decisions_total", decision="rewritten", **labels) == 1
    found = {"field": "quality", "rule": "settings.quality.max", "mode": "enforce"}
    assert value(registry, "findings_total", verdict="change", **found) == 1
    assert value(registry, "exchanges_open") == 1

    one.response(200, "text/event-stream")
    call = {"item_id": "ig_1", "output_index": 0, "sequence_number": 1}
    kind = "response.image_generation_call.generating"
    write(counted, *one.feed(event(kind, **call)).records)
    item = {"id": "ig_1", "type": "image_generation_call", "result": "iVBORw0KGgo="}
    done = {"output_index": 0, "item": {**item, "quality": "high"}}
    write(counted, *one.feed(event("response.output_item.done", **done)).records)
    usage = {"image_gen": {"input_tokens": 5, "output_tokens": 272}}
    whole = {"id": "resp_1", "status": "completed", "tool_usage": usage, "output": []}
    write(counted, *one.feed(event("response.completed", response=whole)).records)
    write(counted, *one.close().records)

    assert value(registry, "generating_events_total", provider="openai") == 1
    made = {"made": "yes", "quality": "high"}
    assert value(registry, "images_total", provider="openai", **made) == 1
    assert value(registry, "mismatches_total", field="quality") == 1
    assert value(registry, "image_tokens_total", kind="output_tokens") == 272
    ended = {"transport": "sse", "outcome": "completed", "status": "200"}
    assert value(registry, "exchanges_total", **ended) == 1
    assert value(registry, "exchanges_open") == 0
    assert value(registry, "audit_records_total") == 4


def test_a_conversation_that_is_read_has_made_nothing(
    counted: Counted, registry: CollectorRegistry
) -> None:
    """Else every look at an old history would count, and alert where rules changed."""
    one = exchange("GET", "/v1/conversations/conv_1/items")
    one.request()
    one.response(200, "application/json")
    item = {"id": "ig_1", "type": "image_generation_call", "result": "iVBORw0KGgo="}
    said = {"object": "list", "data": [{**item, "quality": "high"}]}

    records = one.feed(json.dumps(said).encode(), last=True).records
    write(counted, *records)

    assert [record.event for record in records] == ["imagegate.image_finished"]
    made = {"made": "yes", "quality": "high"}
    assert value(registry, "images_total", provider="openai", **made) is None
    assert value(registry, "mismatches_total", field="quality") == 0
    assert value(registry, "audit_records_total") == 1


@pytest.mark.parametrize(
    ("status", "kind", "times"),
    [(200, "", 1), (200, "application/json", 0), (502, "text/html", 0)],
)
def test_an_answer_that_may_have_images_and_cannot_be_read_is_counted(
    counted: Counted, registry: CollectorRegistry, status: int, kind: str, times: int
) -> None:
    one = exchange()
    write(counted, one.request(asking.body(asking.request(asking.tool()))).record)
    one.response(status, kind)
    write(counted, *one.close().records)

    assert value(registry, "unobserved_total", why="content_type") == times
    assert value(registry, "unobserved_total", why="content_encoding") == 0


def test_a_refused_request_is_never_open(
    counted: Counted, registry: CollectorRegistry
) -> None:
    one = exchange()
    tool = asking.tool(quality="high", moderation=7)

    write(counted, one.request(asking.body(asking.request(tool))).record)
    write(counted, *one.close("refused").records)

    labels = {"provider": "openai", "door": "responses.create"}
    assert value(registry, "decisions_total", decision="blocked", **labels) == 1
    assert value(registry, "exchanges_open") == 0


@pytest.mark.parametrize("how", ["refused", "client_left", "shutdown"])
@pytest.mark.parametrize("problem", [None, "disk full"])
def test_a_request_that_was_never_whole_is_never_open(
    audit: Taking,
    counted: Counted,
    registry: CollectorRegistry,
    how: Ended,
    problem: str | None,
) -> None:
    one = exchange()
    record = one.malformed(MalformedRequest("client_left", "the client left")).record
    audit.problem = problem

    with contextlib.suppress(OSError):
        write(counted, record, *one.close(how).records)

    assert value(registry, "exchanges_open") == 0


def test_what_cannot_be_written_is_not_counted_as_written(
    audit: Taking, counted: Counted, registry: CollectorRegistry
) -> None:
    one = exchange()
    write(counted, one.request(asking.body(asking.request(asking.tool()))).record)
    audit.problem, audit.lost, audit.queued = "disk full", 3, 7

    with pytest.raises(OSError, match="disk full"):
        write(counted, *one.close().records)

    assert counted.problem == "disk full"
    assert value(registry, "audit_failures_total") == 1
    assert value(registry, "audit_records_total") == 1
    assert value(registry, "audit_lost_total") == 3
    assert value(registry, "audit_queued") == 7
    assert value(registry, "exchanges_open") == 0


def test_labels_stay_within_bounds(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)

    for number in range(MOST_CHILDREN * 3):
        metrics.tokens(f"kind_{number}").inc()

    page = generate_latest(registry).decode()
    children = re.findall(
        r'^imagegate_image_tokens_total\{kind="(\w+)"\}', page, re.MULTILINE
    )
    assert len(children) == MOST_CHILDREN + 1
    assert value(registry, "image_tokens_total", kind="other") == 2 * MOST_CHILDREN


WORKER = """
import sys
from prometheus_client import CollectorRegistry
from imagegate.metrics import Metrics
metrics = Metrics(CollectorRegistry())
metrics.loaded()
metrics.open.inc(2)
metrics.audit_written.inc(100)
print("up", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    environment = {**os.environ, DIRECTORY: str(tmp_path)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for worker in running:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "up\n"
    yield running
    for worker in running:
        worker.communicate("")


def test_several_workers_are_added_up(
    workers: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    registry = shared(tmp_path)

    assert value(registry, "audit_records_total") == 300
    assert value(registry, "exchanges_open") == 6

    workers[0].communicate("")
    forget(workers[0].pid, tmp_path, served=True)

    assert value(registry, "audit_records_total") == 300
    assert value(registry, "exchanges_open") == 4


def test_a_worker_that_never_served_leaves_no_file(
    workers: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    pid = workers[0].pid
    workers[0].communicate("")

    forget(pid, tmp_path, served=False)

    assert [file for file in tmp_path.iterdir() if str(pid) in file.name] == []
    assert value(shared(tmp_path), "audit_records_total") == 200


def test_metrics_have_a_port_of_their_own(registry: CollectorRegistry) -> None:
    Metrics(registry).loaded()
    port, stop = serve(registry, host="127.0.0.1", port=0)
    try:
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read()
    finally:
        stop()

    names = {family.name for family in text_string_to_metric_families(page.decode())}
    assert "imagegate_policy_loaded_timestamp_seconds" in names
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics")


def test_a_policy_that_does_not_hold_any_more_is_no_series(
    registry: CollectorRegistry,
) -> None:
    reloads = Reloads(registry, ["policy", "candidate"])
    reloads.holds("policy", HOLDS)
    reloads.holds("candidate", {**HOLDS, "digest": "c"})
    reloads.holds("policy", {**HOLDS, "digest": "e"})

    page = generate_latest(registry).decode()

    told = [line for line in page.splitlines() if line.startswith("imagegate_policy_")]
    assert told == [
        f'imagegate_policy_info{{digest="{digest}",mode="enforce",policy="p",'
        f'role="{role}"}} 1.0'
        for role, digest in (("policy", "e"), ("candidate", "c"))
    ]


def test_reloads_are_counted_by_what_was_changed(registry: CollectorRegistry) -> None:
    reloads = Reloads(registry, ["policy", "keys"])
    reloads.loaded("policy")
    reloads.failed("keys")
    reloads.stale(["keys"])

    assert value(registry, "reloads_total", what="policy") == 1
    assert value(registry, "reload_failures_total", what="policy") == 0
    assert value(registry, "reload_failures_total", what="keys") == 1
    assert value(registry, "stale", what="keys") == 1
    reloads.stale([])
    assert value(registry, "stale", what="keys") == 0


@pytest.mark.parametrize(
    ("told", "candidate", "differs"),
    [
        ({"decision": "block", "differs": True}, "block", "yes"),
        ({"decision": "rewrite", "differs": False}, "rewrite", "no"),
        ({"undecided": "failed"}, "failed", "unknown"),
    ],
)
def test_what_a_candidate_would_have_decided_is_counted(
    registry: CollectorRegistry, told: dict[str, Any], candidate: str, differs: str
) -> None:
    metrics = Metrics(registry)
    beside = CandidateRecord(policy="c", policy_digest="d", duration_ms=0.05, **told)
    body = asking.body(asking.request(asking.tool(quality="high")))
    record = exchange().request(body).record

    metrics.count(msgspec.structs.replace(record, candidate=beside))

    labels = {"decision": "rewrite", "candidate": candidate, "differs": differs}
    assert value(registry, "candidate_decisions_total", **labels) == 1
    assert value(registry, "candidate_seconds_count") == 1


# -- what operators copy --------------------------------------------------------


def known(registry: CollectorRegistry) -> dict[str, set[str]]:
    """Return every sample's name with its labels, as a scrape shows them."""
    Metrics(registry)
    Reloads(registry, ["policy"]).holds("policy", HOLDS)
    Losses(registry)
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        collector = getattr(registry, "_names_to_collectors")[family.name]  # noqa: B009 - private, and no other way
        labels = set(getattr(collector, "_labelnames", HOLDS.keys() | {"role"}))
        if family.type == "counter":
            found[f"{family.name}_total"] = labels
        elif family.type == "histogram":
            found[f"{family.name}_bucket"] = labels | {"le"}
        else:
            found[family.name] = labels
    return found


def expressions() -> list[str]:
    board = json.loads((DEPLOY / "grafana" / "imagegate.json").read_text())
    shown = [t["expr"] for panel in board["panels"] for t in panel["targets"]]
    return [*shown, *alerts()]


def alerts() -> list[str]:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    return [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


def test_dashboard_and_alerts_ask_for_metrics_that_exist(
    registry: CollectorRegistry,
) -> None:
    names = known(registry)

    for expression in expressions():
        used = re.findall(r"(imagegate_\w+)(?:\{([^}]*)\})?", expression)
        assert used, expression
        for name, selector in used:
            assert name in names, f"{name} in {expression}"
            labels = set(re.findall(r"(\w+)=~?\"", selector)) - {"instance"}
            assert labels <= names[name], f"{labels} of {name} in {expression}"


def test_every_metric_is_on_the_dashboard_or_in_an_alert(
    registry: CollectorRegistry,
) -> None:
    everything = " ".join(expressions())

    assert [name for name in known(registry) if name not in everything] == []


def test_alerts_name_the_labels_that_they_have(registry: CollectorRegistry) -> None:
    names = known(registry)
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())

    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        text = " ".join(rule["annotations"].values())
        told = set(re.findall(r"\$labels\.(\w+)", text)) - {"instance"}
        metric = re.findall(r"imagegate_\w+", rule["expr"])[0]
        assert told <= names[metric], rule["alert"]


def test_what_an_alert_waits_for_is_told_as_zero_before_it_happens(
    registry: CollectorRegistry,
) -> None:
    """Prometheus sees no increase in a series that begins with one."""
    Metrics(registry)
    Losses(registry)
    told = [sample for metric in registry.collect() for sample in metric.samples]
    waiting = r"^increase\((imagegate_\w+)(?:\{(\w+)=~?\"(\w+)[^}]*\})?\[\w+\]\) > 0$"

    found = [match for each in alerts() if (match := re.match(waiting, each))]

    assert len(found) == sum("increase(" in each for each in alerts())
    for match in found:
        name, label, word = match.groups()
        at_zero = [sample for sample in told if sample.name == name]
        assert [sample.value for sample in at_zero] == [0] * len(at_zero), name
        assert [s for s in at_zero if label is None or s.labels[label] == word], name


def test_panels_do_not_overlap() -> None:
    board = json.loads((DEPLOY / "grafana" / "imagegate.json").read_text())
    places = [panel["gridPos"] for panel in board["panels"]]

    taken = [
        (x, y)
        for at in places
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
