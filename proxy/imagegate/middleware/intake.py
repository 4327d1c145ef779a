"""From the bytes of a body to what was read strictly in it, within limits."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Generator, Sequence
from typing import TypeVar

import msgspec

from imagegate.engine.batch import Staged, staged_by
from imagegate.engine.body import RESPONSES, TOP_KEYS, Body, read_body
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.form import Form, boundary_of, content_type, read_form
from imagegate.engine.surface import Door, Match
from imagegate.engine.value import Edit, Piece, Pieces
from imagegate.middleware.encoding import coding_of, decode
from imagegate.middleware.headers import Head
from imagegate.middleware.load import Carried
from imagegate.middleware.setup import Limits

_T = TypeVar("_T")
_FORMS = frozenset({"file", "images"})
"""What is read that comes as a form, always or at times."""


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """A body that was read.

    Attributes:
        body: What is judged.
        form: What it stands for, if it came as a form.
        staged: The lines of a batch file, if it uploads one.
    """

    body: Body
    form: Form | None = None
    staged: Staged | None = None

    def written(
        self, edits: Sequence[Edit], lines: Sequence[Piece] | None = None
    ) -> tuple[Pieces, str]:
        """Write it with its changes, and say of what type it is then.

        Args:
            edits: By pointers into what is judged.
            lines: Of a batch file, as they go on.
        """
        if self.form is None:
            return self.body.rewritten(edits), "application/json"
        # Nobody who made the request could know this name.
        boundary = f"imagegate-{secrets.token_hex(16)}"
        if lines is None:
            data = self.form.rewritten(edits, boundary)
        else:
            data = self.form.rewritten((), boundary, {"file": lines})
        return data, content_type(boundary)


async def read(
    data: bytes, head: Head, match: Match, limits: Limits, carried: Carried
) -> Read:
    """Decode and read a body, letting others run between the pieces.

    Raises:
        MalformedRequest: When it cannot be judged.
    """
    boundary, door = None, match.door
    if door.reading in _FORMS:
        boundary = boundary_of(", ".join(head.get("content-type")))
    if boundary is None:
        _check_type(head.tokens("content-type"), door)
    coding = coding_of(head.tokens("content-encoding"))
    if coding is not None:
        data = await stepwise(
            decode(data, coding, limit=limits.body, count=carried.grow)
        )
    if boundary is not None:
        form = await stepwise(read_form(data, boundary))
        staged = staged_by(form, match) if door.reading == "file" else None
        return Read(body=form.body, form=form, staged=staged)
    places = door.places if door.reading != "none" else RESPONSES
    return Read(body=await stepwise(read_body(data, places=places, known=TOP_KEYS)))


def _check_type(values: list[str], door: Door) -> None:
    spelled = [part.strip(" \t") for value in values for part in value.split(";")]
    json = spelled in (["application/json"], ["application/json", "charset=utf-8"])
    if json and door.reading != "file":
        return
    wanted = "multipart/form-data" if door.reading == "file" else "application/json"
    raise MalformedRequest(
        "unsupported_media_type",
        f"Content-Type must be {wanted}; nothing else can be judged here",
        status=415,
    )


async def stepwise(steps: Generator[None, None, _T]) -> _T:
    """Run a generator to its end, giving way at each of its yields."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: _T = end.value
            return value
        await asyncio.sleep(0)
