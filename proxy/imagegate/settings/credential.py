"""Where a credential comes from, in one spelling for file, environment and options.

    pass                                 the client's own goes on
    authorization=env:OPENAI_API_KEY     a key in a variable of the environment
    api-key=file:/run/secrets/azure      a key in a file, which may be rotated
    entra                                Microsoft Entra ID, for the usual scope
    entra=https://ai.azure.com/.default  the same, for another

A key itself never stands in any of them, so none of them is a secret.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec

from imagegate.upstream.credentials import Header

SPELLINGS = (
    "`pass`, `authorization=env:NAME`, `authorization=file:PATH`, `api-key=env:NAME`, "
    "`api-key=file:PATH` or `entra`"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SCOPE = re.compile(r"https://[A-Za-z0-9.-]+(?:/[A-Za-z0-9._-]*)*/\.default")


class Pass(msgspec.Struct, frozen=True, tag="pass"):
    """The client's own credential goes on."""


class FromEnvironment(msgspec.Struct, frozen=True, tag="env"):
    """A key in a variable of the environment, read when the gateway starts."""

    header: Header
    name: str


class FromFile(msgspec.Struct, frozen=True, tag="file"):
    """A key in a file, read again when it changes."""

    header: Header
    file: Path


class FromEntra(msgspec.Struct, frozen=True, tag="entra"):
    """A token of Entra ID; without a scope, the one that fits the upstream."""

    scope: str = ""


CredentialSource = Pass | FromEnvironment | FromFile | FromEntra


def read_credential(text: str) -> CredentialSource:
    """Read a credential's source.

    Raises:
        ValueError: Without the text in it: somebody may have written the key.
    """
    head, _, rest = text.partition("=")
    kind, _, where = rest.partition(":")
    if text == "pass":
        return Pass()
    if head == "entra" and (not rest or _SCOPE.fullmatch(rest)):
        return FromEntra(rest)
    for header in get_args(Header):
        if head == header and kind == "env" and _NAME.fullmatch(where):
            return FromEnvironment(header, where)
        if head == header and kind == "file" and where:
            return FromFile(header, Path(where))
    raise ValueError(
        f"a credential is written {SPELLINGS}; the key itself stands in a variable or "
        "a file, never here"
    )


def spell_credential(source: CredentialSource) -> str:
    """Write a credential's source as it is read."""
    match source:
        case Pass():
            return "pass"
        case FromEnvironment(header, name):
            return f"{header}=env:{name}"
        case FromFile(header, file):
            return f"{header}=file:{file}"
        case _:
            return f"entra={source.scope}" if source.scope else "entra"
