"""What a quota of cost is told of an exchange is what its record says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asking import CATALOGUE, TODAY, body, door, policy, request, tool

from imagegate import shipped
from imagegate.engine.exchange import Exchange
from imagegate.engine.gate import Context, Gate
from imagegate.engine.records import CompletionRecord

HIGH = {"quality": "high", "size": "1024x1024"}
USED = {
    "input_tokens": 40,
    "input_tokens_details": {"text_tokens": 40, "image_tokens": 0},
    "output_tokens": 4_161,
    "output_tokens_details": {"text_tokens": 0, "image_tokens": 4_161},
}


def answered(model: str, images: list[dict[str, Any]], **more: Any) -> Exchange:
    context = Context(decision_id="d", door=door(), date=TODAY)
    found = Exchange(Gate(policy(), CATALOGUE, prices=shipped.prices()), context)
    found.request(body(request(tool(model=model, **HIGH))))
    found.response(200, "application/json")
    output = [
        {"type": "image_generation_call", "id": f"ig_{n}", "status": "completed"} | each
        for n, each in enumerate(images)
    ]
    told = {"id": "resp_1", "object": "response", "status": "completed"}
    found.feed(json.dumps({**told, "output": output, **more}).encode(), last=True)
    return found


@pytest.mark.parametrize(
    ("model", "images", "more", "spent", "amount"),
    [
        ("gpt-image-2", [{"result": "iVBORw0KGgo=", **HIGH}] * 2, {}, (422_000, 0),
         "0.422"),
        ("gpt-image-1-mini", [{"result": "iVBORw0KGgo=", **HIGH}],
         {"tool_usage": {"image_gen": USED}}, (33_368, 0), "0.033368"),
        ("gpt-image-2", [{"result": "iVBORw0KGgo=", **HIGH, "size": "2048x2048"}], {},
         (0, 1), None),
        ("gpt-image-2.6-sunburst", [{"result": "iVBORw0KGgo=", **HIGH}], {},
         (0, 1), None),
        ("gpt-image-2", [{"status": "failed", "result": None}], {}, (0, 0), None),
        ("gpt-image-2", [], {}, (0, 0), None),
    ],
)  # fmt: skip
def test_what_is_spent_is_on_record(
    model: str,
    images: list[dict[str, Any]],
    more: dict[str, Any],
    spent: tuple[int, int],
    amount: str | None,
) -> None:
    found = answered(model, images, **more)

    assert found.spent == spent
    (record,) = found.close().records
    assert isinstance(record, CompletionRecord)
    assert record.cost_amount == amount
    assert found.spent == spent
