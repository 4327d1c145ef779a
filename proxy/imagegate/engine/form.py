"""Multipart forms, as the Images API takes them: read strictly, written anew.

Readers of forms differ in what they take for a line end, a name or a boundary. So a
form is accepted only when it is spelled as clients spell it, and it is sent with a
boundary of our own: whatever a lenient reader might have found inside a file under
the old one is then only the inside of a file.

What is judged is the form as the JSON body that it stands for: `n=2` is a number,
`svg[model]` a member of a member, a file its mere presence.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from imagegate.engine.body import Body, read_body_now
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.value import Delete, Edit, Piece, Pieces, split

MAX_PARTS: Final = 128
MAX_HEAD: Final = 2_048
"""Bytes of a part's headers."""
MAX_TEXT: Final = 1 << 20
"""Bytes of a part that is no file; prompts are the longest, at some 32,000 signs."""

_WINDOW: Final = 1 << 20
_LINE: Final = b"\r\n"
_BOUNDARY: Final = re.compile(
    r'multipart/form-data *; *boundary=(?:"([^"\\]{1,70})"|([^\s";,]{1,70}))'
)
_BOUNDARY_SIGNS: Final = re.compile(
    r"[0-9A-Za-z'()+_,\-./:=? ]*[0-9A-Za-z'()+_,\-./:=?]"
)
_NAME: Final = re.compile(r"([a-z][a-z0-9_]{0,63})((?:\[[a-z0-9_]{0,63}\]){0,3})")
_UNQUOTED: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}"
_DISPOSITION: Final = re.compile(
    rf'form-data; name=(?:"([^"\\]{{1,200}})"|({_UNQUOTED}))'
    rf'(?:; filename=(?:"([^"\\\x00-\x1f\x7f]{{0,500}})"|({_UNQUOTED}))'
    r"(?:; filename\*=utf-8''[A-Za-z0-9!#$%&+.^_`|~-]{0,1500})?)?",
)
"""As clients spell it: those of .NET write quotes only where they must, and the name of
a file twice. It is written in one way, so that nobody reads another one of them."""
_MEDIA: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,80}/[A-Za-z0-9!#$&^_.+-]{1,80}")
_TEXTS: Final = ("text/plain", "text/plain; charset=utf-8", "text/plain;charset=utf-8")
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,8}")
_NONE: Final[Mapping[str, Sequence[Piece]]] = {}

_Json: TypeAlias = Any


class _File(msgspec.Struct, frozen=True):
    """What a file stands for: nothing that a setting could be.

    It is no mapping, as a field in a file is nothing that anybody could mean.
    """

    file: bool = True


