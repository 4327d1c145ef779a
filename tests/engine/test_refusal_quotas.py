"""A refusal that may be otherwise later says when."""

from __future__ import annotations

import msgspec
import pytest

from imagegate.engine.decision import Block, Reason, Violation
from imagegate.engine.refusal import Refusal, refuse


def spent(after: int | None, code: str = "insufficient_quota") -> Refusal:
    violation = Violation(
        pointer="",
        field="images",
        before=3,
        by=Reason(rule="quotas.images.principal.day.max"),
        message="3 of 3 images of this day are used",
        code=code,
        status=429,
        retry_after=after,
    )
    return refuse(Block(violations=(violation,)), decision_id="d")


@pytest.mark.parametrize(
    ("after", "again"), [(None, "false"), (1, "true"), (60, "true"), (61, "false")]
)
def test_sdks_ask_again_only_where_it_helps_them(after: int | None, again: str) -> None:
    """They wait for a minute at most, and then ask whatever the header says."""
    headers = dict(spent(after).headers)

    assert headers["x-should-retry"] == again
    assert headers.get("retry-after") == (None if after is None else str(after))


def test_a_message_says_it_too() -> None:
    """It has no headers."""
    error = msgspec.json.decode(spent(61).message())["error"]

    assert error["retry_after"] == 61


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("insufficient_quota", "insufficient_quota"),
        ("rate_limit_exceeded", "rate_limit_exceeded"),
        ("quota_unknown", "server_error"),
        ("image_policy_violation", "invalid_request_error"),
    ],
)
def test_the_type_is_the_apis(code: str, kind: str) -> None:
    assert spent(1, code).error["type"] == kind
