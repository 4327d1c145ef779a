"""Quotas of cost: when what images may cost is too much."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from asking import CATALOGUE, TODAY, body, door, policy, request, tool
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.allowance import claim_of, counts_images, quota_records
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block, Decision, Forward, Rewrite, Violation
from imagegate.engine.policy import Principal
from imagegate.engine.quota import QUOTAS, Count, Counter, Outage, Standing
from imagegate.engine.records import QuotaRecord
from imagegate.engine.request import Request

ANN = Principal(id="ann", verified=True, source="key")
MONTH = QUOTAS["cost.principal.month"]
MINE = Counter(MONTH, "ann", source="key")
RULE = "quotas.cost.principal.month.max"
ONE = "quotas: { cost: { principal: { month: 2.50 } } }\n"
STRIP = "quotas: { cost: { principal: { month: { max: 2.50, otherwise: strip } } } }\n"
OBSERVE = "quotas: { cost: { principal: { month: { max: 2.50, mode: observe } } } }\n"
IMAGE = request(tool())


def standing(
    used: int | None,
    held: int = 0,
    price: int | None = 211_000,
    outage: Outage = "refuse",
) -> Standing:
    count = Count(used=used, held=held, since="2026-11-01", resets_in=9_000)
    return Standing(counts={MINE: count}, price=price, currency="USD", outage=outage)


def asked(value: Any, stands: Standing) -> Request:
    match = door()
    return Request(
        match=match,
        date=TODAY,
        body=body(value, match),
        principal=ANN,
        standing=stands,
    )


def decide(rules: str, stands: Standing, value: Any = IMAGE) -> Decision:
    return Decider(policy(rules), CATALOGUE).decide(asked(value, stands))


def refusal(decision: Decision) -> Violation:
    assert isinstance(decision, Block), decision
    (found,) = decision.violations
    return found


def test_an_image_claims_money_and_text_claims_none() -> None:
    book = Decider(policy(ONE), CATALOGUE).book
    text = asked(request(), Standing())

    assert claim_of(book, asked(IMAGE, Standing())).counters == (MINE,)
    assert claim_of(book, text).counters == ()
    assert counts_images(book, text) == (MINE,)


@pytest.mark.parametrize(
    ("used", "held", "fits"),
    [
        (2_289_000, 0, True),
        (2_289_001, 0, False),
        (0, 2_289_000, True),
        (0, 2_289_001, False),
        (2_500_000, 0, False),
    ],
)
def test_a_request_needs_room_for_what_it_may_cost(
    used: int,
    held: int,
    fits: bool,  # noqa: FBT001 - a table
) -> None:
    decision = decide(ONE, standing(used, held))

    assert isinstance(decision, Forward) == fits
    assert isinstance(decide(ONE, standing(used, held), request()), Forward)


@given(
    used=st.integers(0, 3_000_000),
    held=st.integers(0, 3_000_000),
    price=st.integers(0, 3_000_000),
)
def test_nothing_goes_on_that_could_be_more_than_the_limit(
    used: int, held: int, price: int
) -> None:
    decision = decide(ONE, standing(used, held, price))

    assert isinstance(decision, Forward) == (used + held + price <= 2_500_000)


def test_a_refusal_speaks_of_money() -> None:
    found = refusal(decide(ONE, standing(2_300_000, 36_000)))

    assert (found.by.rule, found.code, found.status) == (
        RULE,
        "insufficient_quota",
        429,
    )
    assert (found.field, found.before, found.retry_after) == ("cost", "2.3", 9_000)
    assert found.message == (
        "2.3 of 2.5 USD of this month are used (yours), 0.036 held by requests under "
        "way, and this may cost 0.211"
    )
    assert found.fix == (
        "wait 3 hours, ask for a lower `quality` or a smaller `size`, or set "
        "`tool_choice` to `none` for an answer without images"
    )


def test_what_is_under_way_may_leave_room_soon() -> None:
    found = refusal(decide(ONE, standing(0, 2_400_000)))

    assert (found.code, found.retry_after) == ("rate_limit_exceeded", 5)


def test_the_tool_can_be_taken_out_instead() -> None:
    for stands in (standing(2_500_000), standing(None), standing(0, price=None)):
        decision = decide(STRIP, stands)

        assert isinstance(decision, Rewrite)
        assert [each.by.rule for each in decision.changes] == [RULE]


def test_what_has_no_price_is_refused_however_much_is_left() -> None:
    for outage in ("refuse", "allow"):
        found = refusal(decide(ONE, standing(0, price=None, outage=outage)))

        assert (found.by.rule, found.code, found.status) == (RULE, "price_unknown", 403)
        assert found.retry_after is None
    nothing_counted = Standing(price=None)
    assert refusal(decide(ONE, nothing_counted)).code == "price_unknown"
    images = "quotas: { images: { principal: { month: 2 } } }\n"
    assert isinstance(decide(images, nothing_counted), Forward)


def test_an_outage_does_as_the_operator_says() -> None:
    found = refusal(decide(ONE, standing(None)))

    assert (found.code, found.status) == ("quota_unknown", 503)
    assert "how much money of this month is left" in found.message
    assert isinstance(decide(ONE, standing(None, outage="allow")), Forward)


def test_an_observed_quota_of_cost_stops_nobody() -> None:
    decision = decide(OBSERVE, standing(2_500_000))

    assert isinstance(decision, Forward)
    assert [each.by.rule for each in decision.observed] == [RULE]


def test_the_record_tells_what_the_request_asked_for() -> None:
    book = Decider(policy(ONE), CATALOGUE).book.page(ANN, TODAY).acting

    (told,) = quota_records(book, asked(IMAGE, standing(7, 9)))

    expected = QuotaRecord(
        quota="cost.principal.month",
        since="2026-11-01",
        max=2_500_000,
        used=7,
        held=9,
        asks=211_000,
        currency="USD",
    )
    assert told == expected
    unpriced = asked(IMAGE, standing(7, 9, price=None))
    assert quota_records(book, unpriced) == (
        msgspec.structs.replace(expected, asks=None),
    )
