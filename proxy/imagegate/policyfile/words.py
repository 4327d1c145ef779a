"""Reading single values, with a problem that says what would be right."""

from __future__ import annotations

import contextlib
import datetime
import difflib
import re
from collections.abc import Collection, Iterable
from decimal import Decimal

import msgspec

from imagegate.engine.errors import Problem, Severity
from imagegate.engine.quota import millionths
from imagegate.engine.sizes import Size, parse_size
from imagegate.policyfile.document import (
    MAX_PROBLEMS,
    MAX_WORD,
    Hole,
    Mapping,
    Mark,
    Node,
    Scalar,
    Sequence,
    implicit_type,
    quoted,
)

Entries = dict[str, tuple[Scalar, Node]]

MOST_LISTED = 30
"""How many known words a message lists."""


class Place(msgspec.Struct, frozen=True):
    """Where something was said, and how."""

    mark: Mark
    text: str


def place_of(node: Node) -> Place:
    """Return where a node begins; only words are quoted."""
    return Place(node.mark, node.text if isinstance(node, Scalar) else "")


def nearest(word: str, known: Iterable[str], besides: str = "") -> str:
    """Suggest the known word that was probably meant, or list what there is."""
    known = list(known)
    meant = resembled(word, known)
    if meant:
        return f"did you mean `{meant}`?"
    if len(known) > MOST_LISTED:
        return f"known here are {len(known)} such as `{known[1]}` and `{known[-1]}`"
    listed = [*(f"`{item}`" for item in known), *filter(None, [besides])]
    return f"known here: {', '.join(listed)}"


def resembled(word: str, known: Iterable[str]) -> str | None:
    """Find the known word that was probably meant."""
    folded = {item.casefold(): item for item in known}
    asked = word.casefold()
    close = difflib.get_close_matches(asked, folded, n=1, cutoff=0.6)
    close += [item for item in folded if item.endswith(f".{asked}")]
    return folded[close[0]] if close else None


class TooManyProblemsError(Exception):
    """The rest of the file is not worth reading; nobody would."""


