"""A policy by its name or its path, checked and laid out, ready to hold requests."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path

from imagegate import shipped
from imagegate.engine.gate import Gate
from imagegate.engine.prices import Prices
from imagegate.named_file import read_named
from imagegate.policyfile import MAX_BYTES, load_policy


def load_gate(policy: str | Path) -> Gate:
    """Load a policy: a file, a folder with a `policy.yaml`, or one that ships.

    Raises:
        OSError: When there is no such file.
        PolicyError: When it cannot be used, with everything that is wrong with it.
    """
    file = shipped.find_policy(str(policy))
    return read_gate(read_named(file, MAX_BYTES + 1), file=str(file))


def read_gate(
    data: bytes, *, file: str, hash_key: bytes = b"", prices: Prices | None = None
) -> Gate:
    """Lay out what a policy file says.

    Args:
        data: The file.
        file: Its name, for what is wrong with it.
        hash_key: Lets equal secrets, prompts and users be found in records, unseen.
        prices: For estimates of what images cost; those that ship unless others are
            given.

    Raises:
        PolicyError: When it cannot be used.
    """
    catalogue = shipped.catalogue()
    today = datetime.datetime.now(tz=datetime.UTC).date()
    policy = load_policy(data, file=file, catalogue=catalogue, today=today)
    prices = prices or shipped.prices()
    return Gate(policy, catalogue, hash_key=hash_key, prices=prices)


def read_pair(
    files: Mapping[str, Path],
    texts: Mapping[str, bytes],
    *,
    hash_key: bytes,
    prices: Prices | None,
) -> tuple[Gate, Gate | None]:
    """Lay out `policy`, and `candidate` if there is one, as `read_gate` does."""
    made = {
        role: read_gate(texts[role], file=str(file), hash_key=hash_key, prices=prices)
        for role, file in files.items()
    }
    return made["policy"], made.get("candidate")
