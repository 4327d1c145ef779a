"""Files that the gateway's user must get to, where somebody else looks at them."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Final

from imagegate.doctor.finding import Finding
from imagegate.gateway.plan import policy_files
from imagegate.settings import Settings
from imagegate.settings.credential import FromFile
from imagegate.settings.keys import keys

AREA: Final = "files"
_MOST: Final = 8


def examine_files(settings: Settings) -> Iterator[Finding]:
    """Name what not everybody may read, when root asks: root may read all of it."""
    if os.geteuid() != 0:
        return
    closed = [told for file in _named(settings) if (told := _closed(file))]
    if not closed:
        return
    more = f", and {len(closed) - _MOST} more" if len(closed) > _MOST else ""
    yield Finding(
        weight="advice",
        area=AREA,
        found="this was looked at as root, who may read everything; whether the "
        f"gateway's own user may is not known: {', '.join(closed[:_MOST])}{more}",
        better="look again as that user: runuser -u USER -- imagegate doctor …",
    )


def _named(settings: Settings) -> Iterator[Path]:
    yield from policy_files(settings).values()
    for key in keys().values():
        found = attrgetter(key.path)(settings)
        if isinstance(found, Path):
            yield found
    for upstream in settings.upstreams.values():
        if isinstance(upstream.credential, FromFile):
            yield upstream.credential.file


def _closed(file: Path) -> str:
    """Say whose a file is, unless everybody may read it, or it is not there."""
    try:
        found = file.stat()
    except OSError:
        return ""
    if found.st_mode & stat.S_IROTH:
        return ""
    owner = f"{_user(found.st_uid)}:{_group(found.st_gid)}"
    return f"{file} ({owner}, mode {stat.S_IMODE(found.st_mode):04o})"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