class Report:
    """Gathers problems; every reading method returns None where it found one."""

    def __init__(self, found: Iterable[Problem]) -> None:
        self.problems = list(found)
        self.errors = len(self.problems)

    def add(
        self,
        problem: str,
        path: str,
        message: str,
        place: Place | None,
        *,
        severity: Severity = "error",
    ) -> None:
        """Note a problem."""
        self.problems.append(
            Problem(
                id=problem,
                path=path,
                message=message,
                text=quoted(place.text) if place else "",
                line=place.mark.line if place else 0,
                column=place.mark.column if place else 0,
                severity=severity,
            )
        )
        self.errors += severity == "error"
        if self.errors >= MAX_PROBLEMS:
            raise TooManyProblemsError

    def expected(self, node: Node, path: str, problem: str, wanted: str) -> None:
        """Note that something else should stand here."""
        if not isinstance(node, Hole):
            what = f"`{path}`" if path else "the file"
            message = f"{what} must be {wanted}{_called(node)}"
            self.add(problem, path, message, place_of(node))

    def mapping(
        self,
        node: Node,
        path: str,
        known: Collection[str],
        required: Collection[str] = (),
        above: Collection[str] = (),
    ) -> Entries:
        """Read a mapping with a closed vocabulary of keys.

        Keys that are known only `above`, at the top of the file, are told apart.
        """
        entries = self.entries(node, path)
        meant = set(entries)
        for name, (key, _) in entries.items():
            if name not in known:
                better = nearest(name, known)
                if name in above:
                    better = "it stands at the top of the file, for everybody"
                message = f"`{quoted(name)}` is not a key here; {better}"
                self.add("unknown-key", join(path, name), message, place_of(key))
                meant.add(resembled(name, known) or name)
        for name in required:
            if isinstance(node, Mapping) and name not in meant:
                where = f"under `{path}`" if path else "at the top of the file"
                message = f"`{name}` is missing; it must be said {where}"
                self.add("missing-key", join(path, name), message, place_of(node))
        return {name: item for name, item in entries.items() if name in known}

    def named(
        self, node: Node, path: str, wanted: str = "lines of `name: value`"
    ) -> Entries:
        """Read a mapping whose keys are names of the operator's choice."""
        entries = self.entries(node, path, wanted)
        return {
            name: (key, value)
            for name, (key, value) in entries.items()
            if self.word(key, path) is not None
        }

    def entries(
        self, node: Node, path: str, wanted: str = "lines of `key: value`"
    ) -> Entries:
        """Read a mapping with any keys."""
        if isinstance(node, Mapping):
            return {key.text: (key, value) for key, value in node.entries}
        self.expected(node, path, "expected-mapping", wanted)
        return {}

    def items(self, node: Node, path: str) -> list[Node]:
        """Read a list with something in it."""
        if not isinstance(node, Sequence):
            self.expected(node, path, "expected-list", "a list such as `[a, b]`")
            return []
        if not node.items:
            message = f"`{path}` is empty; list at least one value, or leave it out"
            self.add("empty-list", path, message, place_of(node))
        return node.items

    def word(
        self,
        node: Node,
        path: str,
        known: Collection[str] | None = None,
        besides: str = "",
    ) -> str | None:
        """Read a word: any, or one of a closed vocabulary.

        What may stand here `besides`, and is no word, messages name with the words.
        """
        if not isinstance(node, Scalar):
            self.expected(node, path, "expected-word", "one word")
            return None
        if self._says_nothing(node, path, known):
            return None
        kind = implicit_type(node)
        if kind != "str" and (known is None or node.text not in known):
            message = f"YAML reads this as {_SPOKEN[kind]}; "
            message += (
                nearest(node.text, known, besides) if known else "put it in quotes"
            )
            self.add("implicit-value", path, message, place_of(node))
            return None
        if known is not None and node.text not in known:
            message = f"`{quoted(node.text)}` is no word for `{path}`; "
            message += nearest(node.text, known, besides)
            self.add("unknown-word", path, message, place_of(node))
            return None
        return node.text

    def _says_nothing(
        self, node: Scalar, path: str, known: Collection[str] | None = None
    ) -> bool:
        if node.text.strip() and len(node.text) <= MAX_WORD:
            return False
        if node.text.strip():
            message = f"a word has at most {MAX_WORD} characters"
            self.add("too-long", path, message, place_of(node))
        else:
            message = f"`{path}` says nothing; "
            message += nearest("", known) if known else "write a value"
            self.add("empty-value", path, message, place_of(node))
        return True

    def name(self, node: Node, path: str) -> str | None:
        """Read a name that becomes a part of rule ids and records."""
        name = self.word(node, path)
        if name is None or _NAME.fullmatch(name):
            return name
        message = "a name is made of letters, digits, `-` and `_`, at most 64 of them"
        self.add("bad-name", path, message, place_of(node))
        return None

    def prose(self, node: Node, path: str) -> str:
        """Read a remark for people."""
        if not isinstance(node, Scalar):
            self.expected(node, path, "expected-word", "a sentence for people")
            return ""
        if not node.text.strip() or implicit_type(node) in {"bool", "null"}:
            message = f"`{path}` says nothing; write a sentence for people"
            self.add("empty-value", path, message, place_of(node))
            return ""
        return " ".join(node.text.split())

    def number(self, node: Node, path: str) -> int | None:
        """Read a whole number, spelled in plain decimal digits."""
        if isinstance(node, Scalar) and node.plain and _DECIMAL.fullmatch(node.text):
            return int(node.text)
        wanted = "a whole number in plain digits, such as 4"
        self.expected(node, path, "expected-number", wanted)
        return None

    def amount(self, node: Node, path: str) -> int | None:
        """Read an amount of money, in plain digits; return millionths."""
        if isinstance(node, Scalar) and node.plain and _AMOUNT.fullmatch(node.text):
            return millionths(Decimal(node.text))
        wanted = "an amount in plain digits, such as 4.50, with up to six behind a dot"
        self.expected(node, path, "expected-amount", wanted)
        return None

    def size(self, node: Node, path: str) -> Size | None:
        """Read a size."""
        size = parse_size(node.text) if isinstance(node, Scalar) else None
        if size is None:
            wanted = "a size such as 1024x1024, WIDTHxHEIGHT in pixels"
            self.expected(node, path, "expected-size", wanted)
        return size

    def true(self, node: Node, path: str) -> bool | None:
        """Read the word `true`; saying nothing is the only way to say no."""
        if isinstance(node, Scalar) and node.plain and node.text == "true":
            return True
        self.expected(node, path, "expected-true", "`true`, or left out")
        return None

    def date(self, node: Node, path: str) -> datetime.date | None:
        """Read a date: the last day on which something holds."""
        if isinstance(node, Scalar) and _DATE.fullmatch(node.text):
            with contextlib.suppress(ValueError):
                return datetime.date.fromisoformat(node.text)
        self.expected(node, path, "expected-date", "a date such as 2027-01-31")
        return None


_SPOKEN = {
    "bool": "true or false",
    "null": "nothing",
    "int": "a number",
    "float": "a number",
    "timestamp": "a date",
    "merge": "a merge of mappings",
    "value": "a default value",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,8}")
_AMOUNT = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,6})?")


def join(path: str, name: str) -> str:
    """Step from a path to a key below it."""
    return f"{path}.{name}" if path else name


def _called(node: Node) -> str:
    match node:
        case Scalar(text=""):
            return ", not nothing"
        case Scalar():
            return ""  # it is quoted beside the message
        case Sequence():
            return ", not a list"
        case _:
            return ", not a mapping"
