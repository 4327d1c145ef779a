"""What was decided by counts is decided again by those that the record has."""

from __future__ import annotations

import msgspec
import pytest
from asking import CATALOGUE, DESIGN, TODAY, body, door, policy, request, tool

from imagegate.engine.allowance import claim_of
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block, Forward
from imagegate.engine.exchange import Exchange
from imagegate.engine.gate import Context, Gate
from imagegate.engine.quota import Count, Standing
from imagegate.engine.replay import decide_again, rebuild
from imagegate.engine.request import Request


@pytest.mark.parametrize("by", ["principal", "team", "everyone"])
@pytest.mark.parametrize(("used", "kind"), [(2, Forward), (3, Block)])
def test_the_counters_stand_where_they_stood(by: str, used: int, kind: type) -> None:
    rules = policy(f"quotas: {{ images: {{ {by}: {{ day: 3 }} }} }}\n")
    decider, read = Decider(rules, CATALOGUE), body(request(tool()))
    asked = Request(match=door(), date=TODAY, body=read, principal=DESIGN)
    counters = claim_of(decider.book, asked).counters
    standing = Standing(
        counts={counter: Count(used=used, since="2026-11-21") for counter in counters}
    )
    context = Context(decision_id="d", door=door(), date=TODAY, principal=DESIGN)

    ruling = Exchange(Gate(rules, CATALOGUE), context).request(read, standing=standing)

    again = rebuild(ruling.record, TODAY).request
    assert again is not None
    assert again.standing == standing
    assert isinstance(decide_again(decider, ruling.record, TODAY), kind)


@pytest.mark.parametrize(("price", "kind"), [(3, Forward), (4, Block), (None, Block)])
def test_what_a_request_may_cost_is_decided_by_again(
    price: int | None, kind: type
) -> None:
    rules = policy("quotas: { cost: { team: { day: 0.000010 } } }\n")
    decider, read = Decider(rules, CATALOGUE), body(request(tool()))
    asked = Request(match=door(), date=TODAY, body=read, principal=DESIGN)
    counters = claim_of(decider.book, asked).counters
    counts = {counter: Count(used=7, since="2026-11-21") for counter in counters}
    standing = Standing(counts=counts, price=price, currency="USD")
    context = Context(decision_id="d", door=door(), date=TODAY, principal=DESIGN)

    ruling = Exchange(Gate(rules, CATALOGUE), context).request(read, standing=standing)

    again = rebuild(ruling.record, TODAY).request
    assert again is not None
    assert again.standing == standing
    assert isinstance(decide_again(decider, ruling.record, TODAY), kind)
    told = [msgspec.structs.replace(x, currency=None) for x in ruling.record.quotas]
    nameless = msgspec.structs.replace(ruling.record, quotas=tuple(told))
    assert isinstance(decide_again(decider, nameless, TODAY), kind)