_FILE: Final = _File()


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a form.

    Attributes:
        name: As it came: `image[]`, `svg[model]`.
        path: The same as steps: `("svg", "model")`.
        listed: It is one of several under its name.
        filename: None for a field that is no file.
    """

    name: str
    path: tuple[str, ...]
    listed: bool
    filename: str | None
    media: str | None
    content: memoryview


class Form:
    """A form as it was judged, and how to send it.

    Attributes:
        body: What it stands for.
    """

    __slots__ = ("_parts", "body")

    def __init__(self, parts: Sequence[Part], body: Body) -> None:
        self._parts = tuple(parts)
        self.body = body

    def file(self, name: str) -> memoryview | None:
        """Return the content of a field that is one file."""
        found = [x for x in self._parts if x.name == name and x.filename is not None]
        return found[0].content if len(found) == 1 else None

    def rewritten(
        self,
        edits: Sequence[Edit],
        boundary: str,
        files: Mapping[str, Sequence[Piece]] = _NONE,
    ) -> Pieces:
        """Write the form with some fields changed and nothing else moved.

        Args:
            edits: By the pointers of the body that it stands for.
            boundary: Long and not to be guessed by whoever made the form.
            files: What is in files now, by the names of their fields.
        """
        changed: dict[tuple[str, ...], bytes | Delete] = {
            tuple(split(pointer)): value for pointer, value in edits
        }
        out: list[Piece] = []
        written: set[tuple[str, ...]] = set()
        for part in self._parts:
            at = _nearest(part.path, changed)
            if at is None:
                content = files.get(part.name, (part.content,))
                out += _part(part.name, content, boundary, part)
            elif at not in written:
                written.add(at)
                out += _fields(at, changed[at], boundary)
        for path, value in changed.items():
            if path not in written:
                out += _fields(path, value, boundary)
        return Pieces([*out, b"--%s--\r\n" % boundary.encode()])


def content_type(boundary: str) -> str:
    """Return the header of a form that is written with a boundary."""
    return f"multipart/form-data; boundary={boundary}"


def boundary_of(header: str) -> bytes | None:
    """Read the boundary out of a `Content-Type`; None when it is no form.

    Raises:
        MalformedRequest: For a form whose boundary can be read in two ways.
    """
    if not header.lower().startswith("multipart/"):
        return None
    found = _BOUNDARY.fullmatch(header)
    spelled = found and (found.group(1) or found.group(2))
    if not spelled or not _BOUNDARY_SIGNS.fullmatch(spelled):
        raise MalformedRequest(
            "bad_form",
            "write Content-Type as multipart/form-data with one plain boundary",
            status=415,
        )
    return spelled.encode()


def read_form(data: bytes, boundary: bytes) -> Generator[None, None, Form]:
    """Read a form, giving way between pieces of work.

    Returns:
        The form; each yield is a moment to let others run.

    Raises:
        MalformedRequest: When another reader could see another form in it.
    """
    parts: list[Part] = []
    begin = b"--" + boundary + _LINE
    if not data.startswith(begin):
        raise _bad("it must begin with its boundary")
    at, view = len(begin), memoryview(data)
    delimiter = _LINE + b"--" + boundary
    while True:
        end = yield from _find(data, delimiter, at)
        parts.append(_read_part(data, view, at, end))
        if len(parts) > MAX_PARTS:
            raise _bad(f"over {MAX_PARTS} fields")
        at = end + len(delimiter)
        if data[at : at + 2] != _LINE:
            break
        at += 2
    if data[at:] not in (b"--", b"--\r\n"):
        raise _bad("something stands behind its end, or beside a boundary")
    return Form(parts, _body(parts))


def _find(data: bytes, wanted: bytes, start: int) -> Generator[None, None, int]:
    """Find a delimiter, a window at a time."""
    while start < len(data):
        found = data.find(wanted, start, start + _WINDOW + len(wanted))
        if found >= 0:
            return found
        start += _WINDOW
        yield
    raise _bad("it has no end")


def _read_part(data: bytes, view: memoryview, start: int, end: int) -> Part:
    """Read one field: its headers and where its content is."""
    head_end = data.find(_LINE + _LINE, start, min(end, start + MAX_HEAD))
    if head_end < 0:
        raise _bad("a field's headers have no end, or are too long")
    headers = _read_headers(data[start:head_end])
    found = _DISPOSITION.fullmatch(headers.pop("content-disposition", ""))
    if found is None:
        raise _bad('a field is not `form-data; name="…"`, with a filename if any')
    media = headers.pop("content-type", None)
    if headers:
        raise _bad("a field may have Content-Disposition and Content-Type only")
    name, filename = (found[1] or found[2], found[4] if found[3] is None else found[3])
    named = _NAME.fullmatch(name)
    if named is None:
        raise _bad("names of fields are written in lower case, plainly")
    steps = re.findall(r"\[([^\]]*)\]", named.group(2))
    listed = bool(steps) and not steps[-1]
    path = (named.group(1), *(steps[:-1] if listed else steps))
    if not all(path):
        raise _bad("only the last part of a name may be `[]`")
    part = Part(
        name=name,
        path=path,
        listed=listed,
        filename=filename,
        media=media,
        content=view[head_end + 4 : end],
    )
    _check(part)
    return part


def _read_headers(data: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        lines = data.decode("utf-8").split("\r\n")
    except UnicodeDecodeError:
        raise _bad("a field's headers are not UTF-8") from None
    for line in lines:
        name, colon, value = line.partition(":")
        key = name.lower()
        if not colon or not key.replace("-", "").isalpha() or key in found:
            raise _bad("a field's header cannot be read, or comes twice")
        found[key] = value.strip(" ")
    return found


def _check(part: Part) -> None:
    """Refuse content that readers would decode in a way of their own."""
    if part.filename is not None:
        if part.media is not None and not _MEDIA.fullmatch(part.media):
            raise _bad("the Content-Type of a file cannot be read", part.path)
    elif part.media is not None and part.media.lower() not in _TEXTS:
        raise _bad("a field is neither plain text nor a file", part.path)
    elif len(part.content) > MAX_TEXT:
        raise _bad(f"a field has over {MAX_TEXT} bytes", part.path)


def _body(parts: Sequence[Part]) -> Body:
    """Make the body that a form stands for."""
    named: dict[tuple[str, ...], list[Part]] = {}
    for part in parts:
        named.setdefault(part.path, []).append(part)
    top: dict[str, _Json] = {}
    for path, group in named.items():
        holder: _Json = top
        for step in path[:-1]:
            holder = holder.setdefault(step, {})
            if not isinstance(holder, dict):
                raise _bad("a field stands inside another", path)
        if path[-1] in holder:
            raise _bad("a field stands inside another", path)
        holder[path[-1]] = _value(path, group)
    return read_body_now(msgspec.json.encode(top), places=(), known=frozenset())


def _value(path: tuple[str, ...], group: Sequence[Part]) -> _Json:
    """Make the value of a field; only files may share a name."""
    first = group[0]
    if len(group) == 1 and first.filename is None:
        return [_text(first)] if first.listed else _text(first)
    if any(part.filename is None or part.listed != first.listed for part in group):
        raise _bad("a field comes twice", path)
    return [_FILE] * len(group) if first.listed else _FILE


def _text(part: Part) -> _Json:
    """Read a field's text as the value that it stands for."""
    try:
        text = bytes(part.content).decode("utf-8")
    except UnicodeDecodeError:
        raise _bad("a field is not UTF-8", part.path) from None
    if _INTEGER.fullmatch(text):
        return int(text)
    return {"true": True, "false": False}.get(text, text)


