"""Whether the text of a file can be put in force, said as `imagegate check` says it."""

from __future__ import annotations

import datetime
from pathlib import Path

from imagegate import shipped
from imagegate.engine.errors import PricesError
from imagegate.engine.policy import Policy, digest
from imagegate.engine.prices import read_prices
from imagegate.gates.watched import Source, Told, UnusableError
from imagegate.policyfile import check_policy


def policy_source(file: Path) -> Source:
    """Watch a policy file."""

    def check(text: bytes) -> Told:
        today = datetime.datetime.now(tz=datetime.UTC).date()
        found = check_policy(text, catalogue=shipped.catalogue(), today=today)
        policy = found.policy
        if policy is None:
            raise UnusableError(*(each.told(str(file)) for each in found.errors))
        return told_of(policy)

    return Source(file=file, check=check)


def prices_source(file: Path) -> Source:
    """Watch a price table."""

    def check(text: bytes) -> Told:
        try:
            table = read_prices(text, catalogue=shipped.catalogue())
        except PricesError as error:
            problems = (f"{file}: {problem}" for problem in error.problems)
            raise UnusableError(*problems) from None
        return {"prices": table.date}

    return Source(file=file, check=check)


def told_of(policy: Policy) -> Told:
    """Return what is told of a policy that can be put in force."""
    return {"policy": policy.name, "mode": policy.mode, "digest": digest(policy)}
