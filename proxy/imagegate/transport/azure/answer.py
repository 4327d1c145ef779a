"""Answers that are made here, as azure-core's operations read them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, MutableMapping
from http.client import responses
from typing import Any, Self

import httpx2
from azure.core.exceptions import HttpResponseError
from azure.core.rest import AsyncHttpResponse, HttpRequest, HttpResponse

_ERROR = 400


class _Whole:
    """An answer that is all there."""

    def __init__(
        self, request: HttpRequest, answer: httpx2.Response, body: bytes
    ) -> None:
        self._request = request
        self._answer = answer
        self._body = body
        self._encoding: str | None = None

    @property
    def request(self) -> HttpRequest:
        """The request that it answers."""
        return self._request

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        return self._answer.status_code

    @property
    def headers(self) -> MutableMapping[str, str]:
        """The headers; their names in any case."""
        return self._answer.headers

    @property
    def reason(self) -> str:
        """What the status means."""
        return responses.get(self.status_code, "")

    @property
    def content_type(self) -> str | None:
        """What kind of body it is."""
        return self._answer.headers.get("content-type")

    @property
    def is_closed(self) -> bool:
        """There is nothing open."""
        return True

    @property
    def is_stream_consumed(self) -> bool:
        """There is nothing left to be read."""
        return True

    @property
    def encoding(self) -> str | None:
        """The body's; UTF-8 unless set."""
        return self._encoding

    @encoding.setter
    def encoding(self, value: str | None) -> None:
        self._encoding = value

    @property
    def url(self) -> str:
        """Where it comes from."""
        return self._request.url

    @property
    def content(self) -> bytes:
        """The body."""
        return self._body

    def text(self, encoding: str | None = None) -> str:
        """Return the body as text."""
        return self._body.decode(encoding or self._encoding or "utf-8-sig", "replace")

    def json(self) -> Any:  # noqa: ANN401 - JSON
        """Return what the body says."""
        return json.loads(self.text())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.status_code} {self.reason}>"


class Answer(_Whole, HttpResponse):
    """An answer of an operation."""

    def raise_for_status(self) -> None:
        """Raise when it is an error."""
        if self.status_code >= _ERROR:
            raise HttpResponseError(response=self)

    def read(self) -> bytes:
        """Return the body."""
        return self._body

    def iter_raw(self, **kwargs: Any) -> Iterator[bytes]:  # noqa: ANN401 - azure-core's
        """Yield the body."""
        del kwargs
        yield self._body

    def iter_bytes(self, **kwargs: Any) -> Iterator[bytes]:  # noqa: ANN401 - azure-core's
        """Yield the body."""
        return self.iter_raw(**kwargs)

    def close(self) -> None:
        """Do nothing: there is nothing open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None: ...


class AsyncAnswer(_Whole, AsyncHttpResponse):
    """An answer of an asynchronous operation."""

    def raise_for_status(self) -> None:
        """Raise when it is an error."""
        if self.status_code >= _ERROR:
            raise HttpResponseError(response=self)

    async def read(self) -> bytes:
        """Return the body."""
        return self._body

    async def iter_raw(self, **kwargs: Any) -> AsyncIterator[bytes]:  # noqa: ANN401 - azure-core's
        """Yield the body."""
        del kwargs
        yield self._body

    async def iter_bytes(self, **kwargs: Any) -> AsyncIterator[bytes]:  # noqa: ANN401 - azure-core's
        """Yield the body."""
        async for piece in self.iter_raw(**kwargs):
            yield piece

    async def close(self) -> None:
        """Do nothing: there is nothing open."""

    async def __aexit__(self, *raised: object) -> None: ...
