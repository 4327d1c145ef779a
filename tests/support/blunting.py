"""The gateway with one of its checks taken out, to see whether attacks tell.

Each entry names a check and how to do without it. A check that another one stands
behind is taken out together with that one: what is shown is that the attacks reach
this far, and that nothing else happens to catch them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from imagegate.engine import (
    batch,
    choice,
    connection,
    decide,
    form,
    judge,
    reading,
    state,
    strict,
    surface,
    tools,
    toolset,
)
from imagegate.engine.body import IMAGE_TOOL, read_body_now
from imagegate.engine.decision import Forward
from imagegate.engine.value import Pieces
from imagegate.middleware import asked, asking, headers, intake, responder, taking
from imagegate.server.guard import GuardedProtocol
from imagegate.upstream import headers as upstream_headers

Patch = pytest.MonkeyPatch


def _nothing(*_: Any, **__: Any) -> Any:
    """Check nothing."""
    return ()


def _no_steps(*_: Any, **__: Any) -> Iterator[None]:
    """Do nothing, in pieces."""
    return iter(())


def _duplicate_keys(patch: Patch) -> None:
    """Equal keys: the first is judged, and what came is sent."""

    def first(keyed: dict[Any, Any], _: str) -> dict[str, Any]:
        return {key.text: value for key, value in reversed(keyed.items())}

    patch.setattr(strict, "_distinct", first)
    patch.setattr(strict, "is_whole", lambda *_: False)
    patch.setattr(strict, "_is_whole_but_for_space", lambda *_: False)
    _rewriting(patch)


def _look_alike_keys(patch: Patch) -> None:
    patch.setattr(strict, "_check_key", _nothing)


def _type_names(patch: Patch) -> None:
    """The names of types in other letters."""
    patch.setattr(tools, "_looks_like_images", lambda kind: kind == IMAGE_TOOL)


def _items(patch: Patch) -> None:
    """Tools in the items of `input`."""
    patch.setattr(reading.Reading, "_read_item", _no_steps)


def _inner_tools(patch: Patch) -> None:
    """Tools in a namespace, or in another tool."""
    patch.setattr(tools.Toolbox, "_read_in", _no_steps)


def _unknown_places(patch: Patch) -> None:
    """Tools under members that nobody documented."""
    patch.setattr(reading.Reading, "search", _no_steps)


def _choices(patch: Patch) -> None:
    """What `tool_choice` names."""
    patch.setattr(toolset, "repair_choice", lambda *_, **__: choice.Repair())


def _references(patch: Patch) -> None:
    """Conversations, previous responses, prompts, agents."""
    patch.setattr(decide, "judge_state", _nothing)


def _agent_shapes(patch: Patch) -> None:
    """What an agent's reference says besides its name."""
    patch.setattr(state, "_listed", lambda *_: True)


def _headers_twice(patch: Patch) -> None:
    """Two headers of a name, or twins with an underscore."""
    patch.setattr(headers, "SINGLE", frozenset())


def _deployments(patch: Patch) -> None:
    """The deployment that the header names."""
    patch.setattr(toolset, "judge_header", _nothing)
    patch.setattr(decide, "judge_header", _nothing)


def _deployments_in_paths(patch: Patch) -> None:
    patch.setattr(decide, "judge_path", lambda *_: True)


def _paths(patch: Patch) -> None:
    """Paths that only a lenient server takes for a door."""
    strictly = surface.find_door

    def leniently(method: str, path: str) -> Any:
        return strictly(method, surface._cleaned(path))

    patch.setattr(asked, "find_door", leniently)


def _codings(patch: Patch) -> None:
    """A body that is encoded goes on as it is, unread."""
    strictly = intake.read

    async def leniently(data: bytes, head: Any, *rest: Any) -> Any:
        if "content-encoding" not in head:
            return await strictly(data, head, *rest)
        return _Unread(body=read_body_now(b"{}"), data=data)

    patch.setattr(taking, "read", leniently)


class _Unread(intake.Read, frozen=True, kw_only=True):
    """A body that is sent as it came."""

    data: bytes

    def written(self, edits: Any, lines: Any = None) -> tuple[Pieces, str]:
        del edits, lines
        return Pieces([self.data]), "application/json"


def _rewriting(patch: Patch) -> None:
    """What came is sent, and not what was judged."""
    strictly = intake.read

    async def leniently(data: bytes, head: Any, *rest: Any) -> Any:
        found = await strictly(data, head, *rest)
        plain = found.form is None and "content-encoding" not in head
        return _Unread(body=found.body, data=data) if plain else found

    patch.setattr(taking, "read", leniently)


def _trailers(patch: Patch) -> None:
    """What comes behind a body is no header; and framing is told once."""
    strictly: Any = GuardedProtocol.on_header

    def leniently(self: Any, name: bytes, value: bytes) -> None:
        self._reading_head, before = True, self._reading_head
        strictly(self, name, value)
        self._reading_head = before

    patch.setattr(GuardedProtocol, "on_header", leniently)
    patch.setattr(upstream_headers, "_ESSENTIAL", frozenset())


def _injected(patch: Patch) -> None:
    """What is injected into a response."""
    strictly = decide._judge_body

    def leniently(notes: Any, bench: Any, request: Any, body: Any) -> None:
        if request.message_type != "response.inject":
            strictly(notes, bench, request, body)

    patch.setattr(decide, "_judge_body", leniently)


