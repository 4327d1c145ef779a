"""The certificate that clients see, taken anew when its files are others.

Certificates live for weeks, and nobody should have to stop for the next one. Whoever
connects from then on sees it; connections that are open keep theirs.
"""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path
from typing import Final, TypeAlias

from imagegate import log
from imagegate.server.listener import check_tls, in_words

EVERY: Final = 10
"""Of the server's ticks, a tenth of a second each."""
_State: TypeAlias = tuple[int, int, int]


class Renewal:
    """Watches the files of one listener.

    Args:
        context: What connections are made with.
        certificate: A PEM file.
        key: Its key.
    """

    def __init__(self, context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        self._context = context
        self._files = certificate, key
        self._judged = self._seen = self._state()

    def look(self) -> None:
        """Take what has changed, once it is at rest: two files change one by one."""
        found = self._state()
        if found == self._seen and found != self._judged:
            self._judged = found
            self._take()
        self._seen = found

    def _take(self) -> None:
        certificate, key = self._files
        try:
            if key.stat().st_mode & stat.S_IRWXO:
                why = f"{key} is open to every user of this machine"
            else:
                check_tls(certificate, key)
                self._context.load_cert_chain(certificate, key)
                log.info("imagegate.certificate_renewed", file=str(certificate))
                return
        except OSError as error:
            why = in_words(error)
        log.error(
            "imagegate.reload_failed",
            what="certificate",
            file=str(certificate),
            problems=[f"the one before is shown on: {why}"],
            problems_count=1,
        )

    def _state(self) -> tuple[_State | None, ...]:
        return tuple(map(_state_of, self._files))


def _state_of(file: Path) -> _State | None:
    """Tell files apart that were renamed over each other, or written anew."""
    try:
        found = os.stat(file)  # noqa: PTH116 - each second, and half the price
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
