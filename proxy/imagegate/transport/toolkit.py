"""What is used of an HTTP client's package: httpx2, or httpx, which has the same.

Written against httpx2's types; httpx's are cast to them where they come in.
"""

from __future__ import annotations

from typing import Protocol

import httpx2


class Toolkit(Protocol):
    """A module that has these."""

    Request: type[httpx2.Request]
    Response: type[httpx2.Response]
    RequestNotRead: type[Exception]
    ReadError: type[Exception]
    RemoteProtocolError: type[Exception]
    TimeoutException: type[Exception]
