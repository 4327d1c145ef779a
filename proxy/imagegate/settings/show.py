"""Writing the effective settings, each with where it comes from.

What is written is a configuration file itself, and reads back as the same settings.
No secret is in it: settings only name where secrets are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from imagegate.settings.credential import spell_credential
from imagegate.settings.keys import keys
from imagegate.settings.model import Settings

_COLUMN = 48


def show(settings: Settings, origins: Mapping[str, str]) -> str:
    """Write settings as TOML."""
    return "".join(f"{line}\n".lstrip(" ") for line in _lines(settings, origins))


def _lines(settings: Settings, origins: Mapping[str, str]) -> Iterator[str]:
    for name in ("policy", "candidate"):
        yield _line(name, attrgetter(name)(settings), origins[name])
    for name, upstream in settings.upstreams.items():
        path = f"upstreams.{name}"
        said = msgspec.structs.asdict(upstream)
        said["credential"] = spell_credential(upstream.credential)
        yield f"\n[{path}]"
        for key, value in said.items():
            yield _line(key, value, origins[f"{path}.{key}"])
    section = ""
    for path in keys():
        above, dot, name = path.rpartition(".")
        if not dot:
            continue
        if above != section:
            section = above
            yield f"\n[{section}]"
        yield _line(name, attrgetter(path)(settings), origins[path])


def _line(name: str, value: Any, origin: str) -> str:  # noqa: ANN401 - of TOML
    said = f"# {name} is not set" if value is None else f"{name} = {_toml(value)}"
    return f"{said:<{_COLUMN}}  # {origin}"


def _toml(value: object) -> str:
    # JSON's texts are TOML's, but for pairs of surrogates; a path is a text.
    plain = str(value) if isinstance(value, Path) else value
    return json.dumps(plain, ensure_ascii=False)
