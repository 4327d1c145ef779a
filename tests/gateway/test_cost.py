"""Quotas of cost over sockets: what the real SDK is told, and what auditors find."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest
from redisd import redisd
from running import Gateway, gateways, until

from imagegate.engine.quota import amount_of

GUIDE: Any = {
    "type": "image_generation",
    "model": "gpt-image-2",
    "quality": "high",
    "size": "1024x1024",
}
"""0.211 at a price each: its model has no prices of tokens."""
MINI: Any = {**GUIDE, "model": "gpt-image-1-mini"}
"""0.036 at a price each, 0.03336 by the tokens that the simulator tells."""
RULES = """
version: 1
name: budget
owner: o@example.com
mode: enforce
models:
  gpt-image-2: {{}}
  gpt-image-1-mini: {{}}
  gpt-image-1.5: {{}}
  default: gpt-image-2
quotas: {{ cost: {{ everyone: {{ month: {} }} }} }}
"""
Start = Callable[..., Gateway]


@pytest.fixture
def start(provider: str, tmp_path: Path) -> Iterator[Start]:
    """Start gateways in front of the simulator; they end with the test."""
    with gateways(tmp_path) as begin:

        def starting(line: str, *arguments: str | Path, **environ: str) -> Gateway:
            policy = tmp_path / f"policy-{uuid.uuid4()}.yaml"
            policy.write_text(RULES.format(line))
            said = ("--policy", policy, "--upstream", provider, *arguments)
            return begin(*said, **environ)

        yield starting


def ask(gateway: Gateway, tool: Any = MINI, **options: Any) -> Any:
    with gateway.client() as client:
        said = {"tools": [tool], "model": "gpt-5", "input": "a cat", **options}
        return client.responses.create(**said)


def spends(gateway: Gateway) -> bool:
    """Ask once more; say whether there was enough for it."""
    try:
        ask(gateway)
    except openai.RateLimitError:
        return False
    return True


def crowd(number: int, *gateways: Gateway) -> list[str]:
    """Ask many times at once; say of each what came back."""

    async def one(gateway: Gateway) -> str:
        async with openai.AsyncOpenAI(
            base_url=f"{gateway.url}/v1", api_key="k", max_retries=0
        ) as client:
            try:
                await client.responses.create(model="gpt-5", input="x", tools=[GUIDE])
            except openai.RateLimitError as error:
                return str(error.code)
        return "made"

    async def all_of_them() -> list[str]:
        asked = (one(gateways[n % len(gateways)]) for n in range(number))
        return await asyncio.gather(*asked)

    return asyncio.run(all_of_them())


def recorded(*gateways: Gateway) -> Decimal:
    """Add what is on record."""
    ends = [end for each in gateways for end in each.records("exchange_finished")]
    return sum((Decimal(end["cost_amount"] or 0) for end in ends), Decimal(0))


def refused(gateway: Gateway) -> dict[str, Any]:
    """Return where the counter stood by the last refusal."""
    record: dict[str, Any] = gateway.records("request_blocked")[-1]["quotas"][0]
    return record


def test_a_budget_is_spent_until_nothing_is_left_for_one_more(start: Start) -> None:
    """By usage where that is told: two at 0.03336 leave too little for 0.036."""
    gateway = start("0.10")
    ask(gateway)
    ask(gateway, stream=False)

    with pytest.raises(openai.RateLimitError) as caught:
        ask(gateway)

    assert caught.value.code == "insufficient_quota"
    assert int(caught.value.response.headers["retry-after"]) > 0
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert "0.06672 of 0.1 USD" in str(caught.value)
    assert "this may cost 0.036" in str(caught.value)
    [record] = gateway.records("request_blocked")
    assert record["violations"][0]["rule"] == "quotas.cost.everyone.month.max"
    assert refused(gateway) == {
        "quota": "cost.everyone.month",
        "team": None,
        "since": refused(gateway)["since"],
        "max": 100_000,
        "used": 66_720,
        "held": 0,
        "asks": 36_000,
        "currency": "USD",
    }
    assert recorded(gateway) == Decimal("0.06672")
    assert ask(gateway, tools=[]).status == "completed"
    low = {**MINI, "quality": "low"}
    assert ask(gateway, low).status == "completed"


def test_workers_count_together_and_spend_no_more_than_they_may(start: Start) -> None:
    gateway = start("1.00", "--workers", "2")

    answers = crowd(24, gateway)

    assert answers.count("made") == 4
    assert {*answers} <= {"made", "rate_limit_exceeded", "insufficient_quota"}
    assert crowd(2, gateway) == ["insufficient_quota"] * 2
    assert recorded(gateway) == Decimal("0.844")
    assert refused(gateway)["used"] == 844_000


def test_gateways_that_share_redis_spend_together(start: Start, tmp_path: Path) -> None:
    with redisd(tmp_path) as server:
        said = {"IMAGEGATE_QUOTAS_REDIS": server.url, "IMAGEGATE_QUOTAS_SECONDS": "5"}
        one, other = start("1.00", **said), start("1.00", **said)

        answers = crowd(20, one, other)

        assert answers.count("made") == 4
        assert recorded(one, other) == Decimal("0.844")
        assert crowd(2, one, other) == ["insufficient_quota"] * 2


def test_a_file_remembers_what_was_spent_over_a_restart(
    start: Start, tmp_path: Path
) -> None:
    said = {"IMAGEGATE_QUOTAS_FILE": str(tmp_path / "quotas.db")}
    first = start("0.05", **said)
    ask(first)
    assert first.end() == 0
    second = start("0.05", **said)

    with pytest.raises(openai.RateLimitError):
        ask(second)

    assert refused(second)["used"] == 33_360


def test_the_tool_is_left_out_when_the_money_is_spent(start: Start) -> None:
    gateway = start("{ max: 0.05, otherwise: strip }")
    ask(gateway)

    answer = ask(gateway)

    assert [each.type for each in answer.output] == ["message"]
    [record] = gateway.records("request_rewritten")[-1:]
    assert record["changes"][0]["rule"] == "quotas.cost.everyone.month.max"


def test_a_model_without_a_price_is_refused(start: Start) -> None:
    gateway = start("1000")

    with pytest.raises(openai.PermissionDeniedError) as caught:
        ask(gateway, {**GUIDE, "model": "gpt-image-1.5"})

    assert caught.value.code == "price_unknown"
    [record] = gateway.records("request_blocked")
    assert record["quotas"][0]["asks"] is None


def test_what_is_made_in_the_background_is_paid_when_it_is_read(start: Start) -> None:
    gateway = start("0.06")
    begun = ask(gateway, background=True)
    with gateway.client() as client:
        with pytest.raises(openai.RateLimitError):
            ask(gateway)  # it holds its price
        assert refused(gateway)["held"] == 36_000
        while client.responses.retrieve(begun.id).status != "completed":
            pass
        client.responses.retrieve(begun.id)

    with pytest.raises(openai.RateLimitError):
        ask(gateway)

    assert (refused(gateway)["used"], refused(gateway)["held"]) == (33_360, 0)


def test_pictures_of_the_images_api_are_paid_each(start: Start) -> None:
    gateway = start("1.00")
    said: Any = {"model": "gpt-image-2", "quality": "high", "size": "1024x1024"}

    with gateway.client() as client:
        client.images.generate(prompt="cats", n=3, **said)
        with pytest.raises(openai.RateLimitError) as caught:
            client.images.generate(prompt="cats", n=2, **said)
        client.images.generate(prompt="a cat", n=1, **said)

    assert "0.633 of 1 USD" in str(caught.value)
    assert "this may cost 0.422" in str(caught.value)
    until(lambda: recorded(gateway) == Decimal("0.844"))


def test_an_auditor_finds_what_was_counted(start: Start, tmp_path: Path) -> None:
    trail = tmp_path / "trail"
    gateway = start("0.50", "--audit", trail)
    for tool in (MINI, GUIDE, {**MINI, "quality": "low", "size": "1536x1024"}):
        ask(gateway, tool)
    while spends(gateway):
        pass
    assert gateway.end() == 0

    asked = ["audit", "query", "cost", "--by", "month", "--format", "json"]
    told = subprocess.run(
        [sys.executable, "-m", "imagegate", *asked, trail],
        capture_output=True,
        text=True,
        check=True,
    )

    [month] = json.loads(told.stdout)
    journal = "".join(each.read_text() for each in sorted(trail.rglob("*.jsonl")))
    [blocked] = [
        json.loads(line) for line in journal.splitlines() if "request_blocked" in line
    ]
    assert Decimal(str(month["cost"])) == Decimal(
        amount_of(blocked["quotas"][0]["used"])
    )
    assert blocked["quotas"][0]["held"] == 0
