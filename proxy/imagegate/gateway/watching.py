"""What a gateway watches while it runs.

The files that it can take anew; and the file of its settings, which it cannot, so that
whoever changes them learns it before the next start does.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from imagegate import shipped
from imagegate.gates.checking import policy_source, prices_source
from imagegate.gates.watch import News, Watch
from imagegate.gates.watched import Observer, Source, Told, UnusableError
from imagegate.gateway.plan import KEYS, PRICES, Plan, policy_files
from imagegate.identity import KeysError
from imagegate.identity.apikey import load_keys
from imagegate.identity.keyfile import MOST_BYTES, why_open
from imagegate.settings import Reading, Settings

SETTINGS: Final = "settings"


class Reread(msgspec.Struct, frozen=True):
    """The file of the settings.

    Attributes:
        file: Where it is.
        read: Reads all settings as they were read at the start, of this text.
    """

    file: Path
    read: Callable[[bytes], Reading]


def watch(
    plan: Plan,
    on_news: Callable[[News], None],
    *,
    observer: Observer,
    bell: queue.SimpleQueue[None],
    reread: Reread | None = None,
) -> Watch:
    """Watch the files of a plan.

    Args:
        plan: What the gateway was started from.
        on_news: Puts what changed in force.
        observer: Is told of single files.
        bell: Whoever puts something into it asks for a look.
        reread: Reads the settings anew, where there is a file of them.
    """
    texts = dict(plan.news.texts)
    sources = dict(_sources(plan.settings))
    if reread is not None:
        check = _check(plan.settings, reread.read)
        sources[SETTINGS] = Source(file=reread.file, check=check, live=False)
        texts[SETTINGS] = b""  # what it said is in the settings
    return Watch(sources, texts, on_news, observer=observer, bell=bell)


def _sources(settings: Settings) -> Iterator[tuple[str, Source]]:
    """Yield what can be taken anew; what ships changes with the program only."""
    ours = {folder / "policy.yaml" for folder in shipped.policies().values()}
    for role, file in policy_files(settings).items():
        if file not in ours and _is_lasting(file):
            yield role, policy_source(file)
    table = settings.audit.prices
    if table is not None and _is_lasting(table):
        yield PRICES, prices_source(table)
    keys = settings.identity.keys.file
    if keys is not None and _is_lasting(keys):
        yield KEYS, _keys_source(keys)


def _keys_source(file: Path) -> Source:
    """Watch the keys of our own; who else can write to them is looked at each time."""

    def check(text: bytes) -> Told:
        try:
            keys = load_keys(text)
        except KeysError as error:
            problems = (f"{file}: {each}" for each in error.problems)
            raise UnusableError(*problems) from None
        return {"keys": str(len(keys.all))}

    def admit(found: os.stat_result) -> str | None:
        why = why_open(found)
        return None if why is None else f"{file}: {why}"

    return Source(file=file, check=check, most=MOST_BYTES, admit=admit)


def _is_lasting(file: Path) -> bool:
    """Tell whether there is something to read again: a pipe is read once."""
    return file.is_file()


def _check(
    before: Settings, read: Callable[[bytes], Reading]
) -> Callable[[bytes], Told]:
    """Return what says which settings would be others after a restart."""

    def check(text: bytes) -> Told:
        reading = read(text)
        if reading.problems:
            said = (
                f"{x.origin}: error [{x.id}] {x.path}: {x.message}"
                for x in reading.problems
            )
            raise UnusableError(*said)
        changed = differing(before, reading.settings)
        return {"changed": ", ".join(changed)} if changed else {}

    return check


def differing(one: Settings, other: Settings) -> list[str]:
    """Name the settings in which two differ."""
    first, second = (
        dict(_flat(msgspec.to_builtins(each, enc_hook=str), ""))
        for each in (one, other)
    )
    return sorted(
        k for k in first.keys() | second.keys() if first.get(k) != second.get(k)
    )


def _flat(tree: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
