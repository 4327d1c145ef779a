"""What a request over HTTP and a message of a WebSocket have in common."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from ways import Asked, Outcome

_OF_HTTP: Final = {
    "exchange",
    "door",
    "method",
    "route",
    "message_type",
    "stream",
    "bytes_in",
    "bytes_out",
}
_OF_AN_ANSWER: Final = {
    "outcome",
    "images",
    "images_failed",
    "mismatches",
    "echo",
    "echo_verified",
    "echo_unverified",
    "echo_differs",
    "error_code",
    "model",
    "image_model",
    "usage_image_gen",
    "cost_amount",
}
_BYTE: Final = re.compile(r"byte [0-9]+")


def can_be_a_message(asked: Asked) -> bool:
    """Whether a request can be sent as a message, too."""
    plain = asked.method == "POST" and asked.target == "/v1/responses"
    return plain and asked.data.startswith(b"{") and asked.policy != "regulated"


def as_of_a_message(outcome: Outcome) -> Outcome:
    """Keep of an outcome what is the same for a message.

    The SDK writes the members of a message in an order of its own.
    """
    ordered = "answers" not in outcome
    records = of_messages(outcome["records"])
    return {
        **{k: v for k, v in outcome.items() if k in {"error", "answers"}},
        "decisions": [_decision(each) for each in records if "decision" in each],
        "ends": [_end(each) for each in records if "outcome" in each],
        "sent": [_body(each["body"], ordered=ordered) for each in outcome["sent"]],
    }


def of_messages(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what tells of a connection that was let through, as a whole."""
    whole = {
        each["exchange"]
        for each in records
        if each.get("method") == "WEBSOCKET"
        and each["message_type"] is None
        and each["decision"] != "block"
    }
    return [each for each in records if each["exchange"] not in whole]


def _decision(record: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps({k: v for k, v in record.items() if k not in _OF_HTTP})
    found: dict[str, Any] = json.loads(_BYTE.sub("byte N", text))
    return found


def _end(record: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k in _OF_AN_ANSWER}


def _body(text: str, *, ordered: bool) -> Any:
    """Read a body."""
    members = json.loads(text, object_pairs_hook=list)
    kept = [item for item in members if item[0] not in {"type", "stream"}]
    return kept if ordered else sorted(kept)
