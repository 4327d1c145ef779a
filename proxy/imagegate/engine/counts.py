"""How many: calls in an answer, images of a call. One not given is written."""

from __future__ import annotations

from imagegate.engine.body import Body
from imagegate.engine.notes import Notes
from imagegate.engine.request import Request
from imagegate.engine.rulebook import count_of
from imagegate.engine.state import references
from imagegate.engine.value import Value


def judge_calls(notes: Notes, request: Request, body: Body, *, brought: bool) -> None:
    """Cap the calls of a request that may make images.

    It may without a tool of its own: what it refers to can hold one. Beside an
    agent that has the tools the API takes no such member, and in a message that only
    adds to a response neither; what is given there is capped, and nothing is written.

    Args:
        notes: What is found.
        request: The request.
        body: Its body.
        brought: It names the image tool itself.
    """
    stances = {stance for _, stance, _ in references(request, body)}
    if brought or stances:
        write = request.begins and (brought or "state.agents" not in stances)
        given = body.get("max_tool_calls")
        judge_count(notes, given, "max_tool_calls", write=write)


def judge_count(
    notes: Notes,
    given: Value | None,
    name: str,
    field: str | None = None,
    *,
    write: bool = True,
) -> None:
    """Cap a count of the request."""
    field = field or name
    limit = notes.scene.book.limit(name)
    value = None if given is None or limit is None else given.plain()
    if limit is None or (value is None and not write):
        return
    most = count_of(limit.value)
    if isinstance(value, int) and not isinstance(value, bool) and value <= most:
        return
    before, pointer = notes.shown(value), f"/{field}"
    if value is None or (isinstance(value, int) and limit.otherwise != "block"):
        notes.change(
            pointer,
            field,
            limit,
            f"`{field}` is {most}",
            before=before,
            after=most,
            edit=b"%d" % most,
        )
    else:
        said = f"`{field}` is {before}, at most {most} is allowed"
        fix = f"set `{field}` to {most}"
        notes.refuse(pointer, field, limit, said, fix=fix, was=value)
