"""The providers' own refusals, in their words.

Where a wording was captured from a live answer it is that wording; the others follow
its pattern, and only `type`, `param` and `code` should be relied on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

INVALID = "invalid_request_error"
IMAGE = "image_generation_user_error"
IMAGE_DEPLOYMENT_HEADER = "x-ms-oai-image-generation-deployment"


class Refusal(Exception):  # noqa: N818 - an answer, not a fault of this program
    """An answer other than 2xx: its status and its body."""

    def __init__(self, status: int, error: dict[str, Any]) -> None:
        super().__init__(status, error)
        self.status = status
        self.body = {"error": error}


def refusal(
    message: str,
    *,
    status: int = 400,
    kind: str = INVALID,
    param: str | None = None,
    code: str | None = None,
) -> Refusal:
    """Return a refusal in OpenAI's envelope."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return Refusal(status, error)


def unknown_parameter(param: str) -> Refusal:
    """A key that the contract does not name."""
    message = f"Unknown parameter: '{param}'."
    return refusal(message, param=param, code="unknown_parameter")


def missing_parameter(param: str) -> Refusal:
    """A key that the contract demands."""
    message = f"Missing required parameter: '{param}'."
    return refusal(message, param=param, code="missing_required_parameter")


def invalid_type(param: str, value: object, *, expected: str) -> Refusal:
    """A value of another JSON type."""
    message = (
        f"Invalid type for '{param}': expected {expected},"
        f" but got {_json_type(value)} instead."
    )
    return refusal(message, param=param, code="invalid_type")


def invalid_value(param: str, value: object, *, supported: Iterable[str]) -> Refusal:
    """A value outside a closed list."""
    words = [repr(word) for word in supported]
    listed = " and ".join(words) if len(words) < 3 else _series(words)  # noqa: PLR2004 - grammar
    message = f"Invalid value: {value!r}. Supported values are: {listed}."
    return refusal(message, param=param, code="invalid_value")


def out_of_range(param: str, value: int, *, bound: int) -> Refusal:
    """An integer beyond the last that is accepted."""
    above = value > bound
    word, sign = ("above maximum", "<=") if above else ("below minimum", ">=")
    message = (
        f"Invalid '{param}': integer {word} value."
        f" Expected a value {sign} {bound}, but got {value} instead."
    )
    code = "integer_above_max_value" if above else "integer_below_min_value"
    return refusal(message, param=param, code=code)


def image_refusal(message: str, *, param: str, code: str = "invalid_value") -> Refusal:
    """Settings that the image tool does not take together."""
    return refusal(message, kind=IMAGE, param=param, code=code)


def _series(words: list[str]) -> str:
    return f"{', '.join(words[:-1])}, and {words[-1]}"


_JSON_TYPES: dict[type, str] = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal number",
    str: "a string",
    list: "an array",
}


def _json_type(value: object) -> str:
    return _JSON_TYPES.get(type(value), "an object")
