"""Batch files: each line is a request that runs later, judged as it is staged.

A line names a route and brings a body: it is read as strictly as a request, judged at
the door that it names, and written anew. It has no headers. Whoever reads a file may
cut it into lines in a way of their own, so that what only some readers take for the
end of a line is refused. A file is for one route: which one, the batch says again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec

from imagegate.engine.body import Body, read_body
from imagegate.engine.decision import (
    Block,
    Change,
    Decision,
    Reason,
    Rewrite,
    Together,
    Violation,
)
from imagegate.engine.edits import Edit, Piece, Pieces, spell_key
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.form import Form
from imagegate.engine.request import Request
from imagegate.engine.surface import FAMILIES, LINE_KEYS, Lost, Match, find_door

PURPOSE: Final = "batch"
MAX_LINES: Final = 50_000
"""Of a file; the API takes no more."""
MAX_TOLD: Final = 10 * MAX_LINES
"""Tools and reasons of a file: what is refused or changed takes a hundred times the
bytes that ask for it. A line with one tool has eight."""
MAX_REFUSED: Final = 32
"""Refusals behind which no line is judged: the file does not go on, and no record tells
of more. A line of a thousand tools takes as long as a thousand lines."""

_ENDS: Final = (
    "\r",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x1d",
    "\x1e",
    "\x85",
    "\u2028",
    "\u2029",
)
_ENDING: Final = (b"\r", *(end.encode() for end in "\x85\u2028\u2029"))
"""What some readers take for the end of a line."""
_BASE: Final = FAMILIES["openai"].base
"""Before a route, however the provider spells it elsewhere."""
_BREATH: Final = 20
"""Lines after which others get a turn."""
_STRETCH: Final = 1 << 20

_Said = TypeVar("_Said", bound=Change | Violation)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a file.

    Attributes:
        number: From 1 on.
        url: The route that it is for, as it spells it.
        match: The door.
        whole: The line.
        body: What it would send.
    """

    number: int
    url: str
    match: Match
    whole: Body
    body: Body

    @property
    def place(self) -> str:
        """Where its body is, as a pointer into the form."""
        return f"/file/{self.number}/body"

    def written(self, edits: Sequence[Edit]) -> Iterator[Piece]:
        """Write the line with some places of its body changed."""
        comma = slice(1, None)
        yield b"{"
        for key, value in self.whole.members.items():
            yield spell_key(key)[comma]
            comma = slice(None)
            if key == "body":
                yield from self.body.rewritten(edits).parts
            else:
                yield value.raw
        yield b"}\n"


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a batch file.

    Attributes:
        decision: On all of its lines, their places being those in the form.
        url: The route that they are for, as they spell it.
        content: The file that goes on, if it may.
    """

    decision: Decision
    url: str
    content: Sequence[Piece]


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """A batch file, line by line: no more than one of them is kept in memory, read.

    Attributes:
        data: The file.
        match: The door; whoever runs the file spells routes as there.
    """

    data: memoryview
    match: Match

    def judged(
        self, request: Request, decide: Callable[[Request], Decision]
    ) -> Generator[None, None, Judged]:
        """Read, decide and write each line; each yield lets others run.

        Args:
            request: The upload.
            decide: Decides on one request.

        Raises:
            MalformedRequest: For the first line that nobody can judge.
        """
        found, number = Together(), 0
        content: list[Piece] = []
        begun: list[Piece] = []  # joined now and then, for lines are short
        first: Line | None = None
        for text in _lines(self.data):
            number += text is not None
            if text and text.strip():  # what holds nothing is left out
                line = yield from _read_at(number, text, self.match, first)
                first = first or line
                decision = decide(_asked(request, line))
                found.add(_placed(line, decision))
                begun += line.written(_edits(decision))
                if found.told > MAX_TOLD:
                    said = "there is too much to tell of its tools; send it in parts"
                    raise _bad(said, "/file")
                if found.refused > MAX_REFUSED:
                    break
            if text is None or not number % _BREATH:
                content += Pieces(begun).parts
                begun = []
                yield
            if number > MAX_LINES:
                raise _bad(f"the file has over {MAX_LINES} lines", "/file")
        if first is None:
            raise _bad("there is no `file`, or it has no lines", "/file")
        return Judged(
            decision=found.decision(), url=first.url, content=[*content, *begun]
        )


def _asked(request: Request, line: Line) -> Request:
    return msgspec.structs.replace(
        request, match=line.match, body=line.body, headers=(), query=""
    )


def _edits(decision: Decision) -> Sequence[Edit]:
    return decision.edits if isinstance(decision, Rewrite) else ()


def staged_by(form: Form, match: Match) -> Staged | None:
    """Return the batch file that a form uploads, if it uploads one."""
    purpose = form.body.get("purpose")
    if purpose is None or purpose.text() != PURPOSE:
        return None
    return Staged(data=form.file("file") or memoryview(b""), match=match)


def _lines(data: memoryview) -> Iterator[bytes | None]:
    """Yield the lines, and nothing after each stretch that was looked through.

    Behind the last line there may be an end, or none.
    """
    begun: list[bytes] = []
    for at in range(0, len(data), _STRETCH):
        *ended, rest = bytes(data[at : at + _STRETCH]).split(b"\n")
        for text in ended:
            yield b"".join([*begun, text]).removesuffix(b"\r")
            begun = []
        begun.append(rest)
        yield None
    last = b"".join(begun)
    if last:
        yield last.removesuffix(b"\r")


def _read_at(
    number: int, text: bytes, upload: Match, first: Line | None
) -> Generator[None, None, Line]:
    """Read a line; what is wrong with it is told with its number."""
    try:
        return (yield from _read(number, text, upload, first))
    except MalformedRequest as error:
        # What is wrong with the bytes themselves has a place among them.
        byte = "" if error.pointer.startswith("/") else error.pointer
        at = f"line {number}, {byte}" if byte else f"line {number}"
        pointer = error.pointer.removeprefix(byte)
        raise _moved(error, f"/file/{number}", pointer, f"{at}: ") from None


def _moved(
    error: MalformedRequest, place: str, pointer: str, before: str = ""
) -> MalformedRequest:
    return MalformedRequest(
        error.code, before + error.message, pointer=place + pointer, status=error.status
    )


def _read(
    number: int, text: bytes, upload: Match, first: Line | None
) -> Generator[None, None, Line]:
    yield from _check_ends(text)
    whole = yield from read_body(text, places=(), known=LINE_KEYS)
    if set(whole.names) != LINE_KEYS:
        raise _bad("it has `custom_id`, `method`, `url` and `body`, and no more", "")
    name, method, url = (_text(whole, key) for key in ("custom_id", "method", "url"))
    if not name or method != "POST" or not url:
        said = "`custom_id` and `url` are strings, and `method` is POST"
        raise _bad(said, "")
    if first is not None and url != first.url:
        raise _bad("its `url` is another one than that of the first line", "/url")
    match = _door(url, upload) if first is None else first.match
    raw = b"".join(whole.spelled(("body",)))
    try:
        body = yield from read_body(raw, places=match.door.places)
    except MalformedRequest as error:
        pointer = error.pointer if error.pointer.startswith("/") else ""
        raise _moved(error, "/body", pointer) from None
    return Line(number=number, url=url, match=match, whole=whole, body=body)


def _check_ends(text: bytes) -> Iterator[None]:
    """Refuse what some readers take for the end of a line.

    Control characters are refused as such; the others are no ASCII but one.
    """
    for end in _ENDING[:1] if text.isascii() else _ENDING:
        if end in text:
            raise _bad("what could be the end of a line is not escaped", "")
        if len(text) > _STRETCH:
            yield


def _text(whole: Body, key: str) -> str | None:
    value = whole.get(key)
    return None if value is None else value.text()


def _door(url: str, upload: Match) -> Match:
    """Find the door of a route: where the file is uploaded, whatever is before it."""
    found = find_door("POST", _BASE + url.removeprefix(_BASE))
    if isinstance(found, Lost):
        raise MalformedRequest(
            found.code, found.message, pointer="/url", status=found.status
        )
    made = found.door.reading in {"responses", "images"}
    if found.params or not (made or found.door.opaque):
        raise _bad("a batch calls no such route", "/url")
    return msgspec.structs.replace(found, family=upload.family, params=upload.params)


def _placed(line: Line, decision: Decision) -> Decision:
    """Return what was decided on a line, with its places in the file."""
    shared: dict[str, Any] = {
        "tools": tuple(
            msgspec.structs.replace(tool, pointer=line.place + tool.pointer)
            for tool in decision.tools
        ),
        "observed": tuple(_told(line, each) for each in decision.observed),
    }
    if isinstance(decision, Block):
        shared["violations"] = tuple(_told(line, x) for x in decision.violations)
    elif isinstance(decision, Rewrite):
        if decision.headers:
            return Block(violations=(_without_header(line),), **shared)
        shared["changes"] = tuple(_told(line, x) for x in decision.changes)
        shared["edits"] = tuple((line.place + at, x) for at, x in decision.edits)
    return msgspec.structs.replace(decision, **shared)


def _told(line: Line, each: _Said) -> _Said:
    return msgspec.structs.replace(
        each,
        pointer=line.place + each.pointer,
        message=f"line {line.number}: {each.message}",
    )


def _without_header(line: Line) -> Violation:
    """Refuse what only a header can say: a line has none."""
    return Violation(
        pointer=line.place,
        field="header",
        before=None,
        by=Reason(rule="always.header"),
        message=f"line {line.number}: a header would have to name the image "
        "deployment, and a line has none",
        fix="send this request by itself",
    )


def _bad(said: str, pointer: str) -> MalformedRequest:
    return MalformedRequest("bad_batch", said, pointer=pointer)
