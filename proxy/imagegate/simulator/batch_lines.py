"""The lines of a batch file: reading them, and what is wrong with them.

The codes are those that Azure documents, and OpenAI was seen to give. A model is
compared because both say that a file may name one only.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import msgspec

from imagegate.simulator.fields import Kind, Text, Words
from imagegate.simulator.refusal import (
    Refusal,
    invalid_type,
    missing_parameter,
    refusal,
)
from imagegate.simulator.request import read_json

MOST_LINES = 50_000
_KINDS: dict[str, Kind] = {
    "custom_id": Text(),
    "method": Words(("POST",)),
    "url": Text(),
}


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as it came and as it was read."""

    raw: bytes
    custom_id: str
    body: dict[str, Any]


def numbered(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that hold something, as they came, with their numbers."""
    for number, raw in enumerate(io.BytesIO(content), start=1):
        if raw.strip():
            yield number, raw.rstrip(b"\r\n")


def read_line(raw: bytes) -> Line:
    """Return a line that has been found to be in order."""
    line = read_json(raw, encoding=None)
    return Line(raw=raw, custom_id=line["custom_id"], body=line["body"])


class Validation:
    """What is known of a file after so many of its lines."""

    def __init__(self, endpoint: str, *, azure: bool) -> None:
        self._azure = azure
        self._route = self._route_of(endpoint)
        self._seen: set[str] = set()
        self.model: str | None = None
        self.lines = 0
        self.errors: list[dict[str, Any]] = []

    def take(self, number: int, raw: bytes) -> None:
        """Look at one more line."""
        self.lines += 1
        try:
            self._check(raw)
        except Refusal as fault:
            self._note(fault, number)

    def end(self) -> None:
        """Look at the file as a whole."""
        if not self.lines:
            self._note(refusal("The batch input file is empty.", code="empty_file"))
        if self.lines > MOST_LINES:
            message = f"The batch input file holds more than {MOST_LINES} requests."
            self._note(refusal(message, code="too_many_tasks"))

    def _note(self, fault: Refusal, number: int | None = None) -> None:
        error = fault.body["error"]
        told = {key: error[key] for key in ("code", "message", "param")}
        self.errors.append({**told, "line": number})

    def _check(self, raw: bytes) -> None:
        line = _parsed(raw)
        for key, kind in _KINDS.items():
            if line.get(key) is None:
                raise missing_parameter(key)
            kind.check(line[key], key)
        self._check_url(line["url"])
        self._check_custom_id(line["custom_id"])
        self._check_body(line.get("body"))

    def _check_url(self, url: str) -> None:
        if self._route_of(url) != self._route:
            message = "The URL of this request does not match the batch's endpoint."
            raise refusal(message, param="url", code="url_mismatch")

    def _check_custom_id(self, custom_id: str) -> None:
        if custom_id in self._seen:
            message = "The custom_id of this request is that of another one as well."
            raise refusal(message, param="custom_id", code="duplicate_custom_id")
        self._seen.add(custom_id)

    def _check_body(self, body: object) -> None:
        if body is None:
            raise missing_parameter("body")
        if not isinstance(body, dict):
            raise invalid_type("body", body, expected="an object")
        model = body.get("model")
        if not isinstance(model, str):
            return
        self.model = self.model or model
        if model != self.model:
            message = "The model of this request is not that of the others."
            raise refusal(message, param="body.model", code="model_mismatch")

    def _route_of(self, url: str) -> str:
        """Azure's own pages write it with its version, and without."""
        return url.removeprefix("/v1") if self._azure else url


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        return read_json(raw, encoding=None)
    except Refusal as fault:
        message = "This line is not parseable as valid JSON."
        raise refusal(message, code="invalid_json_line") from fault
