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
from urllib.parse import quote, unquote

from starlette.types import Scope


def judged_path(scope: Scope) -> str:
    """Return the path below the mount point, undecoded where that is known."""
    below = _below(scope)
    return next((raw for raw in _spellings(scope) if unquote(raw) == below), below)


def retold(scope: Scope, below: str) -> Scope:
    """Return a scope of its own, in which each spelling of the path is the judged one.

    Args:
        scope: As the server, or the framework around, made it.
        below: The path of a door, which has no escapes in it.
    """
    path, root = scope["path"], scope.get("root_path", "")
    spellings = _spellings(scope)
    stripped = _strip(path, root)
    routed = path if stripped is None else stripped
    if routed == below and (not spellings or below in spellings):
        return dict(scope)
    raw = quote(root).encode() + below.encode()
    return {**scope, "path": root + below, "raw_path": raw}


def _below(scope: Scope) -> str:
    path: str = scope["path"]
    found = (_strip(path, root) for root in _roots(scope))
    return next((below for below in found if below is not None), path)


def _roots(scope: Scope) -> Iterator[str]:
    """Yield what may stand before the path: the mount, or what is left of it.

    With `FastAPI(root_path=…)` the path lost the prefix before it came here.
    """
    root, gone = scope.get("root_path", ""), scope.get("app_root_path", "")
    yield root
    if gone and root.startswith(gone):
        yield root[len(gone) :]


def _strip(path: str, root: str) -> str | None:
    """Take a prefix away exactly where Starlette does; None where it does not."""
    below = path.removeprefix(root)
    if not root:
        return path
    return below if path.startswith(root) and below[:1] in {"", "/"} else None


def _spellings(scope: Scope) -> list[str]:
    """Return what of the raw path may spell the path below: all, or less a root."""
    raw = (scope.get("raw_path") or b"").decode("latin-1")
    found = [raw] if raw else []
    for root in filter(None, _roots(scope)):
        at = -1
        # An escaped slash can only make fewer plain ones.
        for _ in range(root.count("/") + 1):
            at = raw.find("/", at + 1)
            if at > 0 and unquote(raw[:at]) == root:
                found.append(raw[at:])
    return found
