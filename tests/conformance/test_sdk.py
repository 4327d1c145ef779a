"""What the real SDK sees and causes, on every way: events, errors, and state.

Over HTTP each of these asks for a stream; a message is answered by events anyway, and
has to be answered by the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from messages_of import as_of_a_message
from ways import PREVIOUS, WAYS, Outcome, Way, differences

Reference = Callable[[str, Callable[[Way], Outcome]], Outcome]
Ways = Callable[[str], Way]
HTTP = tuple(name for name in WAYS if name != "websocket")

MINI = {"type": "image_generation", "model": "gpt-image-1-mini", "quality": "low"}
FULL = {
    **MINI,
    "size": "1024x1024",
    "moderation": "auto",
    "output_format": "png",
    "partial_images": 0,
}
DEAR = {**MINI, "model": "gpt-image-2", "quality": "high", "size": "2000x1120"}


def streamed(*tools: dict[str, Any], does: str = "", **members: Any) -> dict[str, Any]:
    asked = {"model": "gpt-5", "input": "a cat", "stream": True, **members}
    if does:
        asked["metadata"] = {"simulator": does}
    return {**asked, "tools": list(tools)}


def whole(*tools: dict[str, Any], does: str = "", **members: Any) -> dict[str, Any]:
    return streamed(*tools, does=does, **{"stream": False, **members})


STREAMED: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "text": ("standard", [streamed()]),
    "forward": ("standard", [streamed(FULL, max_tool_calls=1)]),
    "rewrite": ("standard", [streamed(DEAR)]),
    "block": ("standard", [streamed({**MINI, "size": "enormous"})]),
    "block-two-things": ("standard", [streamed({**MINI, "size": "x", "zoom": 2})]),
    "strip-the-tool": ("no-images", [streamed(MINI)]),
    "deprecated-fields": ("standard", [streamed({**MINI, "name": "painter"})]),
    "unknown-field": ("standard", [streamed({**MINI, "zoom": 2})]),
    "tools-in-the-input": (
        "standard",
        [
            streamed(
                input=[
                    {"type": "additional_tools", "role": "developer", "tools": [DEAR]}
                ]
            )
        ],
    ),
    "forced-choice": (
        "no-images",
        [streamed(MINI, tool_choice={"type": "image_generation"})],
    ),
    "partial-images": ("standard", [streamed({**MINI, "partial_images": 3})]),
    "several-images": ("standard", [streamed(MINI, does="images=2")]),
    "echo-contradicts": ("standard", [streamed(MINI, does="echo.quality=max")]),
    "echo-is-silent": ("standard", [streamed(MINI, does="echo.quality=")]),
    "item-contradicts": ("standard", [streamed(MINI, does="item.quality=max")]),
    "provider-fails": ("standard", [streamed(MINI, does="fail_at=3")]),
    "provider-errs-amid": ("standard", [streamed(MINI, does="error_at=3")]),
    "no-completed-event": ("standard", [streamed(MINI, does="no_completed")]),
    "seen": ("standard", [streamed(MINI), streamed(previous_response_id=PREVIOUS)]),
    "not-seen": ("standard", [streamed(previous_response_id="resp_elsewhere")]),
    "conversation-not-seen": ("standard", [streamed(conversation="conv_elsewhere")]),
    "stored-prompt": ("standard", [streamed(prompt={"id": "pmpt_1"})]),
    "refused-then-right": (
        "standard",
        [streamed({**MINI, "size": "x"}), streamed(MINI)],
    ),
    "text-model-that-draws": ("standard", [streamed(model="gpt-image-2")]),
    "observed-only": ("cost-cap", [streamed(DEAR)]),
}
LEFT = {"provider-errs-amid"}
"""The SDK raises, and leaves the rest of the answer where it is."""
WHOLE: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "whole": ("standard", [whole(DEAR)]),
    "whole-echo-contradicts": ("standard", [whole(MINI, does="echo.quality=max")]),
    "background": ("standard", [whole(MINI, background=True)]),
    "background-contradicts": (
        "standard",
        [whole(MINI, background=True, does="echo.quality=max")],
    ),
    "encoded": ("standard", [whole(MINI, does="gzip")]),
    "encoded-stream": ("standard", [streamed(MINI, does="gzip")]),
    "provider-limits": ("standard", [whole(MINI, does="status=429")]),
    "provider-moderates": (
        "standard",
        [whole(MINI, does="status=400 code=moderation_blocked")],
    ),
    "drips": ("standard", [streamed(MINI, does="chunk=7")]),
    "whole-seen": ("standard", [whole(MINI), whole(previous_response_id=PREVIOUS)]),
}


@pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")
@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("case", STREAMED)
def test_a_stream_comes_to_the_same_on_each_way(
    case: str, name: str, ways: Ways, reference: Reference
) -> None:
    policy, requests = STREAMED[case]

    found = ways(name).tell(policy, *requests)

    same = reference(case, lambda way: way.tell(policy, *requests))
    if name == "websocket":
        found, same = as_of_a_message(found), as_of_a_message(same)
    kept = [each for each in differences(same, found) if not _is_left(case, each)]
    assert kept == []


def _is_left(case: str, line: str) -> bool:
    """Whether a difference is only how much was sent that nobody read."""
    return case in LEFT and ".bytes_out: " in line


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize("case", WHOLE)
def test_an_answer_comes_to_the_same_on_each_way(
    case: str, name: str, ways: Ways, reference: Reference
) -> None:
    policy, requests = WHOLE[case]

    found = ways(name).tell(policy, *requests)

    same = reference(case, lambda way: way.tell(policy, *requests))
    assert differences(same, found) == []


EXPECTED = {
    "forward": ["request_forwarded"],
    "rewrite": ["request_rewritten"],
    "block": ["request_blocked"],
    "echo-contradicts": ["echo_contradicted"],
    "seen": ["request_rewritten", "request_rewritten"],
    "not-seen": ["request_blocked"],
    "several-images": ["image_finished", "image_finished"],
}
"""Some of what must be on record: the ways could agree on being wrong."""


@pytest.mark.parametrize("case", EXPECTED)
def test_what_they_agree_on_is_right(case: str, reference: Reference) -> None:
    policy, requests = STREAMED[case]

    outcome = reference(case, lambda way: way.tell(policy, *requests))

    said = [each["event"].removeprefix("imagegate.") for each in outcome["records"]]
    assert [each for each in said if each in EXPECTED[case]] == EXPECTED[case]


def test_a_difference_is_named_with_its_place() -> None:
    one = {"sent": [{"body": "a"}], "records": [1, 2]}
    other = {"sent": [{"body": "b", "more": 1}], "records": [1]}

    assert differences(one, one) == []
    assert differences(one, other) == [
        "sent[0].body: 'a' is not 'b'",
        "sent[0].more: 'absent' is not 1",
        "records: [1, 2] is not [1]",
    ]