def _steered(patch: Patch) -> None:
    """Which response is steered: the successor inherits its tools."""
    patch.setattr(connection.Connection, "_may_steer", lambda *_: True)


def _message_types(patch: Patch) -> None:
    patch.setattr(decide, "_judge_message", _nothing)


def _binary_messages(patch: Patch) -> None:
    """Messages that are no text."""
    strictly = asking.Asking.judged

    async def leniently(self: Any, message: Any) -> Any:
        return await strictly(self, message) if message.get("text") else message

    patch.setattr(asking.Asking, "judged", leniently)


def _fields_twice(patch: Patch) -> None:
    """A field of a form that comes twice: the first is judged, both are sent."""
    strictly = form._value

    def leniently(path: Any, group: Any) -> Any:
        return strictly(path, group[:1])

    patch.setattr(form, "_value", leniently)


def _boundaries(patch: Patch) -> None:
    """Forms are sent under the boundary that they came with."""
    strictly = intake.read

    async def leniently(data: bytes, head: Any, *rest: Any) -> Any:
        found = await strictly(data, head, *rest)
        if found.form is None:
            return found
        return _Form(body=found.body, form=found.form, kind=head.get("content-type")[0])

    patch.setattr(taking, "read", leniently)


class _Form(intake.Read, frozen=True, kw_only=True):
    """A form that keeps its boundary."""

    kind: str

    def written(self, edits: Any, lines: Any = None) -> tuple[Pieces, str]:
        del lines
        assert self.form is not None
        boundary = self.kind.rpartition("=")[2].strip('"')
        return self.form.rewritten(edits, boundary), self.kind


def _counts(patch: Patch) -> None:
    """How many images one request of the Images API may ask for."""
    patch.setattr(decide, "judge_count", _nothing)


def _calls(patch: Patch) -> None:
    """How often a model may call the tool."""
    patch.setattr(toolset, "judge_calls", _nothing)


def _answering_models(patch: Patch) -> None:
    """An image model in the place of the text model."""
    patch.setattr(decide, "_judge_top_model", _nothing)


def _unknown_members(patch: Patch) -> None:
    """Members of a tool that nobody knows, or that are deprecated."""
    patch.setattr(judge._Judging, "_judge_member", _nothing)


def _settings(patch: Patch) -> None:
    """Quality, size, moderation and the others."""
    patch.setattr(judge._Judging, "_judge_setting", _nothing)


def _interfaces(patch: Patch) -> None:
    """Versions of the interface, and previews that are asked for."""
    patch.setattr(decide, "judge_interface", _nothing)


def _agent_kinds(patch: Patch) -> None:
    """Agents that are no prompts."""
    patch.setattr(decide, "_judge_kind", _nothing)


def _bodiless(patch: Patch) -> None:
    """A body at a door that takes none."""

    def leniently(self: Any, *, seen: bool) -> Any:
        data, self._data = self._data, None
        return data.parts if data is not None and seen else None

    patch.setattr(responder.Responder, "_given", leniently)
    strictly: Any = headers.describing

    def described(before: Any, size: Any, extra: Any, **more: Any) -> Any:
        kept = [(k, v) for k, v in before if k.lower() == b"content-length"]
        return (
            [*strictly(before, None, extra, **more), *kept]
            if not size
            else (strictly(before, size, extra, **more))
        )

    patch.setattr(responder, "describing", described)


def _lines(patch: Patch) -> None:
    """What is in the lines of a batch file."""
    patch.setattr(batch, "_edits", lambda _: ())
    patch.setattr(batch, "_placed", lambda *_: Forward())


def _line_ends(patch: Patch) -> None:
    """What only some readers take for the end of a line."""
    patch.setattr(batch, "_check_ends", _no_steps)


def _batch_files(patch: Patch) -> None:
    """Files that a batch runs, and nobody judged."""
    patch.setattr(decide, "judge_batch", _nothing)


CHECKS: Mapping[str, Callable[[Patch], None]] = {
    "duplicate keys": _duplicate_keys,
    "look-alike keys": _look_alike_keys,
    "names of types in other letters": _type_names,
    "tools in items": _items,
    "tools in namespaces": _inner_tools,
    "tools in unknown places": _unknown_places,
    "the choice of a tool": _choices,
    "references to state": _references,
    "lists of agents": _agent_shapes,
    "headers that come twice": _headers_twice,
    "the deployment in the header": _deployments,
    "the deployment in the path": _deployments_in_paths,
    "plain paths": _paths,
    "content codings": _codings,
    "what is judged is sent": _rewriting,
    "trailers": _trailers,
    "what is injected": _injected,
    "what is steered": _steered,
    "types of messages": _message_types,
    "binary messages": _binary_messages,
    "fields that come twice": _fields_twice,
    "a boundary of our own": _boundaries,
    "the number of images": _counts,
    "the number of calls": _calls,
    "the model that answers": _answering_models,
    "unknown members": _unknown_members,
    "settings": _settings,
    "versions and previews": _interfaces,
    "kinds of agents": _agent_kinds,
    "bodies where there are none": _bodiless,
    "lines of batch files": _lines,
    "ends of lines": _line_ends,
    "files of batches": _batch_files,
}


@contextlib.contextmanager
def without(check: str) -> Iterator[None]:
    """Do without a check for a while."""
    with pytest.MonkeyPatch.context() as patch:
        CHECKS[check](patch)
        yield
