"""Keys that can be exchanged while requests are answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from imagegate import log
from imagegate.identity.apikey import Keys, KeysError
from imagegate.identity.keyfile import read_keys
from imagegate.named_file import writing_of

LOOK_SECONDS: Final = 1.0
"""How often the file is looked at, and so how soon a revoked key is refused."""


class KeyRing:
    """Holds keys; whoever has other ones swaps them.

    Each request takes them once, and so is held against one version.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def keys(self) -> Keys:
        """Return the keys that hold now."""
        return self._keys

    def swap(self, keys: Keys) -> None:
        """Let other keys hold from the next request on."""
        self._keys = keys


class KeyFile(KeyRing):
    """Holds the keys of a file, and looks once a second whether it has changed.

    A file that cannot be used leaves the keys as they are, and the log says so.
    """

    def __init__(
        self, file: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read the file.

        Args:
            file: The file of keys.
            clock: Says when to look again.

        Raises:
            OSError: When it cannot be read.
            KeysError: When it cannot be used.
        """
        self._file = file
        self._clock = clock
        self._looked = clock()
        self._told: str | None = None
        self._seen = writing_of(file)
        super().__init__(read_keys(file))

    async def keys(self) -> Keys:
        """Return the keys that the file holds now."""
        now = self._clock()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            await self._look()
        return self._keys

    async def _look(self) -> None:
        try:
            found = writing_of(self._file)
            if found is not None and found == self._seen:
                return
            keys = await asyncio.to_thread(read_keys, self._file)
        except (OSError, KeysError) as error:
            # What is wrong is told once for each writing of the file.
            self._tell(error)
            return
        self._seen, self._told = found, None
        if keys != self._keys:
            self.swap(keys)
            log.info("imagegate.keys_loaded", keys=len(keys.all))

    def _tell(self, error: OSError | KeysError) -> None:
        why = error.strerror if isinstance(error, OSError) else str(error)
        if why != self._told:
            log.error("imagegate.keys_not_loaded", file=str(self._file), problem=why)
        self._told = why
