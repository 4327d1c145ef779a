"""Applications that call an SDK themselves, governed by a transport of each kind.

An asynchronous client is driven from here, step by step, so that one test speaks for
all four kinds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx
import httpx2
import openai
from journals import lines

from imagegate import transport
from imagegate.transport import httpx as legacy


class Kind(NamedTuple):
    """A toolkit, and the way it is used in."""

    name: str
    transport: Callable[..., Any]
    client: Callable[..., Any]
    inner: Callable[..., Any]
    asynchronous: bool
    toolkit: Any


KINDS = (
    Kind(
        "httpx2",
        transport.PolicyTransport,
        httpx2.Client,
        httpx2.HTTPTransport,
        asynchronous=False,
        toolkit=httpx2,
    ),
    Kind(
        "httpx2-async",
        transport.AsyncPolicyTransport,
        httpx2.AsyncClient,
        httpx2.AsyncHTTPTransport,
        asynchronous=True,
        toolkit=httpx2,
    ),
    Kind(
        "httpx",
        legacy.PolicyTransport,
        httpx.Client,
        httpx.HTTPTransport,
        asynchronous=False,
        toolkit=httpx,
    ),
    Kind(
        "httpx-async",
        legacy.AsyncPolicyTransport,
        httpx.AsyncClient,
        httpx.AsyncHTTPTransport,
        asynchronous=True,
        toolkit=httpx,
    ),
)
BLOCKING = tuple(kind for kind in KINDS if not kind.asynchronous)


class Application:
    """An application with an HTTP client of one kind; to be used with `with`.

    Args:
        kind: Of its client.
        trail: The directory of the records.
        inner: The transport that is wrapped.
        sdk: Makes an SDK's client around the HTTP client.
        policy: By its name.
        options: Of the transport, besides.
    """

    def __init__(
        self,
        kind: Kind,
        trail: Path,
        *,
        inner: Any = None,
        sdk: Callable[..., Any] | None = None,
        policy: Any = "standard",
        **options: Any,
    ) -> None:
        self.kind = kind
        self.trail = trail
        self._runner = asyncio.Runner() if kind.asynchronous else None
        self.transport = kind.transport(inner, policy=policy, audit=trail, **options)
        self.http = kind.client(transport=self.transport)
        self.sdk = None if sdk is None else sdk(http_client=self.http)

    def wait(self, what: Any) -> Any:
        """Wait for what a method of the client returns, if it is to be waited for."""
        if self._runner is None:
            return what

        async def waiting() -> Any:
            return await what if isinstance(what, Awaitable) else what

        return self._runner.run(waiting())

    def create(self, *tools: dict[str, Any], **members: Any) -> Any:
        """Ask for a response."""
        return self.wait(self._create(*tools, **members))

    def events(self, stream: Any) -> Iterator[Any]:
        """Take the events of a stream, one by one."""
        if self._runner is None:
            yield from stream
            return
        each = aiter(stream)
        while (event := self.wait(anext(each, None))) is not None:
            yield event

    def streamed(self, *tools: dict[str, Any], **members: Any) -> list[str]:
        """Ask for a stream, and name its events."""
        stream = self.create(*tools, stream=True, **members)
        return [event.type for event in self.events(stream)]

    def post(self, url: str, body: Any, **headers: str) -> Any:
        """Send bytes as they are, or in pieces, and return the answer."""
        kept = {"content-type": "application/json", "authorization": "Bearer k"}
        return self.wait(self.http.post(url, content=body, headers={**kept, **headers}))

    def _create(self, *tools: dict[str, Any], **members: Any) -> Any:
        assert self.sdk is not None
        asked = {"model": "gpt-5", "input": "a cat", **members}
        return self.sdk.responses.create(**asked, tools=list(tools))

    # -- the end ----------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._runner is None:
            self.http.close()
        elif not self.http.is_closed:
            self.wait(self.http.aclose())
            self._runner.close()

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return what is on record, without what the journal says of itself."""
        found = lines(self.trail) if self.trail.exists() else []
        return [line for line in found if "decision_id" in line]

    @property
    def ends(self) -> list[str]:
        return [line["outcome"] for line in self.records if _ends(line)]

    @property
    def said(self) -> list[str]:
        return [line["event"].removeprefix("imagegate.") for line in self.records]


def _ends(line: dict[str, Any]) -> bool:
    return bool(line["event"] == "imagegate.exchange_finished")


def openai_for(url: str, **options: Any) -> Callable[..., Any]:
    """Return what makes OpenAI's client, of the kind that its HTTP client is of."""
    said = {"api_key": "k", "base_url": f"{url}/v1", "max_retries": 0, **options}

    def make(*, http_client: Any) -> Any:
        asynchronous = isinstance(http_client, httpx2.AsyncClient | httpx.AsyncClient)
        sdk = openai.AsyncOpenAI if asynchronous else openai.OpenAI
        return sdk(**said, http_client=http_client)

    return make


class Provider:
    """A transport that asks nobody: it says its pieces, one when one is wanted.

    Attributes:
        asked: The requests.
        told: The pieces that were taken from it.
        closed: How many answers were closed.
    """

    def __init__(
        self,
        kind: Kind,
        *pieces: bytes | BaseException,
        fails: BaseException | None = None,
        content_type: str = "text/event-stream",
    ) -> None:
        self.asked: list[Any] = []
        self.told: list[bytes] = []
        self.closed = 0
        self.over = False
        self.kind = kind
        self.pieces = pieces
        self.fails = fails
        self.content_type = content_type
        self.before: Callable[[], None] = lambda: None

    def answer(self, request: Any) -> Any:
        self.asked.append(request)
        self.before()
        if self.fails is not None:
            raise self.fails
        toolkit = self.kind.toolkit
        base = (
            toolkit.AsyncByteStream
            if self.kind.asynchronous
            else toolkit.SyncByteStream
        )
        stream = type("Stream", (_Stream, base), {})(self)
        return toolkit.Response(
            200, headers={"content-type": self.content_type}, stream=stream
        )

    def handle_request(self, request: Any) -> Any:
        return self.answer(request)

    async def handle_async_request(self, request: Any) -> Any:
        return self.answer(request)

    def close(self) -> None:
        self.over = True

    async def aclose(self) -> None:
        self.over = True

    @property
    def body(self) -> dict[str, Any]:
        """Return the last body that was asked."""
        found: dict[str, Any] = json.loads(self.asked[-1].content)
        return found


class _Stream:
    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.provider.pieces:
            if isinstance(piece, BaseException):
                raise piece
            self.provider.told.append(piece)
            yield piece

    async def __aiter__(self) -> Any:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.provider.closed += 1

    async def aclose(self) -> None:
        self.close()
