"""Batches through the whole gateway, with the real SDK."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from stage import Log, serving

from imagegate import shipped
from imagegate.app import create_app
from imagegate.audit import StreamAudit
from imagegate.engine.gate import Gate
from imagegate.policyfile import load_policy
from imagegate.server.run import Listener, server_for
from imagegate.simulator import Simulator
from imagegate.upstream.fast.client import FastClient
from imagegate.upstream.forwarder import Upstream

RULES = b"""
version: 1
name: batches
owner: tests
mode: enforce
surface: { files: enforce, batches: enforce }
settings: { quality: { max: low, default: low, otherwise: lower } }
"""


@pytest.fixture(scope="module")
def sdk(provider: str, whole_log: Log) -> Iterator[openai.OpenAI]:
    catalogue, today = shipped.catalogue(), datetime.date(2026, 11, 21)
    policy = load_policy(RULES, file="p.yaml", catalogue=catalogue, today=today)
    app = create_app(
        Gate(policy, catalogue),
        {"": Upstream(name="simulator", base=provider)},
        client=FastClient(),
        audit=StreamAudit(whole_log),
    )
    with (
        serving(server_for(app, Listener(port=0, grace=1))) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client,
    ):
        yield client


def line(name: str, quality: str) -> bytes:
    tool = {"type": "image_generation", "model": "gpt-image-1-mini", "quality": quality}
    body = {"model": "gpt-5", "input": "a cat", "tools": [tool]}
    url = "/v1/responses"
    whole = {"custom_id": name, "method": "POST", "url": url, "body": body}
    return json.dumps(whole).encode()


def run(sdk: openai.OpenAI, *lines: bytes) -> list[dict[str, Any]]:
    """Upload a file, run it, and read what came of it."""
    file = sdk.files.create(file=("a.jsonl", b"\n".join(lines)), purpose="batch")
    batch = sdk.batches.create(
        input_file_id=file.id, endpoint="/v1/responses", completion_window="24h"
    )
    deadline = time.monotonic() + 20
    while batch.status != "completed":
        assert time.monotonic() < deadline, batch
        batch = sdk.batches.retrieve(batch.id)
    assert batch.output_file_id is not None
    output = sdk.files.content(batch.output_file_id).text
    return [json.loads(each) for each in output.splitlines()]


def test_a_batch_draws_what_the_policy_allows(
    sdk: openai.OpenAI, simulator: Simulator, records: Callable[[], Any]
) -> None:
    told = run(sdk, line("one", "high"), line("two", "low"))

    assert {each["custom_id"] for each in told} == {"one", "two"}
    for each in told:
        output = each["response"]["body"]["output"]
        [call] = [x for x in output if x["type"] == "image_generation_call"]
        assert call["quality"] == "low"
    lines = [json.loads(x.body) for x in simulator.received if x.method == "BATCH"]
    asked = [each["body"]["tools"][0]["quality"] for each in lines[-2:]]
    assert asked == ["low", "low"]
    named = {x["response"]["body"]["id"] for x in told}
    by_event: dict[str, list[Any]] = {}
    for record in records():
        by_event.setdefault(record["event"], []).append(record)
    [uploaded] = by_event["imagegate.request_rewritten"]
    assert uploaded["changes"][0]["pointer"] == "/file/1/body/tools/0/quality"
    images = by_event["imagegate.image_finished"]
    assert {(x["response_id"], x["quality"]) for x in images} == {
        (name, "low") for name in named
    }
    assert all(x["made"] and x["replay"] for x in images)


def test_a_file_that_was_not_judged_here_does_not_run(
    sdk: openai.OpenAI, provider: str
) -> None:
    with openai.OpenAI(base_url=f"{provider}/v1", api_key="k") as past_it:
        content = ("a.jsonl", line("one", "high"))
        file = past_it.files.create(file=content, purpose="batch")

    with pytest.raises(openai.PermissionDeniedError, match="not uploaded through"):
        sdk.batches.create(
            input_file_id=file.id, endpoint="/v1/responses", completion_window="24h"
        )


def test_a_refused_line_is_the_sdks_own_error(sdk: openai.OpenAI) -> None:
    content = ("a.jsonl", line("one", "low") + b"\n" + line("two", "enormous"))

    with pytest.raises(openai.PermissionDeniedError) as refused:
        sdk.files.create(file=content, purpose="batch")
    assert refused.value.param == "file[2].body.tools[0].quality"
