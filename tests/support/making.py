"""Records for the tests of the audit, and for the processes that they start."""

from __future__ import annotations

from typing import Any

from imagegate.audit.options import Options
from imagegate.engine.records import (
    CompletionRecord,
    DecisionRecord,
    FindingRecord,
    GeneratingRecord,
)

QUICK = Options(tick_seconds=0.02, sync_seconds=0.0, compress=False)
"""A journal that looks after itself often enough for a test to wait for it."""
COMMON: dict[str, Any] = {
    "policy": "standard",
    "policy_digest": "0" * 64,
    "policy_mode": "enforce",
    "principal_id": "anonymous",
    "principal_source": "none",
    "principal_verified": False,
    "transport": "http",
}


def decision(name: str, **fields: Any) -> DecisionRecord:
    fields = {"event": "imagegate.request_forwarded", "decision": "forward"} | fields
    return DecisionRecord(decision_id=name, **COMMON | fields)


def refusal(name: str, code: str = "invalid_json", **fields: Any) -> DecisionRecord:
    finding = FindingRecord(
        pointer="",
        field="",
        verdict="refuse",
        before=None,
        rule=f"always.{code}",
        layer="builtin",
        mode="enforce",
        code=code,
    )
    event = "imagegate.request_malformed"
    found = {"event": event, "decision": "block", "violations": (finding,)}
    return decision(name, **found | fields)


def completion(name: str, **fields: Any) -> CompletionRecord:
    fields = {"outcome": "completed", "echo": "verified"} | fields
    return CompletionRecord(decision_id=name, **COMMON | fields)


def generating(name: str, item: str = "ig_1", **fields: Any) -> GeneratingRecord:
    return GeneratingRecord(
        decision_id=name,
        type="response.image_generation_call.generating",
        sequence_number=3,
        output_index=0,
        item_id=item,
        response_id="resp_1",
        **COMMON | fields,
    )
