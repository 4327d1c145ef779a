"""W3C trace context: which trace a request belongs to.

`traceparent` is read for the records and goes on as it came: no span of our own is
put between, because nothing here would ever report one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from imagegate.middleware.headers import Head

_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})"
    r"-(?!0{32})(?P<trace>[0-9a-f]{32})"
    r"-(?!0{16})(?P<span>[0-9a-f]{16})"
    r"-[0-9a-f]{2}(?P<more>-.*)?"
)


class Trace(NamedTuple):
    """The caller's trace and span; both None when it names none."""

    trace_id: str | None = None
    span_id: str | None = None


_NONE = Trace()


def trace_of(head: Head) -> Trace:
    """Read `traceparent`, strictly: one that is not right is as good as none."""
    if "traceparent" not in head:
        return _NONE
    said = head.get("traceparent")
    found = _TRACEPARENT.fullmatch(said[0]) if len(said) == 1 else None
    if found is None or (found["more"] and found["version"] == "00"):
        return _NONE
    return Trace(found["trace"], found["span"])
