"""What an image may cost that a request may make, before it is made."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from asking import (
    CATALOGUE,
    DESIGN,
    HEADER,
    IMAGES,
    RESPONSES,
    TODAY,
    body,
    door,
    policy,
    request,
    tool,
)

from imagegate.engine.allowance import Claim
from imagegate.engine.decide import Decider
from imagegate.engine.fare import Fares
from imagegate.engine.gate import Gate
from imagegate.engine.prices import Prices, read_prices
from imagegate.engine.request import Request
from imagegate.shipped import prices

BUDGET = "quotas: { cost: { principal: { day: 5 } } }\n"
LISTED = prices()
DEAREST = 250_000
"""Of the table that ships."""
HIGH: dict[str, Any] = {
    "model": "gpt-image-2",
    "quality": "high",
    "size": "1024x1024",
}
AZURE_PRICED = b"""
date = "2026-11-21"
currency = "EUR"
sources = { own = "the contract" }
[providers.azure.gpt-image-1-mini]
source = "own"
as_of = "2026-11-21"
images = { high = { 1024x1024 = 0.04 } }
"""


def claim(value: Any, rules: str = "", at: str = RESPONSES, **more: Any) -> Claim:
    table: Prices | None = more.pop("table", LISTED)
    inherits = more.pop("inherits", None)
    match = door(at)
    read = body(value, match)
    asked = Request(match=match, date=TODAY, body=read, principal=DESIGN, **more)
    gate = Gate(policy(rules + BUDGET), CATALOGUE, prices=table)
    return gate.claim(asked, inherits=inherits)


def price(value: Any, rules: str = "", at: str = RESPONSES, **more: Any) -> int | None:
    found = claim(value, rules, at, **more)
    assert found.images
    return found.price


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (HIGH, 211_000),
        ({**HIGH, "quality": "low"}, 6_000),
        ({**HIGH, "quality": "auto"}, 211_000),
        ({**HIGH, "size": "auto"}, 211_000),
        ({**HIGH, "size": "2048x2048"}, 4 * 211_000),
        ({**HIGH, "model": "gpt-image-1-mini"}, 36_000),
        ({**HIGH, "model": "gpt-image-1-mini", "size": "auto"}, 52_000),
        ({**HIGH, "model": "gpt-image-2.6-sunburst"}, DEAREST),
        ({**HIGH, "model": "gpt-image-1.5"}, None),
        ({}, DEAREST),  # the tool's default model has prices of tokens alone
    ],
)
def test_a_tool_costs_what_its_settings_do(
    settings: dict[str, Any], expected: int | None
) -> None:
    assert price(request(tool(**settings))) == expected


def test_it_is_what_is_sent_that_costs() -> None:
    rules = "settings: { quality: { max: low, default: low, otherwise: lower } }\n"

    assert price(request(tool(**HIGH)), rules) == 6_000


def test_of_several_tools_the_dearest_counts() -> None:
    mini = tool(**{**HIGH, "model": "gpt-image-1-mini"})

    assert price(request(mini, tool(**HIGH))) == 211_000
    assert price(request(mini, tool(model="gpt-image-1.5"))) is None


def test_what_is_refused_anyway_costs_nothing() -> None:
    rules = "settings: { quality: { max: low, default: low } }\n"

    assert price(request(tool(**HIGH)), rules) == 0


@pytest.mark.parametrize(
    ("value", "more"),
    [
        (request(tool_choice={"type": "image_generation"}), {}),
        (request(tool(**HIGH), conversation="conv_1"), {}),
        (request(previous_response_id="resp_1"), {"inherits": True}),
    ],
)
def test_what_shows_no_settings_is_taken_for_the_dearest(value: Any, more: Any) -> None:
    rules = "state: { conversation: allow, previous_response: seen }\n"
    seen = frozenset({"resp_1"})

    assert price(value, rules, seen=seen, **more) == DEAREST


def test_the_images_api_has_no_default_model_that_is_known() -> None:
    made = claim({"prompt": "x", "n": 3, **HIGH}, at=IMAGES)

    assert (made.images, made.price) == (3, 211_000)
    assert price({"prompt": "x"}, at=IMAGES) == DEAREST


def test_on_azure_a_deployment_means_its_model() -> None:
    rules = "deployments: { mini: gpt-image-1-mini, new: gpt-image-2 }\n"
    table = read_prices(AZURE_PRICED, catalogue=CATALOGUE)
    at = "POST /openai/v1/responses"
    more: dict[str, Any] = {"at": at, "table": table}
    value = request(tool(quality="high", size="1024x1024"))

    assert price(value, rules, headers=((HEADER, "mini"),), **more) == 40_000
    assert price(value, rules, headers=((HEADER, "new"),), **more) is None
    assert price(value, rules, **more) == 40_000  # whichever it is, it is the dearest


def test_where_nothing_of_a_provider_is_priced_nothing_is_known() -> None:
    value = request(tool())

    assert price(value, at="POST /openai/v1/responses") is None
    assert price(value, table=None) is None


def test_nobody_asks_for_prices_where_no_quota_counts_them() -> None:
    decider = Decider(policy("quotas: { images: { everyone: { day: 3 } } }"), CATALOGUE)
    asked = Request(match=door(), date=TODAY, body=body(request(tool())))

    def never(_: Request) -> Any:
        raise AssertionError

    assert Fares(decider, LISTED).claim(asked, never).price == 0
    assert claim(request()) == Claim()


def test_what_nobody_expected_counts_for_the_dearest_that_is_known() -> None:
    decider = Decider(policy(), CATALOGUE)
    azure = door("POST /openai/v1/responses")
    bare = msgspec.structs.replace(LISTED, models={})

    assert Fares(decider, LISTED).any_of(door()) == DEAREST
    assert Fares(decider, LISTED).any_of(azure) == DEAREST
    assert Fares(decider, bare).any_of(door()) == 0
    assert Fares(decider, None).any_of(door()) == 0
    assert (Fares(decider, LISTED).currency, Fares(decider, None).currency) == (
        "USD",
        "",
    )


def test_an_amount_is_never_rounded_to_nothing() -> None:
    models = {
        "openai": {
            "gpt-image-2": msgspec.structs.replace(
                LISTED.models["openai"]["gpt-image-2"],
                images={"high": {"1024x1024": Decimal("0.0000001")}},
            )
        }
    }
    table = msgspec.structs.replace(LISTED, models=models)

    assert price(request(tool(**HIGH)), table=table) == 1
