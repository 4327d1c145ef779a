"""One request of a pipeline: as it is judged, and as it then goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import httpx2
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.rest import AsyncHttpResponse, HttpRequest, HttpResponse

_CALL: Final = "imagegate.call"
_CODING: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_UNREAD: Final = "transfer-encoding"
_R = TypeVar("_R", HttpResponse, AsyncHttpResponse)
_N = TypeVar("_N")


class _Call(Generic[_R, _N]):
    """One request; one use.

    Args:
        request: In the pipeline.
        onward: The rest of the pipeline.

    Attributes:
        answer: Of the rest of the pipeline, if the request went on.
        body: Of that answer.
    """

    def __init__(self, request: PipelineRequest[HttpRequest], onward: _N) -> None:
        self.onward = onward
        self.answer: PipelineResponse[HttpRequest, _R] | None = None
        self.body = b""
        self._pipeline = request
        self._url: httpx2.URL | None = None

    def asked(self) -> httpx2.Request:
        """Write the request as it is judged.

        A form, or a body that comes in pieces, cannot be judged here. It is said to be
        chunked and seems empty, so it goes on only where nobody has to judge it.
        """
        request = self._pipeline.http_request
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in {"content-length", _UNREAD}
        }
        body = _body(request)
        if body is None:
            headers[_UNREAD] = "chunked"
        asked = httpx2.Request(
            request.method,
            request.url,
            headers=headers,
            content=body or b"",
            extensions={_CALL: self},
        )
        self._url = asked.url
        return asked

    def allowed(self, request: httpx2.Request) -> PipelineRequest[HttpRequest]:
        """Put what may go on in the place of what was asked.

        Raises:
            RuntimeError: For another request than the one of the pipeline.
        """
        if request.url != self._url or self.answer is not None:
            raise RuntimeError("a pipeline sends its own request only")
        before = self._pipeline.http_request
        judged = _UNREAD not in request.headers
        headers = {
            name: value
            for name, value in request.headers.items()
            if name not in {"host", _UNREAD}
        }
        if judged:
            self._pipeline.http_request = HttpRequest(
                before.method, before.url, headers=headers, content=request.content
            )
        else:
            before.headers.clear()
            before.headers.update(headers)
        return self._pipeline

    def answered(
        self, answer: PipelineResponse[HttpRequest, _R], body: bytes
    ) -> httpx2.Response:
        """Take the answer of the rest of the pipeline, which has decoded it."""
        self.answer, self.body = answer, body
        response = answer.http_response
        headers = [
            (name, value)
            for name, value in response.headers.items()
            if name.lower() not in _CODING
        ]
        return httpx2.Response(response.status_code, headers=headers, content=body)


class Call(
    _Call[
        HttpResponse,
        Callable[
            [PipelineRequest[HttpRequest]], PipelineResponse[HttpRequest, HttpResponse]
        ],
    ]
):
    """One request of a pipeline."""


class AsyncCall(
    _Call[
        AsyncHttpResponse,
        Callable[
            [PipelineRequest[HttpRequest]],
            Awaitable[PipelineResponse[HttpRequest, AsyncHttpResponse]],
        ],
    ]
):
    """One request of an asynchronous pipeline."""


class Onward(httpx2.BaseTransport):
    """The rest of a pipeline, as a transport."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request on, and read its answer."""
        call: Call = request.extensions[_CALL]
        answer = call.onward(call.allowed(request))
        return call.answered(answer, answer.http_response.read())


class AsyncOnward(httpx2.AsyncBaseTransport):
    """The rest of an asynchronous pipeline, as a transport."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request on, and read its answer."""
        call: AsyncCall = request.extensions[_CALL]
        answer = await call.onward(call.allowed(request))
        return call.answered(answer, await answer.http_response.read())


def _body(request: HttpRequest) -> bytes | None:
    """Return the body; None when it is not in memory as it will be sent."""
    content = request.content
    if content is None or isinstance(content, bytes):
        return content or b""
    return content.encode() if isinstance(content, str) else None
