"""Quotas over sockets: several gateways, several workers, the real SDK."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from redisd import redisd
from running import Gateway, gateways, until

IMAGE: Any = {"type": "image_generation"}
RULES = """
version: 1
name: counted
owner: o@example.com
mode: enforce
quotas: {{ images: {{ everyone: {{ month: {} }} }} }}
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


def ask(gateway: Gateway, **options: Any) -> Any:
    with gateway.client() as client:
        said = {"tools": [IMAGE], "model": "gpt-5", "input": "a cat", **options}
        return client.responses.create(**said)


def crowd(number: int, *gateways: Gateway, retries: int = 0) -> list[str]:
    """Ask many times at once; say of each what came back."""

    async def one(client: openai.AsyncOpenAI) -> str:
        try:
            await client.responses.create(model="gpt-5", input="x", tools=[IMAGE])
        except openai.RateLimitError as error:
            return str(error.code)
        return "made"

    async def all_of_them() -> list[str]:
        async with contextlib.AsyncExitStack() as open_:
            clients = [
                await open_.enter_async_context(
                    openai.AsyncOpenAI(
                        base_url=f"{each.url}/v1", api_key="k", max_retries=retries
                    )
                )
                for each in gateways
            ]
            asked = (one(clients[n % len(clients)]) for n in range(number))
            return await asyncio.gather(*asked)

    return asyncio.run(all_of_them())


def made(*gateways: Gateway) -> int:
    """Count the images that are on record."""
    finished = [each.records("image_finished") for each in gateways]
    return sum(record["made"] for records in finished for record in records)


def unknown(gateway: Gateway) -> int:
    """Count the requests that went on while nobody knew what was left."""
    events = "request_forwarded", "request_rewritten"
    judged = [record for event in events for record in gateway.records(event)]
    return sum(each["used"] is None for r in judged for each in r["quotas"])


def test_workers_count_together_and_make_no_more_than_they_may(start: Start) -> None:
    gateway = start("13", "--workers", "2")

    answers = crowd(60, gateway)

    assert answers.count("made") == 13
    assert made(gateway) == 13
    assert {*answers} <= {"made", "rate_limit_exceeded", "insufficient_quota"}
    assert crowd(3, gateway) == ["insufficient_quota"] * 3


def test_gateways_that_share_redis_count_together(start: Start, tmp_path: Path) -> None:
    with redisd(tmp_path) as server:
        said = {"IMAGEGATE_QUOTAS_REDIS": server.url, "IMAGEGATE_QUOTAS_SECONDS": "5"}
        one = start("17", "--workers", "2", **said)
        other = start("17", **said)

        answers = crowd(80, one, other)

        assert answers.count("made") == made(one, other) == 17
        assert crowd(4, one, other) == ["insufficient_quota"] * 4


def test_the_sdk_raises_its_own_error_and_does_not_ask_again(start: Start) -> None:
    gateway = start("1")
    ask(gateway)

    with (
        pytest.raises(openai.RateLimitError) as caught,
        gateway.client(max_retries=5) as client,
    ):
        client.responses.create(model="gpt-5", input="x", tools=[IMAGE])

    assert caught.value.type == "insufficient_quota"
    assert caught.value.code == "insufficient_quota"
    assert int(caught.value.response.headers["retry-after"]) > 0
    assert len(gateway.records("request_blocked")) == 1
    assert ask(gateway, tools=[]).status == "completed"
    assert ask(gateway, tool_choice="none").status == "completed"


def test_the_tool_is_left_out_and_the_conversation_goes_on(start: Start) -> None:
    gateway = start("{ max: 1, otherwise: strip }")
    ask(gateway)

    answer = ask(gateway)

    assert [each.type for each in answer.output] == ["message"]
    [record] = gateway.records("request_rewritten")[-1:]
    assert record["changes"][0]["rule"] == "quotas.images.everyone.month.max"
    assert record["quotas"][0]["used"] == 1


def test_a_file_remembers_over_a_restart(start: Start, tmp_path: Path) -> None:
    said = {"IMAGEGATE_QUOTAS_FILE": str(tmp_path / "quotas.db")}
    first = start("1", **said)
    ask(first)
    assert first.end() == 0

    with pytest.raises(openai.RateLimitError):
        ask(start("1", **said))


@pytest.mark.parametrize("outage", ["refuse", "allow"])
def test_an_outage_of_redis_does_as_the_operator_says_and_ends_by_itself(
    start: Start, tmp_path: Path, outage: str
) -> None:
    with redisd(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        gateway = start(
            "3",
            IMAGEGATE_QUOTAS_REDIS=server.url,
            IMAGEGATE_QUOTAS_OUTAGE=outage,
            IMAGEGATE_QUOTAS_PAUSE_SECONDS="0.05",
        )
        ask(gateway)
        server.stop()
        if outage == "refuse":
            with pytest.raises(openai.InternalServerError) as caught:
                ask(gateway)
            assert (caught.value.status_code, caught.value.code) == (
                503,
                "quota_unknown",
            )
        else:
            ask(gateway)
        assert ask(gateway, tools=[]).status == "completed"
        assert gateway.said("quotas_unavailable")
        server.start()

        def counted() -> bool:
            with contextlib.suppress(openai.RateLimitError, openai.InternalServerError):
                ask(gateway)
            return made(gateway) >= 3

        until(counted)
        # What was made meanwhile is counted too, as soon as it can be.
        until(lambda: crowd(1, gateway) == ["insufficient_quota"])
        assert made(gateway) <= 3 + unknown(gateway)
        assert gateway.end() == 0
