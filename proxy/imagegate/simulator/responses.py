"""The routes under `/responses`."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from imagegate.simulator import request
from imagegate.simulator.call import Call
from imagegate.simulator.conversations import Conversations
from imagegate.simulator.counter import Counter, derived, time_of
from imagegate.simulator.image_tool import Tool
from imagegate.simulator.items import items_of, page_of, whole_number
from imagegate.simulator.refusal import IMAGE_DEPLOYMENT_HEADER, Refusal, refusal
from imagegate.simulator.response_object import (
    input_tokens,
    response_object,
    usage_of,
)
from imagegate.simulator.run import Run
from imagegate.simulator.story import Event, story
from imagegate.simulator.tools import (
    ImageModels,
    Tools,
    check_choice,
    read_tools,
    wants_image,
)
from imagegate.simulator.wire import Answer, framed, json_answer, stream_answer


class Responses:
    """What is stored of them, and what can be done with it."""

    def __init__(
        self,
        counter: Counter,
        *,
        deployments: Mapping[str, str],
        stored_tools: Mapping[str, list[Tool]],
        conversations: Conversations,
        keep: int,
    ) -> None:
        self._counter = counter
        self._deployments = dict(deployments)
        self._stored_tools = stored_tools
        self._conversations = conversations
        self._keep = keep
        self._runs: dict[str, Run] = {}

    def begin(self, call: Call) -> Run:
        """Begin a response, if it is asked for as it must be."""
        run = self._begun(call)
        if run.body.get("store") is not False:
            self._remember(run)
        within = request.state_named(run.body).get("conversation")
        if within is not None:
            self._conversations.add_run(within, run)
        return run

    def create(self, call: Call) -> Answer:
        """Answer whole, as a stream, or by and by."""
        run = self.begin(call)
        if run.body.get("stream"):
            return stream_answer(_told(run))
        if not run.background:
            run.status = run.end
        return json_answer(response_object(run))

    def retrieve(self, call: Call) -> Answer:
        """Answer how far it is, which is further with every question; or go on."""
        run = self._found(call)
        if call.query("stream") == "true":
            return stream_answer(_told(run, after=_starting_after(call, run)))
        run.poll()
        return json_answer(response_object(run))

    def cancel(self, call: Call) -> Answer:
        """End a background response."""
        run = self._found(call)
        if not run.background:
            raise refusal("Cannot cancel a synchronous response.")
        if not run.over:
            run.status = "cancelled"
        return json_answer(response_object(run))

    def delete(self, call: Call) -> Answer:
        """Forget a response."""
        run = self._found(call)
        del self._runs[run.id]
        return json_answer({"id": run.id, "object": "response", "deleted": True})

    def input_items(self, call: Call) -> Answer:
        """Return what a response was made from, newest first unless told otherwise."""
        return page_of(call, items_of(self._found(call)))

    def count(self, call: Call) -> Answer:
        """Return the size of a request that is not made."""
        request.check_keys(call.body, request.COUNT, dialect=call.place.dialect)
        self._check(call)
        tokens = input_tokens(call.body)
        return json_answer({"object": "response.input_tokens", "input_tokens": tokens})

    def compact(self, call: Call) -> Answer:
        """Return the input in one opaque item."""
        request.check_keys(call.body, request.COMPACT, dialect=call.place.dialect)
        self._check(call)
        number = self._counter.next()
        ident = self._counter.ident("resp", number)
        item = {
            "id": f"cmp_{derived(ident)}",
            "type": "compaction",
            "encrypted_content": derived(f"{ident}/content"),
        }
        return json_answer(
            {
                "id": ident,
                "object": "response.compaction",
                "created_at": time_of(number),
                "output": [item],
                "usage": usage_of(call.body),
            }
        )

    def _begun(self, call: Call) -> Run:
        request.check_keys(call.body, request.CREATE, dialect=call.place.dialect)
        request.check_background(call.body)
        tools = self._check(call)
        number = self._counter.next()
        return Run(
            id=self._counter.ident("resp", number),
            created_at=time_of(number),
            dialect=call.place.dialect,
            body=call.body,
            tools=tools,
            behaviour=call.behaviour,
            images=_images(call, tools),
            status="queued" if call.body.get("background") else "in_progress",
        )

    def _check(self, call: Call) -> Tools:
        """Raise unless model, state and tools of a request are as they must be."""
        request.check_model(call.body, dialect=call.place.dialect)
        self._check_previous(call.body, call.held)
        models = ImageModels(
            dialect=call.place.dialect,
            deployments=self._deployments,
            deployment=_image_deployment(call),
        )
        tools = read_tools(call.body, self._stored(call.body), models)
        check_choice(call.body.get("tool_choice"), tools)
        return tools

    def _check_previous(self, body: dict[str, Any], held: str | None) -> None:
        previous = body.get("previous_response_id")
        if previous is not None and previous not in self._runs and previous != held:
            raise refusal(
                f"Previous response with id '{previous}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )

    def _stored(self, body: dict[str, Any]) -> list[Tool]:
        """Return the tools behind the prompt, conversation or agent it names."""
        tools = []
        for key, ident in request.state_named(body).items():
            found = self._stored_tools.get(ident)
            if found is None and key == "conversation":
                found = self._conversations.tools(ident)
            if found is None:
                message = f"{key} with id '{ident}' not found."
                raise refusal(message, status=404, param=key)
            tools += found
        if "agent_reference" in body and body.get("tools"):
            message = "'tools' must not be given together with 'agent_reference'."
            raise refusal(message, param="tools")
        return tools

    def _remember(self, run: Run) -> None:
        self._runs[run.id] = run
        if len(self._runs) > self._keep:
            del self._runs[next(iter(self._runs))]

    def _found(self, call: Call) -> Run:
        run = self._runs.get(call.ident)
        if run is None:
            raise _not_found(call.ident)
        return run


def _told(run: Run, *, after: int = -1) -> Iterator[bytes]:
    """Yield the events as a stream frames them."""
    with contextlib.closing(told(run, after=after)) as events:
        yield from map(framed, events)


def told(run: Run, *, after: int = -1) -> Generator[Event, None, None]:
    """Yield the events after a number; a client that leaves ends what is not stored."""
    try:
        for event in story(run):
            if run.status == "cancelled":
                return
            _advance(run, event)
            if event["sequence_number"] > after:
                yield event
    finally:
        if not (run.over or run.background):
            run.status = "cancelled"


def _advance(run: Run, event: Event) -> None:
    if run.over:
        return
    match event["type"]:
        case "response.in_progress":
            run.status = "in_progress"
        case "response.completed":
            run.status = "completed"
        case "response.failed":
            run.status = "failed"


def _starting_after(call: Call, run: Run) -> int:
    if not (run.background and run.body.get("stream")):
        raise refusal(
            "This response cannot be streamed: it was not created with"
            " background=true and stream=true.",
            param="stream",
        )
    return whole_number(call, "starting_after", default=-1)


def _images(call: Call, tools: Tools) -> int:
    """Return how often the tool is called, within what the request allows."""
    if tools.image_tool() is None or not wants_image(call.body.get("tool_choice")):
        return 0
    limit = call.body.get("max_tool_calls")
    images = call.behaviour.images
    return images if limit is None else min(images, limit)


def _image_deployment(call: Call) -> str | None:
    if not call.place.dialect.azure:
        return None
    return call.received.header(IMAGE_DEPLOYMENT_HEADER)


def _not_found(ident: str) -> Refusal:
    return refusal(f"Response with id '{ident}' not found.", status=404)