# -- writing --------------------------------------------------------------------


def _nearest(
    path: tuple[str, ...], changed: Mapping[tuple[str, ...], object]
) -> tuple[str, ...] | None:
    """Return the changed place that a field is, or is in."""
    for length in range(len(path), 0, -1):
        if path[:length] in changed:
            return path[:length]
    return None


def _fields(
    path: tuple[str, ...], value: bytes | Delete, boundary: str
) -> Iterator[Piece]:
    """Write what stands at a place now."""
    if isinstance(value, Delete):
        return
    for steps, text in _leaves(path, msgspec.json.decode(value)):
        name = steps[0] + "".join(f"[{step}]" for step in steps[1:])
        yield from _part(name, (text.encode(),), boundary)


def _leaves(
    path: tuple[str, ...], value: _Json
) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _leaves((*path, key), member)
    elif isinstance(value, bool):
        yield path, "true" if value else "false"
    elif value is not None:
        yield path, str(value)


def _part(
    name: str, content: Sequence[Piece], boundary: str, part: Part | None = None
) -> Iterator[Piece]:
    lines = [f"--{boundary}", f'Content-Disposition: form-data; name="{name}"']
    if part is not None and part.filename is not None:
        lines[-1] += f'; filename="{part.filename}"'
    if part is not None and part.media is not None:
        lines.append(f"Content-Type: {part.media}")
    yield "\r\n".join([*lines, "", ""]).encode()
    yield from content
    yield _LINE


def _bad(said: str, path: Sequence[str] = ()) -> MalformedRequest:
    return MalformedRequest(
        "bad_form",
        f"the form cannot be judged: {said}",
        pointer="".join(f"/{step}" for step in path),
    )
