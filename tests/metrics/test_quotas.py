"""What is counted of quotas: each request whose count was not known."""

from __future__ import annotations

import pytest
from asking import CATALOGUE, TODAY, body, door, policy, request, tool
from prometheus_client import CollectorRegistry

from imagegate.engine.allowance import claim_of
from imagegate.engine.exchange import Exchange
from imagegate.engine.gate import Context, Gate
from imagegate.engine.quota import Count, Outage, Standing
from imagegate.engine.request import Request
from imagegate.metrics import Metrics


@pytest.mark.parametrize(
    ("otherwise", "outage", "action"),
    [
        ("block", "refuse", "refused"),
        ("strip", "refuse", "stripped"),
        ("block", "allow", "allowed"),
    ],
)
def test_each_is_counted_by_what_was_done(
    otherwise: str, outage: Outage, action: str
) -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    line = f"{{ max: 2, otherwise: {otherwise} }}"
    rules = policy(f"quotas: {{ images: {{ principal: {{ day: {line} }} }} }}\n")
    gate, read = Gate(rules, CATALOGUE), body(request(tool()))
    asked = Request(match=door(), date=TODAY, body=read)
    claim = claim_of(gate.decider.book, asked)
    context = Context(decision_id="d", door=door(), date=TODAY)
    counts = dict.fromkeys(claim.counters, Count(used=None))

    standing = Standing(counts=counts, outage=outage)
    ruling = Exchange(gate, context).request(read, standing=standing)
    metrics.count(ruling.record)
    metrics.counters("lost")

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"imagegate_{name}_total", labels)

    assert value("quota_unknown", action=action) == 1
    assert value("quota_counters", event="lost") == 1
