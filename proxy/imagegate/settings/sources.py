"""What was said, and where: in a file, in the environment, in options."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from imagegate.named_file import read_named
from imagegate.settings.keys import OPTIONS, PREFIX, SHORT, keys
from imagegate.settings.model import UpstreamSettings
from imagegate.settings.problems import SettingsProblem, did_you_mean

CONFIG = "IMAGEGATE_CONFIG"
MAX_BYTES = 1_000_000
UPSTREAM_KEYS = UpstreamSettings.__struct_fields__
_LINKS = re.compile(
    r"IMAGEGATE_(?:\w+_)?(?:SERVICE_HOST=|SERVICE_PORT(?:_\w+)?=|PORT=\w+://"
    r"|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?=)"
)
"""Kubernetes sets these in every pod beside a service named `imagegate`."""
_HEADER = re.compile(r"\s*\[\s*([^\[\]#]+?)\s*\]\s*(?:#.*)?")
_KEY = re.compile(r"\s*([\w.\"' -]+?)\s*=")
_SECRET = re.compile(r"key|token|secret|password|bearer|authorization", re.IGNORECASE)


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """A value that was given.

    Attributes:
        path: `listen.port`, `upstreams.azure.url`, or a short one: `upstreams`.
        value: As it was read: a text, or a value of TOML.
        origin: Where it was given, for people.
        base: What a relative path in it is relative to; None for the working
            directory.
    """

    path: str
    value: Any
    origin: str
    base: Path | None = None


Source = tuple[list[Given], list[SettingsProblem]]


def from_options(options: Mapping[str, str | Sequence[str]]) -> Source:
    """Take the options of the command line, by their paths."""
    return [
        Given(path=path, value=value, origin=OPTIONS[path])
        for path, value in options.items()
    ], []


def from_environment(environ: Mapping[str, str]) -> Source:
    """Take the variables that begin with IMAGEGATE_; each must be a known one."""
    known = {key.variable: key.path for key in keys().values()}
    known |= {variable: path for path, variable in SHORT.items()}
    given: list[Given] = []
    problems: list[SettingsProblem] = []
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name == CONFIG or not value:
            continue
        if name in known:
            path = known[name]
            words = value.split() if path == "upstreams" else value
            given.append(Given(path=path, value=words, origin=name))
        elif not _LINKS.match(f"{name}={value}"):
            hint = did_you_mean(name, [*known, CONFIG])
            problems.append(
                SettingsProblem(
                    id="unknown-variable",
                    path="",
                    origin=name,
                    message=f"no setting has this variable{hint}",
                )
            )
    return given, problems


def from_file(file: Path, data: bytes | None = None) -> Source:
    """Read a configuration file, or what has been read of it already."""
    try:
        data = read_named(file, MAX_BYTES + 1) if data is None else data
        if len(data) > MAX_BYTES:
            return [], [_unreadable(file, f"is longer than {MAX_BYTES:,} bytes")]
        text = data.decode("utf-8-sig")  # some editors begin with a mark
        document = tomllib.loads(text)
    except OSError as error:
        return [], [_unreadable(file, f"cannot be read: {error.strerror}")]
    except tomllib.TOMLDecodeError as error:
        return [], [_unreadable(file, f"is not TOML: {error}")]
    except UnicodeDecodeError:
        return [], [_unreadable(file, "is not UTF-8")]
    return _Document(file, text).take(document)


def _unreadable(file: Path, why: str) -> SettingsProblem:
    message = f"the configuration file {why}"
    return SettingsProblem(
        id="unreadable-file", path="", origin=str(file), message=message
    )


class _Document:
    """One file while it is taken apart; one use."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        # What comes out of a pipe is nowhere: its paths are as on the command line.
        self.base = file.absolute().parent if file.is_file() else Path.cwd()
        self.lines = lines_of(text)
        self.given: list[Given] = []
        self.problems: list[SettingsProblem] = []

    def take(self, document: Mapping[str, Any]) -> Source:
        """Find each value's key."""
        known = keys()
        sections = {path.partition(".")[0] for path in known if "." in path}
        for name, value in document.items():
            if name == "upstreams":
                self._take_upstreams(value)
            elif name in sections:
                self._take_table(name, value, [p for p in known if "." in p])
            elif name in known:
                self._give(name, value)
            else:
                self._unknown(name, [*known, *sections, "upstreams"])
        return self.given, self.problems

    def _take_upstreams(self, value: object) -> None:
        if not isinstance(value, dict):
            self._complain(
                "expected-table",
                "upstreams",
                "expected a table for each provider: [upstreams.openai]",
            )
            return
        for name, table in value.items():
            path = f"upstreams.{name}"
            if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", name):
                self._complain(
                    "bad-name", path, "expected a name of small letters and digits"
                )
                continue
            self._take_table(path, table, [f"{path}.{key}" for key in UPSTREAM_KEYS])

    def _take_table(self, path: str, table: object, known: Sequence[str]) -> None:
        if not isinstance(table, dict):
            self._complain("expected-table", path, f"expected a table: [{path}]")
            return
        for name, value in table.items():
            inner = f"{path}.{name}"
            if inner in known:
                self._give(inner, value)
            elif any(p.startswith(f"{inner}.") for p in known):
                self._take_table(inner, value, known)
            else:
                self._unknown(inner, [p for p in known if p.startswith(f"{path}.")])

    def _give(self, path: str, value: object) -> None:
        self.given.append(
            Given(
                path=path,
                value=value,
                origin=self._place(path),
                base=self.base,
            )
        )

    def _unknown(self, path: str, known: Iterable[str]) -> None:
        hint = did_you_mean(path, known)
        if path.startswith("upstreams.") and _SECRET.search(path.rpartition(".")[2]):
            hint = (
                "; a key does not stand in this file: write "
                'credential = "authorization=env:NAME", or file:PATH'
            )
        self._complain("unknown-setting", path, f"there is no such setting{hint}")

    def _complain(self, ident: str, path: str, message: str) -> None:
        self.problems.append(
            SettingsProblem(
                id=ident, path=path, origin=self._place(path), message=message
            )
        )

    def _place(self, path: str) -> str:
        inside = (n for p, n in self.lines.items() if p.startswith(f"{path}."))
        line = self.lines.get(path) or min(inside, default=0)
        return f"{self.file}:{line}" if line else str(self.file)


def lines_of(text: str) -> dict[str, int]:
    """Find the line of each key; the parser in Python's library does not say it."""
    found: dict[str, int] = {}
    above = ""
    for number, line in enumerate(text.splitlines(), 1):
        header, key = _HEADER.fullmatch(line), _KEY.match(line)
        if header:
            above = _dotted(header[1])
            found.setdefault(above, number)
            above += "."
        elif key:
            found.setdefault(above + _dotted(key[1]), number)
    return found


def _dotted(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))
