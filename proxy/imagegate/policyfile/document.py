"""YAML text -> a tree with marks, refusing whatever a reviewer could misread.

The tree is built from the event stream, since composing resolves anchors and
aliases silently, and without recursion, since an attacker chooses the depth.
Scalars keep their text: which word means what is decided by whoever asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import yaml
from yaml.resolver import Resolver

from imagegate.engine.errors import Problem

MAX_BYTES = 256 * 1024
"""A page of policy is 3 KB; the YAML scanner reads some 200 KB a second."""
MAX_DEPTH = 12
"""The format needs six levels; the scanner's cost grows with depth squared."""
MAX_NODES = 5_000
"""A page of policy has 150 words and brackets; a hundred teams fit thrice."""
MAX_WORD = 200
"""No name needs more; a longer one would be repeated in every path below it."""
MAX_PROBLEMS = 100
"""Nobody reads more at once, and looking for the nearest word is slow."""
MAX_TEXT = 60
"""How much of the offending text a problem quotes."""
MAX_HIDDEN = 10
"""How many lines with hidden characters are named, one by one."""


class Mark(msgspec.Struct, frozen=True):
    """A place in the file, 1-based."""

    line: int
    column: int


class Scalar(msgspec.Struct, frozen=True):
    """A word as it was written."""

    text: str
    plain: bool
    mark: Mark


class Sequence(msgspec.Struct, frozen=True):
    """A list."""

    items: list[Node]
    mark: Mark


class Mapping(msgspec.Struct, frozen=True):
    """A mapping, without duplicates, in the order written."""

    entries: list[tuple[Scalar, Node]]
    mark: Mark


class Hole(msgspec.Struct, frozen=True):
    """A value whose problem is reported already; nobody looks at it again."""

    mark: Mark


Node = Scalar | Sequence | Mapping | Hole


def read_document(data: bytes) -> tuple[Node | None, list[Problem]]:
    """Read one YAML document; the tree is None where the syntax is broken."""
    if len(data) > MAX_BYTES:
        message = f"a policy file has at most {MAX_BYTES} bytes; this one has more"
        return None, [Problem(id="too-large", path="", message=message)]
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        return None, [_not_utf8(data, error.start)]
    builder = _Builder()
    return builder.build(builder.uncover(text))


def _not_utf8(data: bytes, start: int) -> Problem:
    before = data[data.rfind(b"\n", 0, start) + 1 : start]
    return Problem(
        id="not-utf-8",
        path="",
        message="this byte is not UTF-8; save the file as UTF-8",
        text=f"0x{data[start]:02x}",
        line=data.count(b"\n", 0, start) + 1,
        column=len(before.decode("utf-8-sig")) + 1,
    )


def implicit_type(scalar: Scalar) -> str:
    """Say what YAML makes of a plain word: `str`, `bool`, `int`, `null`, ..."""
    if not scalar.plain:
        return "str"
    # The stubs leave this method untyped.
    tag = _RESOLVER.resolve(yaml.ScalarNode, scalar.text, (True, False))  # type: ignore[no-untyped-call]
    return str(tag).rpartition(":")[2]


_RESOLVER = Resolver()


class _Open(msgspec.Struct):
    """A collection whose end has not been read yet."""

    node: Sequence | Mapping
    path: str
    key: Scalar | None = None
    skip_value: bool = False
    seen: dict[str, Mark] = msgspec.field(default_factory=dict)


