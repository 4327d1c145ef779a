"""What is too much, over sockets: refused at once, and others are served."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from raw import Wire, post
from running import Gateway, until
from stage import process

from imagegate.simulator import Simulator

NOISE = random.Random(7).randbytes(400_000).hex().encode()  # noqa: S311 - no secret
BOMB = gzip.compress(b'{"input":"' + NOISE + b" " * 40_000_000 + b'"}')
"""Just not what is refused for shrinking too well."""
SQUEEZED = (
    b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
)
SLOW = {"simulator": "delay_ms=1500 bits=0"}
SLOWLY = post(
    b'{"model":"gpt-5","input":"x","metadata":{"simulator":"head_delay_ms=2000"}}'
)


@pytest.fixture
def gateway(provider: str, tmp_path: Path) -> Iterator[Gateway]:
    running = Gateway(
        tmp_path,
        *("--policy", "standard", "--upstream", provider, "--metrics-port", "0"),
        IMAGEGATE_LIMITS_EXCHANGES="2",
        IMAGEGATE_LIMITS_RATE="1000000",
        IMAGEGATE_LIMITS_SECONDS="3",
        IMAGEGATE_LISTEN_CONNECTIONS="8",
    )
    yield running
    running.end()


def ask(gateway: Gateway, **options: Any) -> Any:
    with gateway.client() as client:
        return client.responses.create(model="gpt-5", input="x", **options)


def test_an_exchange_too_many_is_an_error_that_sdks_know(gateway: Gateway) -> None:
    tool: Any = {"type": "image_generation"}
    with ThreadPoolExecutor(2) as pool:
        slow = [
            pool.submit(ask, gateway, tools=[tool], metadata=SLOW) for _ in range(2)
        ]
        until(lambda: len(gateway.records("request_rewritten")) == 2)
        with pytest.raises(openai.InternalServerError) as caught:
            ask(gateway)
        assert caught.value.status_code == 503
        assert caught.value.code == "too_many_exchanges"
        assert caught.value.response.headers["retry-after"] == "1"
        # One that asks again by itself is served.
        with gateway.client(max_retries=8) as client:
            assert client.responses.create(model="gpt-5", input="x").output_text
        assert all(each.result().output for each in slow)


def test_whoever_is_refused_asks_again_on_the_same_connection(
    gateway: Gateway,
) -> None:
    """Another connection would cost the gateway more than the refusal."""
    port = int(gateway.url.rpartition(":")[2])
    with contextlib.ExitStack() as open_:
        for _ in range(2):
            open_.enter_context(Wire(port=port)).say(SLOWLY)
        until(lambda: len(gateway.records("request_forwarded")) == 2)
        again = open_.enter_context(Wire(port=port))
        answers = [again.say(SLOWLY).answer() for _ in range(3)]

    assert {answer.code for answer in answers} == {"too_many_exchanges"}
    assert {answer.header("connection") for answer in answers} == {None}


def test_a_body_that_drips_is_ended_long_before_its_time(gateway: Gateway) -> None:
    head = post(b"x" * 100_000).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    began = time.monotonic()
    with Wire(port=int(gateway.url.rpartition(":")[2]), timeout=30.0) as wire:
        wire.say(head, b"{")
        answer = wire.answer()

    assert (answer.status, answer.code) == (408, "body_too_slow")
    assert time.monotonic() - began < 20
    assert ask(gateway).output_text


def test_bombs_at_once_hold_no_more_than_is_allowed(
    provider: str, simulator: Simulator, tmp_path: Path
) -> None:
    """Without the bound, twenty of them take over a gigabyte."""
    del simulator
    bound = 150_000_000
    with process(provider, tmp_path, IMAGEGATE_LIMITS_BODIES=str(bound)) as running:
        before = running.memory("VmRSS")
        running.reset_peak()
        port = int(running.url.rpartition(":")[2])

        def throw() -> int:
            with Wire(port=port, timeout=60.0) as wire:
                return wire.say(SQUEEZED % len(BOMB), BOMB).answer().status

        with ThreadPoolExecutor(20) as pool:
            thrown = [pool.submit(throw) for _ in range(20)]
            statuses = [each.result() for each in thrown]

        assert set(statuses) == {401, 503}  # the provider was asked by some
        # What is read and what is written of one may be there beside what is held.
        assert running.memory() - before < 3 * bound
        client = openai.OpenAI(base_url=f"{running.url}/v1", api_key="k", max_retries=0)
        assert client.responses.create(model="gpt-5", input="x").output_text
        client.close()
    records = [json.loads(line) for line in running.records.read_text().splitlines()]
    codes = {v["code"] for r in records for v in r.get("violations", ())}
    assert "too_many_bodies" in codes


def test_connections_beyond_the_bound_are_counted(gateway: Gateway) -> None:
    port = int(gateway.url.rpartition(":")[2])
    open_ = [Wire(port=port) for _ in range(8)]
    get = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    assert {wire.say(get).answer().status for wire in open_} == {200}
    with Wire(port=port) as ninth:
        assert ninth.say(get).answer().code == "too_many_connections"
    for wire in open_:
        with wire:
            pass

    def served() -> bool:
        with Wire(port=port) as again:
            return again.say(get).answer().status == 200

    until(served)


FEW = (
    "import resource; from imagegate.cli import main; "
    "resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)); main()"
)
HELLO = post(
    b'{"model":"gpt-5","input":"x","metadata":{"simulator":"head_delay_ms=700"}}'
)


def test_whoever_is_taken_has_a_descriptor_for_his_provider_too(
    provider: str, tmp_path: Path
) -> None:
    """Else a crowd takes all there are, and nobody in it can be served."""
    gateway = Gateway(
        tmp_path, "--policy", "standard", "--upstream", provider, program=("-c", FEW)
    )
    port = int(gateway.url.rpartition(":")[2])
    with contextlib.ExitStack() as open_:
        crowd = [open_.enter_context(Wire(port=port)) for _ in range(200)]
        for wire in crowd:
            wire.say(HELLO)
        answers = Counter(wire.answer().status for wire in crowd)
    gateway.end()

    assert answers == {200: 20, 503: 180}
    [few] = gateway.said("few_descriptors")
    assert few["connections"] == 20
