"""Where the files are that workers share for as long as they run."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from imagegate.gateway.assemble import CannotServeError

NOWHERE = (
    "let them write to /tmp, name another folder as TMPDIR, or serve with one worker"
)


@contextlib.contextmanager
def shared_folder(content: str) -> Iterator[Path]:
    """Have a folder that ends with the gateway.

    Raises:
        CannotServeError: When there is no place for one.
    """
    try:
        # What cannot be removed in the end is no reason for another exit code.
        folder = tempfile.TemporaryDirectory(
            prefix=f"imagegate-{content}-", ignore_cleanup_errors=True
        )
    except OSError as error:
        raise CannotServeError(
            f"workers share files, and there is no place for them: {error.strerror}; "
            f"{NOWHERE}"
        ) from None
    with folder as name:
        yield Path(name)
