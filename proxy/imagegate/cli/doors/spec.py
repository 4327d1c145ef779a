"""Carriers in an OpenAPI document: where in a described request the tool can stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import typer
import yaml

from imagegate.cli.doors.carriers import Carrier
from imagegate.cli.exits import Exit
from imagegate.cli.screen import complain

_TOOL: Final = "image_generation"
_IMAGE: Final = {"prompt", "quality", "size"}
_METHODS: Final = ("get", "put", "post", "delete", "patch")
_DEEPEST: Final = 14
_NESTED: Final = 200  # levels of a document; the C loader crashes at some thousands
_Schema = Mapping[str, Any]


def read_spec(file: Path) -> _Schema:
    """Read an OpenAPI document, JSON or YAML.

    Raises:
        typer.Exit: When it is none.
    """
    try:
        found = _loaded(file.read_bytes())
    except OSError as error:
        complain(f"cannot read {str(file)!r}: {error.strerror}")
        raise typer.Exit(Exit.USAGE) from None
    except yaml.YAMLError as error:
        reason = str(error).partition("\n")[0]
        complain(f"{file} is no OpenAPI document: {reason}")
        raise typer.Exit(Exit.USAGE) from None
    if not isinstance(found, dict) or not isinstance(found.get("paths"), dict):
        complain(f"{file} is no OpenAPI document: it has no `paths`")
        raise typer.Exit(Exit.USAGE)
    return found


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _loaded(data: bytes) -> object:
    depth = 0
    for event in yaml.parse(data, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _NESTED:
            raise yaml.YAMLError(f"nested deeper than {_NESTED} levels")
    return yaml.load(data, _Loader)  # noqa: S506 - a SafeLoader


def carriers_in(spec: _Schema) -> list[Carrier]:
    """List the places of a document that can carry the tool."""
    return sorted(set(_carriers(spec)))


def _carriers(spec: _Schema) -> Iterator[Carrier]:
    base = _base(spec)
    for route, operations in spec["paths"].items():
        path = base + re.sub(r"\{[^}]*\}", "x", str(route).partition("?")[0])
        for method in _METHODS:
            operation = _resolved(spec, _mapping(operations).get(method))
            body = _resolved(spec, operation.get("requestBody"))
            for media in _mapping(body.get("content")).values():
                schema = _mapping(media).get("schema")
                for pointer in _walk(spec, schema, "", ()):
                    yield Carrier(method.upper(), path, pointer)


def _base(spec: _Schema) -> str:
    """Return the path that all routes are below."""
    servers = spec.get("servers") or [{}]
    url = str(_mapping(servers[0]).get("url", ""))
    return re.sub(r"\A(?:\w+://[^/]*|\{[^}]*\})", "", url).rstrip("/")


def _walk(
    spec: _Schema, schema: object, pointer: str, above: tuple[int, ...]
) -> Iterator[str]:
    """Yield the pointers at which the tool can stand in a schema."""
    found = _resolved(spec, schema)
    if id(found) in above or len(above) > _DEEPEST:
        return
    inside = (*above, id(found))
    members = _mapping(found.get("properties"))
    if _TOOL in _words(_resolved(spec, members.get("type"))):
        yield pointer
    if not pointer and set(members) >= _IMAGE:
        yield pointer
    for name, member in members.items():
        yield from _walk(spec, member, f"{pointer}/{name}", inside)
    if "items" in found:
        yield from _walk(spec, found["items"], f"{pointer}/*", inside)
    for union in ("anyOf", "oneOf", "allOf"):
        for each in found.get(union) or ():
            yield from _walk(spec, each, pointer, inside)


def _words(schema: _Schema) -> tuple[object, ...]:
    return (*(schema.get("enum") or ()), schema.get("const"))


def _resolved(spec: _Schema, schema: object) -> _Schema:
    """Follow references within the document."""
    found = _mapping(schema)
    for _ in range(_DEEPEST):
        reference = found.get("$ref")
        if not isinstance(reference, str):
            break
        target: object = spec
        for step in reference.removeprefix("#/").split("/"):
            target = _mapping(target).get(step.replace("~1", "/").replace("~0", "~"))
        found = _mapping(target)
    return found


def _mapping(value: object) -> _Schema:
    return value if isinstance(value, dict) else {}
