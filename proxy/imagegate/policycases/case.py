"""A case: one JSON document with a request, and what the policy is to make of it.

The folder it lies in says the decision; the rest is in `expect`. A word that is
not known here is an error: what a case seems to demand, it demands.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from imagegate.engine.errors import MalformedRequest, Problem
from imagegate.engine.strict import read_object
from imagegate.engine.value import pointer_to_param
from imagegate.policycases.question import (
    Provider,
    Question,
    headers_of,
    principal_of,
)
from imagegate.policyfile.words import nearest

Word = Literal["forward", "rewrite", "block"]
Many = str | tuple[str, ...]
_ABSENT = msgspec.Raw()


class _Strict(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """A misspelt key is an error."""


class Refused(_Strict, frozen=True, kw_only=True):
    """One thing that is refused; what is not said may be anything."""

    param: str | None = None
    rule: str | None = None
    code: str | None = None


class Expected(_Strict, frozen=True, kw_only=True):
    """What is to come out. A list or a mapping that is given is the whole of it.

    Attributes:
        changes: What stands where afterwards; null where something goes.
        rules: The ids of the lines that changed or refused something.
        sent: The body that goes on.
        violations: What is refused.
        observed: The ids of the observed lines that would have acted.
    """

    changes: Mapping[str, Any] | None = None
    rules: tuple[str, ...] | None = None
    sent: msgspec.Raw = _ABSENT
    violations: tuple[Refused, ...] | None = None
    observed: tuple[str, ...] | None = None


class _File(_Strict, frozen=True, kw_only=True):
    """A case as it is written; `request` is a body, `body` the text of one."""

    about: str
    request: msgspec.Raw = _ABSENT
    body: str | None = None
    door: str = ""
    path: str = ""
    provider: Provider | None = None
    principal: Mapping[str, Many] = msgspec.field(default_factory=dict, name="as")
    unverified: bool = False
    headers: Mapping[str, Many] = msgspec.field(default_factory=dict)
    date: datetime.date | None = None
    seen: tuple[str, ...] = ()
    expect: Expected = Expected()


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One case of a policy.

    Attributes:
        file: Where it was read.
        about: What it shows, in one sentence.
        decision: What is to be decided.
    """

    file: str
    about: str
    decision: Word
    question: Question
    expected: Expected


def read_case(file: Path, decision: Word, *, today: datetime.date) -> Case | Problem:
    """Read a case, or say what is wrong with it.

    Raises:
        OSError: When there is no reading it.
    """
    data = file.read_bytes()
    try:
        _check_keys(data)
        said = msgspec.json.decode(data, type=_File)
    except MalformedRequest as twice:
        return _problem(pointer_to_param(twice.pointer), twice.message)
    except msgspec.DecodeError as error:
        message, _, place = str(error).partition(" - at ")
        place = place.strip("`").removeprefix("$").removeprefix(".")
        return _problem(place, _named(place, message))
    except UnicodeDecodeError:
        return _problem("", "a case is UTF-8 text")
    if bool(bytes(said.request)) == (said.body is not None):
        return _problem("", "a case has one of `request` and `body`")
    if said.expect == Expected() and decision != "forward":
        wanted = "`changes`, `rules` or `sent`" if decision == "rewrite" else "`rules`"
        return _problem("expect", f"say more than the folder does: {wanted}")
    return Case(
        file=str(file),
        about=said.about,
        decision=decision,
        question=_question(said, today),
        expected=said.expect,
    )


def _check_keys(data: bytes) -> None:
    """Refuse members that come twice: the decoder would keep the last in silence."""
    row = read_object(data, pointer="", known=frozenset())
    expect = row.get("expect")
    if expect is not None and bytes(expect).startswith(b"{"):
        inner = read_object(expect, pointer="/expect", known=frozenset())
        changes = inner.get("changes")
        if changes is not None and bytes(changes).startswith(b"{"):
            read_object(changes, pointer="/expect/changes", known=frozenset())


def _named(place: str, message: str) -> str:
    """Say of a key that is not known which ones are."""
    _, _, key = message.partition("unknown field ")
    if not key:
        return message
    read: type[_Strict] = _File
    if place:
        read = Expected if place == "expect" else Refused
    known = [field.encode_name for field in msgspec.structs.fields(read)]
    return f"{key} is not a key here; {nearest(key.strip('`'), known)}"


def _question(said: _File, today: datetime.date) -> Question:
    headers = [
        (name, value)
        for name, values in said.headers.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return Question(
        data=said.body.encode() if said.body is not None else compact(said.request),
        date=said.date or today,
        provider=said.provider,
        door=said.door,
        path=said.path,
        principal=principal_of(said.principal, verified=not said.unverified),
        headers=headers_of(headers),
        seen=frozenset(said.seen),
    )


def compact(raw: msgspec.Raw) -> bytes:
    """Take the white space between tokens away, and nothing else."""
    return msgspec.json.format(bytes(raw), indent=-1)


def _problem(place: str, message: str) -> Problem:
    return Problem(id="case-invalid", path=place, message=message)
