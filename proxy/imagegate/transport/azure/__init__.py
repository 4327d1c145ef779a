"""A policy for the pipelines of azure-core, through which `AIProjectClient` speaks.

    governed = PipelinePolicy(policy="azure-foundry", audit="trail")
    project = AIProjectClient(endpoint, credential, per_call_policies=[governed])

It governs what the client itself sends: versions of agents, above all. The OpenAI
client that `get_openai_client` makes has an HTTP client of its own, to be given as
`http_client`. A refusal is an answer of the service, so operations raise what they
always raise. Answers are read whole before they are handed on. It comes with the extra
`imagegate[entra]`, like everything of Azure's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self, Unpack

from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncHTTPPolicy, HTTPPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest, HttpResponse

from imagegate.audit import Audit
from imagegate.engine.gate import Gate
from imagegate.gates import Gates
from imagegate.transport import AsyncPolicyTransport, Options, PolicyTransport
from imagegate.transport.azure.answer import Answer, AsyncAnswer
from imagegate.transport.azure.call import AsyncCall, AsyncOnward, Call, Onward

__all__ = ["AsyncPipelinePolicy", "PipelinePolicy"]


class PipelinePolicy(HTTPPolicy[HttpRequest, HttpResponse]):
    """Holds the requests of a pipeline against a policy."""

    def __init__(
        self,
        *,
        policy: str | Path | Gate | Gates,
        audit: str | Path | Audit,
        **options: Unpack[Options],
    ) -> None:
        """Take what holds, as `imagegate.transport.PolicyTransport` does."""
        super().__init__()
        inner = Onward()
        self._governed = PolicyTransport(inner, policy=policy, audit=audit, **options)

    def send(
        self, request: PipelineRequest[HttpRequest]
    ) -> PipelineResponse[HttpRequest, HttpResponse]:
        """Judge a request, and send it on if it may go on."""
        call = Call(request, self.next.send)
        answer = self._governed.handle_request(call.asked())
        try:
            body = b"".join(answer.iter_raw())
        finally:
            answer.close()
        if call.answer is not None and call.body == body:
            return call.answer
        told = Answer(request.http_request, answer, body)
        return PipelineResponse(request.http_request, told, request.context)

    def close(self) -> None:
        """Stop what is under way, and close the audit; pipelines do not do it."""
        self._governed.close()

    def __enter__(self) -> Self:
        """Be closed at the end of a block."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Close."""
        self.close()


class AsyncPipelinePolicy(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Holds the requests of an asynchronous pipeline against a policy."""

    def __init__(
        self,
        *,
        policy: str | Path | Gate | Gates,
        audit: str | Path | Audit,
        **options: Unpack[Options],
    ) -> None:
        """Take what holds, as `imagegate.transport.AsyncPolicyTransport` does."""
        super().__init__()
        self._governed = AsyncPolicyTransport(
            AsyncOnward(), policy=policy, audit=audit, **options
        )

    async def send(
        self, request: PipelineRequest[HttpRequest]
    ) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        """Judge a request, and send it on if it may go on."""
        call = AsyncCall(request, self.next.send)
        answer = await self._governed.handle_async_request(call.asked())
        try:
            body = b"".join([piece async for piece in answer.aiter_raw()])
        finally:
            await answer.aclose()
        if call.answer is not None and call.body == body:
            return call.answer
        told = AsyncAnswer(request.http_request, answer, body)
        return PipelineResponse(request.http_request, told, request.context)

    async def close(self) -> None:
        """Stop what is under way, and close the audit; pipelines do not do it."""
        await self._governed.aclose()

    async def __aenter__(self) -> Self:
        """Be closed at the end of a block."""
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Close."""
        await self.close()