class _Builder:
    """Turns events into a tree; one use."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.stack: list[_Open] = []
        self.root: Node | None = None
        self.documents = 0
        self.nodes = 0
        self.reached = Mark(1, 1)

    def uncover(self, text: str) -> str:
        """Report what a reviewer cannot see, and put a space in its place.

        YAML ends a line at U+2028 and at a lone carriage return, so that what an
        editor shows as a comment could be a rule; bidirectional marks turn a line
        around; a no-break space is not the indentation that it looks like.
        """
        if _visible(text):
            return text
        lines = text.split("\n")
        for number, line in enumerate(lines):
            column = next((at for at, x in enumerate(line) if not _visible(x)), None)
            if column is None:
                continue
            if len(self.problems) < MAX_HIDDEN:
                code = f"U+{ord(line[column]):04X}"
                message = f"{code} cannot be seen in a review; remove it"
                self._report("hidden-character", message, Mark(number + 1, column + 1))
            lines[number] = "".join(x if _visible(x) else " " for x in line)
        return "\n".join(lines)

    def build(self, text: str) -> tuple[Node | None, list[Problem]]:
        try:
            for event in _events(text):
                if not self._take(event):
                    return None, self.problems
        except yaml.YAMLError as error:
            self._report_syntax(error, text)
            return None, self.problems
        if self.root is None and not self.problems:
            message = "the file says nothing; begin with `version: 1`"
            self._report("empty", message, Mark(1, 1))
        return self.root, self.problems

    def _take(self, event: yaml.Event) -> bool:
        """Handle one event; False stops the reading for good."""
        self.reached = _mark(event)
        self._refuse_tricks(event)
        match event:
            case yaml.DocumentStartEvent():
                return self._start_document(event)
            case yaml.AliasEvent():
                self._add(Hole(_mark(event)))
            case yaml.ScalarEvent():
                self._add(self._scalar(event))
            case yaml.SequenceStartEvent():
                return self._open(Sequence([], _mark(event)))
            case yaml.MappingStartEvent():
                return self._open(Mapping([], _mark(event)))
            case yaml.CollectionEndEvent():
                self.stack.pop()
            case _:
                pass
        return self._bounded(event)

    def _bounded(self, event: yaml.Event) -> bool:
        self.nodes += isinstance(event, yaml.NodeEvent)
        if self.nodes > MAX_NODES:
            message = f"a policy file has at most {MAX_NODES} words and brackets"
            self._report("too-large", message, _mark(event))
            return False
        return len(self.problems) < MAX_PROBLEMS

    def _start_document(self, event: yaml.DocumentStartEvent) -> bool:
        self.documents += 1
        if event.version or event.tags:
            message = "`%` directives change how a file is read; leave them out"
            self._report("directive", message, _mark(event))
        if self.documents > 1:
            message = "a policy file holds one document; remove what follows `---`"
            self._report("many-documents", message, _mark(event))
            return False
        return True

    def _refuse_tricks(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.AliasEvent):
            message = "aliases hide what a line says; write the value out"
            self._report("alias", message, _mark(event), f"*{event.anchor}")
            return
        if not isinstance(event, yaml.NodeEvent):
            return
        if event.anchor:
            message = "anchors hide what a line says; write the value out each time"
            self._report("anchor", message, _mark(event), f"&{event.anchor}")
        tag = getattr(event, "tag", None)
        if tag:
            message = "tags change what a value is; remove it"
            self._report("tag", message, _mark(event), str(tag))

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar | Hole:
        mark = _mark(event)
        if _visible(event.value):
            return Scalar(event.value, event.style is None, mark)
        message = "this spells a character that cannot be seen; leave it out"
        self._report("hidden-character", message, mark, event.value)
        return Hole(mark)

    def _open(self, node: Sequence | Mapping) -> bool:
        path = self._path()
        if self.stack and isinstance(node, Mapping):
            parent = self.stack[-1].node
            path += f"[{len(parent.items)}]" if isinstance(parent, Sequence) else ""
        self._add(node)
        self.stack.append(_Open(node, path))
        if len(self.stack) > MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels; the format needs six"
            self._report("too-deep", message, node.mark)
            return False
        return True

    def _add(self, node: Node) -> None:
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        if isinstance(top.node, Sequence):
            top.node.items.append(node)
        elif top.key is None:
            top.key = self._key(top, node)
        else:
            if not top.skip_value:
                top.node.entries.append((top.key, node))
            top.key, top.skip_value = None, False

    def _key(self, top: _Open, node: Node) -> Scalar:
        """Judge a key; what stands under a wrong one is left out of the tree."""
        top.skip_value = True
        if isinstance(node, Hole):
            return Scalar("", plain=False, mark=node.mark)
        if not isinstance(node, Scalar):
            message = "a key is one word, not a list or a mapping"
            self._report("key-not-a-word", message, node.mark)
            return Scalar("", plain=False, mark=node.mark)
        if len(node.text) > MAX_WORD:
            message = f"a key has at most {MAX_WORD} characters"
            self._report("too-long", message, node.mark, node.text)
            return Scalar("", plain=False, mark=node.mark)
        if node.plain and node.text == "<<":
            message = "`<<` merges lines that a reader does not see; write them out"
            self._report("merge-key", message, node.mark, node.text)
        elif node.text in top.seen:
            first = top.seen[node.text].line
            shown = quoted(node.text)
            message = f"`{shown}` stands here already, on line {first}; keep one"
            self._report("duplicate-key", message, node.mark, node.text)
        else:
            top.skip_value = False
            top.seen[node.text] = node.mark
        return node

    def _path(self) -> str:
        if not self.stack:
            return ""
        top = self.stack[-1]
        return ".".join(filter(None, (top.path, top.key.text if top.key else "")))

    def _report(self, problem: str, message: str, mark: Mark, text: str = "") -> None:
        self.problems.append(
            Problem(
                id=problem,
                path=self._path(),
                message=message,
                text=quoted(text),
                line=mark.line,
                column=mark.column,
            )
        )

    def _report_syntax(self, error: yaml.YAMLError, text: str) -> None:
        mark = getattr(error, "problem_mark", None)
        place = Mark(mark.line + 1, mark.column + 1) if mark else self.reached
        said = str(getattr(error, "problem", None) or error)
        hint = next(hint for part, hint in _HINTS if part in said)
        shown = text.split("\n")[place.line - 1].strip()
        self._report("yaml-syntax", f"not YAML, {said}; {hint}", place, shown)


_HINTS = (
    ("mapping values are not", "quote a value with `: ` in it, and indent keys alike"),
    (r"'\t'", "indent with spaces"),
    ("cannot start any token", "put the value in quotes"),
    ("found unexpected end of stream", "close the quote"),
    ("<stream end>", "close the bracket"),
    ("expected ',' or", "separate with `, ` and close the bracket"),
    ("", "look at this line and the one above"),
)
"""What was probably meant, by what the parser says."""


def quoted(text: str) -> str:
    """Cut a text to one short, printable line."""
    flat = "".join(letter if letter.isprintable() else "?" for letter in text)
    return flat if len(flat) <= MAX_TEXT else f"{flat[: MAX_TEXT - 1]}…"


def _visible(text: str) -> bool:
    return text.isprintable() or text.translate(_LAYOUT).isprintable()


_LAYOUT = str.maketrans("", "", "\n\t")


def _mark(event: yaml.Event) -> Mark:
    start = event.start_mark
    return Mark(start.line + 1, start.column + 1) if start else Mark(1, 1)


def _events(text: str) -> Iterator[yaml.Event]:
    """Yield events lazily, so that a refusal stops the scanner as well.

    A value error out of the parser (an escape for a character that is none, a
    version number of five thousand digits) is a syntax error as any other.
    """
    try:
        yield from yaml.parse(text, Loader=yaml.SafeLoader)
    except (ValueError, OverflowError) as error:
        raise yaml.YAMLError("a number that is out of range") from error
