"""Which path is judged: the one below any mount point, as it was spelled.

Servers and frameworks agree on little here. uvicorn puts `--root-path` in front of
`path` and `raw_path`; Starlette's mounts leave both whole and only lengthen
`root_path`; older ones shorten `path` alone; `FastAPI(root_path=…)` names a prefix
that a proxy has already taken away; test clients leave `raw_path` out. And
`root_path` is decoded where `raw_path` is not.

What is judged is what the inner application will see. Where it could see another
path, because `path` and `raw_path` tell two stories, it is told the judged one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from starlette.types import Scope

_MAX_PATHS: Final = 256
"""How many are remembered: most clients ask for one and the same."""
_MAX_LENGTH: Final = 512


class Spelt(NamedTuple):
    """What a scope says of the path; requests to one place all say the same.

    Attributes:
        path: Decoded.
        raw: As it came; empty if the server does not say.
        root: The mount.
        gone: What was taken away before.
    """

    path: str
    raw: bytes
    root: str
    gone: str


def judged_path(scope: Scope) -> str:
    """Return the path below the mount point, undecoded where that is known."""
    spelt = _spelt(scope)
    short = len(spelt.path) + len(spelt.raw) <= _MAX_LENGTH
    return _remembered(spelt) if short else _judged(spelt)


def retold(scope: Scope, below: str) -> Scope:
    """Return a scope of its own, in which each spelling of the path is the judged one.

    Args:
        scope: As the server, or the framework around, made it.
        below: The path of a door, which has no escapes in it.
    """
    spelt = _spelt(scope)
    if spelt.path == below and not spelt.root and spelt.raw == below.encode():
        return dict(scope)  # the others come to the same, the long way
    path, root = spelt.path, spelt.root
    spellings = _spellings(spelt)
    stripped = _strip(path, root)
    routed = path if stripped is None else stripped
    if routed == below and (not spellings or below in spellings):
        return dict(scope)
    raw = quote(root).encode() + below.encode()
    return {**scope, "path": root + below, "raw_path": raw}


def readings(scope: Scope) -> frozenset[str]:
    """Return every path that some application reads out of a scope.

    Sanic and BlackSheep read the raw one, Falcon and Sanic leave the mount on, and
    some put it before.
    """
    spelt = _spelt(scope)
    raw = [each.partition("?")[0] for each in _spellings(spelt)]
    told = [spelt.path, _below(spelt), *raw]
    return frozenset([*told, *(spelt.root + each for each in told)])


def _spelt(scope: Scope) -> Spelt:
    raw: bytes = scope.get("raw_path") or b""
    root, gone = scope.get("root_path", ""), scope.get("app_root_path", "")
    return Spelt(scope["path"], raw, root, gone)


def _judged(spelt: Spelt) -> str:
    below = _below(spelt)
    return next((raw for raw in _spellings(spelt) if unquote(raw) == below), below)


_remembered = lru_cache(_MAX_PATHS)(_judged)


def _below(spelt: Spelt) -> str:
    found = (_strip(spelt.path, root) for root in _roots(spelt))
    return next((below for below in found if below is not None), spelt.path)


def _roots(spelt: Spelt) -> Iterator[str]:
    """Yield what may stand before the path: the mount, or what is left of it.

    With `FastAPI(root_path=…)` the path lost the prefix before it came here.
    """
    root, gone = spelt.root, spelt.gone
    yield root
    if gone and root.startswith(gone):
        yield root[len(gone) :]


def _strip(path: str, root: str) -> str | None:
    """Take a prefix away exactly where Starlette does; None where it does not."""
    below = path.removeprefix(root)
    if not root:
        return path
    return below if path.startswith(root) and below[:1] in {"", "/"} else None


def _spellings(spelt: Spelt) -> list[str]:
    """Return what of the raw path may spell the path below: all, or less a root."""
    raw = spelt.raw.decode("latin-1")
    found = [raw] if raw else []
    for root in filter(None, _roots(spelt)):
        at = -1
        # An escaped slash can only make fewer plain ones.
        for _ in range(root.count("/") + 1):
            at = raw.find("/", at + 1)
            if at > 0 and unquote(raw[:at]) == root:
                found.append(raw[at:])
    return found
