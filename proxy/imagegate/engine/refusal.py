"""How a client is told no: the API's own error object, in each of its frames.

The SDKs raise their typed exceptions from it, so that an application sees what it
would see if the provider had refused, and may go on to read what would pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from imagegate.engine.decision import Block, Violation
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.records import ident
from imagegate.engine.surface import Lost
from imagegate.engine.value import pointer_to_param

MAX_VIOLATIONS: Final = 16
"""Told one by one; a client mends a few and asks again."""
_PATIENCE: Final = 60
_TYPES: Final[Mapping[str, str]] = {
    "insufficient_quota": "insufficient_quota",
    "rate_limit_exceeded": "rate_limit_exceeded",
    "quota_unknown": "server_error",
    "too_many_bodies": "server_error",
    "too_many_exchanges": "rate_limit_exceeded",
}
"""What the API calls errors that are nobody's mistake."""
_LONGEST: Final = 200
_STEP: Final = re.compile(r"[0-9]{1,9}|[A-Za-z_]{1,40}")


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that refuses.

    Attributes:
        status: The HTTP status.
        error: The error object of the API.
        decision_id: What the developer quotes when asking why.
        retry_after: Seconds after which asking again may help; None where it cannot.
    """

    status: int
    error: Mapping[str, Any]
    decision_id: str
    retry_after: int | None = None

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers of the answer; without the second one SDKs ask again.

        They wait for a minute at most, whatever they are told, and then ask again:
        where it takes longer, they are told not to.
        """
        after = self.retry_after
        retry = after is not None and after <= _PATIENCE
        later = () if after is None else (("retry-after", str(after)),)
        return (
            ("content-type", "application/json"),
            ("x-should-retry", "true" if retry else "false"),
            *later,
            ("x-request-id", self.decision_id),
            ("x-imagegate-decision", self.decision_id),
        )

    @property
    def body(self) -> bytes:
        """The body of an HTTP answer."""
        return msgspec.json.encode({"error": self.error})

    @property
    def sse(self) -> bytes:
        """An event that ends a stream.

        The nested form is the one for which openai-python raises; the flat form
        of the documentation passes it by. The LF in front ends a line of which
        only the CR has been sent, and is an empty line else.
        """
        data = msgspec.json.encode({"type": "error", "error": self.error})
        return b"\nevent: error\ndata: %s\n\n" % data

    def message(self, stream_id: str | None = None) -> bytes:
        """Spell a WebSocket message; without its stream's id nobody waits for it."""
        frame: dict[str, Any] = {"type": "error", "status": self.status}
        if stream_id is not None:
            frame["stream_id"] = stream_id
        return msgspec.json.encode({**frame, "error": self.error})


def refuse(what: Block | MalformedRequest | Lost, *, decision_id: str) -> Refusal:
    """Word the refusal of a request."""
    retry_after: int | None = None
    match what:
        case Block():
            error, status = _blocked(what), what.status
            retry_after = what.violations[0].retry_after
        case MalformedRequest():
            error = _error(what.code, what.message, what.pointer)
            status = what.status
        case _:
            error, status = _error(what.code, what.message, ""), what.status
    return _refusal(status, error, decision_id, retry_after)


def refuse_answer(field: str, at: str, rule: str, *, decision_id: str) -> Refusal:
    """Word the end of an answer that the provider began against the policy.

    Args:
        field: The setting.
        at: The tool, as the API's errors name it.
        rule: The line that is broken.
        decision_id: The exchange.
    """
    said = f"the provider took this request with a `{field}` that is not allowed"
    error = _error("image_policy_violation", f"{said}; the answer is cut off", "")
    error |= {"param": f"{at}.{field}" if at else field, "rule": rule}
    return _refusal(403, error, decision_id)


def _refusal(
    status: int,
    error: dict[str, Any],
    decision_id: str,
    retry_after: int | None = None,
) -> Refusal:
    decision_id = ident(decision_id) or ""
    if retry_after is not None:
        error["retry_after"] = retry_after  # a message has no headers
    error["decision_id"] = decision_id
    return Refusal(
        status=status, error=error, decision_id=decision_id, retry_after=retry_after
    )


def _error(code: str, message: str, pointer: str) -> dict[str, Any]:
    return {
        "message": message,
        "type": _TYPES.get(code, "invalid_request_error"),
        "param": _param(pointer),
        "code": code,
    }


def _param(pointer: str) -> str | None:
    """Spell a pointer as the API does; `byte 12` is no place that it knows.

    The client sent the names in it, so it may see them; clients log what they get,
    so what looks like no name is left out all the same.
    """
    steps = pointer[:_LONGEST].split("/") if pointer.startswith("/") else ()
    plain = (step if not step or _STEP.fullmatch(step) else "?" for step in steps)
    return pointer_to_param("/".join(plain)) or None


def _blocked(block: Block) -> dict[str, Any]:
    first = block.violations[0]
    more = len(block.violations) - 1
    message = _sentence(first) + (f" (and {more} more)" if more else "")
    error = _error(first.code, message, first.pointer)
    return error | _explained(first) | {"violations": _all(block.violations)}


def _sentence(violation: Violation) -> str:
    """Say what is wrong and what would be right."""
    return "; ".join(filter(None, (violation.message, violation.fix)))


def _explained(violation: Violation) -> dict[str, Any]:
    return {
        "rule": violation.by.rule,
        "reason": violation.by.reason or None,
        "owner": violation.by.owner or None,
        "allowed": list(violation.allowed),
        "fix": violation.fix or None,
    }


def _all(violations: Sequence[Violation]) -> list[dict[str, Any]]:
    return [
        {"param": _param(item.pointer), "message": _sentence(item), **_explained(item)}
        for item in violations[:MAX_VIOLATIONS]
    ]
