"""Whose API a path belongs to, and in what they differ."""

from __future__ import annotations

import re

import msgspec


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One family of paths."""

    name: str
    base: str
    azure: bool
    needs_api_version: bool = False
    credentials: tuple[str, ...] = ("authorization", "api-key")


# The classic family comes last: its base is the beginning of the other one's.
DIALECTS = (
    Dialect(name="openai", base=r"/v1", azure=False, credentials=("authorization",)),
    Dialect(name="foundry", base=r"/api/projects/[^/]+/openai/v1", azure=True),
    Dialect(name="azure-v1", base=r"/openai/v1", azure=True),
    Dialect(
        name="azure-classic",
        base=r"/openai(?:/deployments/(?P<deployment>[^/]+))?",
        azure=True,
        needs_api_version=True,
    ),
)

_BASES = [
    (re.compile(f"{dialect.base}(?P<route>/.*)"), dialect) for dialect in DIALECTS
]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A path, taken apart."""

    dialect: Dialect
    route: str
    deployment: str | None = None


def place_of(path: str) -> Place:
    """Return where a path leads; what is nobody's path is answered as OpenAI does."""
    for base, dialect in _BASES:
        if found := base.fullmatch(path):
            groups = found.groupdict()
            return Place(
                dialect=dialect,
                route=groups["route"],
                deployment=groups.get("deployment"),
            )
    return Place(dialect=DIALECTS[0], route="")
