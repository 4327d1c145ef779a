"""What ships with the program: catalogue, price table, policies to start from.

In a wheel the policies lie inside the package; in a checkout they are the
`policies` folder at its top. Both are found here, and nowhere else.
"""

from __future__ import annotations

import errno
import functools
import os
from pathlib import Path

from imagegate.engine.catalogue import Catalogue, read_catalogue
from imagegate.engine.prices import Prices, read_prices

_PACKAGE = Path(__file__).parent


@functools.cache
def catalogue() -> Catalogue:
    """Return the catalogue of this version."""
    return read_catalogue((_PACKAGE / "catalogue.toml").read_bytes())


@functools.cache
def prices() -> Prices:
    """Return the price table of this version."""
    data = (_PACKAGE / "prices.toml").read_bytes()
    return read_prices(data, catalogue=catalogue())


def policies() -> dict[str, Path]:
    """Return the folder of each policy that ships, by name."""
    return {
        file.parent.name: file.parent
        for file in sorted(_policies_folder().glob("*/policy.yaml"))
    }


def find_policy(name: str) -> Path:
    """Return the file of a policy: a path, or the name of one that ships.

    A name never means a file in the working directory; write `./standard` then.

    Raises:
        FileNotFoundError: For no name: a variable was not set, or is misspelt.
    """
    if not name:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    folder = policies().get(name)
    if folder is not None:
        return folder / "policy.yaml"
    path = Path(name)
    return path / "policy.yaml" if path.is_dir() else path


def _policies_folder() -> Path:
    installed = _PACKAGE / "policies"
    return installed if installed.is_dir() else _PACKAGE.parents[1] / "policies"
