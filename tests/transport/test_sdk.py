"""The OpenAI SDK with a transport of ours, of each kind."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import openai
import pytest
from exchanged import sent
from in_process import Application, Kind, Provider, openai_for
from journals import proved

from imagegate.engine.policy import Principal
from imagegate.simulator import Simulator

Make = Callable[..., Application]
TOOL = {"type": "image_generation", "model": "gpt-image-2", "quality": "high"}
HUGE = {**TOOL, "size": "enormous"}


def test_a_request_is_rewritten_recorded_and_answered(
    application: Application, simulator: Simulator
) -> None:
    answer = application.create(TOOL)

    decision, image, end = application.records
    assert answer.tools[0].quality == "low"
    assert sent(simulator)["tools"][0]["quality"] == "low"
    assert decision["event"] == "imagegate.request_rewritten"
    assert image["event"] == "imagegate.image_finished"
    assert (end["outcome"], end["status"], end["images"]) == ("completed", 200, 1)
    assert {line["transport"] for line in application.records} == {"in_process"}
    assert simulator.received[-1].header("accept-encoding") == "identity"


def test_a_refusal_is_the_sdks_own_error_and_not_retried(
    make: Make, url: str, simulator: Simulator
) -> None:
    application = make(sdk=openai_for(url, max_retries=2))
    before = len(simulator.received)

    with pytest.raises(openai.PermissionDeniedError) as raised:
        application.create(HUGE)

    assert raised.value.code == "image_policy_violation"
    assert raised.value.param == "tools[0].size"
    assert raised.value.request_id == application.records[0]["decision_id"]
    assert application.said == ["request_blocked", "exchange_finished"]
    assert len(simulator.received) == before


def test_what_cannot_be_judged_is_a_bad_request(
    application: Application, url: str, simulator: Simulator
) -> None:
    before = len(simulator.received)

    answer = application.post(f"{url}/v1/responses", b'{"model":"a","model":"b"}')

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "duplicate_key"
    assert len(simulator.received) == before


def test_a_stream_is_observed(application: Application) -> None:
    types = application.streamed(TOOL)

    assert types[0] == "response.created"
    assert types[-1] == "response.completed"
    assert application.said == [
        "request_rewritten",
        "image_generating",
        "image_finished",
        "exchange_finished",
    ]


def test_a_contradicting_echo_cuts_the_stream(application: Application) -> None:
    lie = {"simulator": "echo.quality=high"}
    stream = application.create(TOOL, stream=True, metadata=lie)

    with pytest.raises(openai.APIError) as raised:
        list(application.events(stream))

    assert raised.value.code == "image_policy_violation"
    assert application.ends == ["cut"]


def test_closing_a_stream_ends_the_call_and_is_recorded(
    application: Application, simulator: Simulator
) -> None:
    slow = {"simulator": "delay_ms=200"}
    stream = application.create(TOOL, stream=True, metadata=slow)
    next(application.events(stream))

    application.wait(stream.close())

    assert application.ends == ["client_left"]
    received = simulator.received[-1]
    assert received.ended.wait(5)
    assert received.outcome == "left"


def test_a_background_answer_that_contradicts_is_cancelled(
    application: Application, simulator: Simulator
) -> None:
    lie = {"simulator": "echo.quality=high"}

    answer = application.create(TOOL, background=True, metadata=lie)

    assert answer.status == "queued"
    assert simulator.received[-1].path == f"/v1/responses/{answer.id}/cancel"
    assert simulator.received[-1].status == 200


def test_what_was_judged_may_be_referred_to(application: Application) -> None:
    first = application.create(TOOL)

    application.create(previous_response_id=first.id)

    with pytest.raises(openai.PermissionDeniedError):
        application.create(previous_response_id="resp_from_elsewhere")


def test_a_form_is_judged_and_written_anew(
    application: Application, simulator: Simulator
) -> None:
    assert application.sdk is not None
    picture = ("a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 200_000, "image/png")

    answer = application.wait(
        application.sdk.images.edit(
            image=picture, prompt="x", model="gpt-image-2", quality="high"
        )
    )

    assert answer.data[0].b64_json
    body = simulator.received[-1].body
    assert b"\0" * 200_000 in body
    assert b"\r\n\r\nlow\r\n" in body
    assert application.said[0] == "request_rewritten"


def test_the_end_is_on_record_when_the_call_returns(application: Application) -> None:
    for _ in range(20):
        application.create()

    assert application.ends == ["completed"] * 20


def test_a_route_that_nobody_knows_is_refused(
    application: Application, url: str, simulator: Simulator
) -> None:
    before = len(simulator.received)

    answer = application.post(f"{url}/internal/responses", b"{}")

    assert answer.json()["error"]["code"] == "route_not_allowed"
    assert len(simulator.received) == before


def test_a_path_of_the_applications_own_is_none_of_the_policys(
    make: Make, url: str, simulator: Simulator
) -> None:
    application = make(own_paths=["/internal/*"])

    application.post(f"{url}/internal/report?a=b", b"anything")

    assert simulator.received[-1].path == "/internal/report"
    assert simulator.received[-1].query == "a=b"
    assert simulator.received[-1].body == b"anything"
    assert application.records == []


def test_a_prefix_may_stand_before_the_providers_paths(
    make: Make, url: str, kind: Kind
) -> None:
    provider = Provider(kind, b"{}", content_type="application/json")
    application = make(inner=provider, prefix="/llm", sdk=openai_for(f"{url}/llm"))

    application.create(TOOL)

    assert provider.asked[0].url.path == "/llm/v1/responses"
    assert provider.body["tools"][0]["quality"] == "low"
    assert application.records[0]["door"] == "responses.create"


@pytest.mark.parametrize(
    ("base", "options"),
    [
        ("/openai/v1", {}),
        ("/openai", {"default_query": {"api-version": "2025-04-01-preview"}}),
        ("/api/projects/p/openai/v1", {}),
    ],
)
def test_azures_paths_are_known(
    make: Make, url: str, simulator: Simulator, base: str, options: dict[str, Any]
) -> None:
    sdk = openai_for(url, base_url=url + base, **options)
    application = make(sdk=sdk, policy="azure-foundry")

    application.create({"type": "image_generation", "quality": "high"})

    header = simulator.received[-1].header("x-ms-oai-image-generation-deployment")
    assert header == "img-mini-prod"
    assert sent(simulator)["tools"][0]["model"] == "img-mini-prod"
    assert application.records[0]["provider"] == "azure"


def test_who_asks_is_said_by_the_application(make: Make, url: str) -> None:
    who = Principal(id="reports", attributes={"team": ("design",)}, source="said")
    application = make(sdk=openai_for(url), principal=who)

    application.create(TOOL)

    assert application.records[0]["principal_id"] == "reports"
    assert application.records[0]["principal_team"] == ["design"]


def test_who_asks_may_be_found_out_from_each_request(make: Make, url: str) -> None:
    async def identify(scope: Any) -> Principal:
        named = dict(scope["headers"])[b"x-user"]
        return Principal(id=named.decode(), source="header")

    sdk = openai_for(url, default_headers={"x-user": "jo"})
    application = make(sdk=sdk, principal=identify)

    application.create(TOOL)

    assert application.records[0]["principal_id"] == "jo"


def test_the_trail_is_a_chain_that_holds(application: Application) -> None:
    application.create(TOOL)
    application.close()

    report = proved(application.trail)

    assert report.problems == ()


def test_time_outs_stay_the_sdks(make: Make, url: str) -> None:
    application = make(sdk=openai_for(url, timeout=0.2))
    began = time.monotonic()

    with pytest.raises(openai.APITimeoutError):
        application.create(TOOL, metadata={"simulator": "silent"})

    assert time.monotonic() - began < 5
    assert application.ends == ["timeout"]
