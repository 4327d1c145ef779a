"""Whether anybody can be meant by the teams and exceptions of a policy.

A misspelt attribute, or a team that was renamed in one place only, is no mistake of the
file: only here is it known who can come.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Final

from imagegate.doctor.finding import Finding
from imagegate.engine.policy import Policy
from imagegate.identity.apikey import KeysError
from imagegate.identity.keyfile import read_keys
from imagegate.identity.options import IdentityOptions, read_pairs

AREA: Final = "policy"
Known = dict[str, set[str] | None]
"""The values of each attribute that can come; None where they are another's to say."""


def examine_matching(
    policy: Policy, identity: IdentityOptions, now: datetime.datetime
) -> Iterator[Finding]:
    """Name what the policy matches on and nobody has."""
    try:
        known = _known(identity, now)
    except (OSError, KeysError, ValueError):
        return  # the settings' own findings say so
    for name, match in _layers(policy, now.date()):
        for attribute, wanted in match.items():
            if attribute not in known:
                yield Finding(
                    weight="danger",
                    area=AREA,
                    found=f"`{name}` holds for nobody: nobody has `{attribute}`",
                    better=_better(known),
                )
            elif (values := known[attribute]) is not None and values.isdisjoint(wanted):
                said = " or ".join(f"{attribute}={value}" for value in wanted)
                yield Finding(
                    weight="advice",
                    area=AREA,
                    found=f"`{name}` holds for nobody yet: no key has {said}",
                    better="`imagegate keys list` shows what they have",
                )


def _layers(
    policy: Policy, today: datetime.date
) -> Iterator[tuple[str, Mapping[str, tuple[str, ...]]]]:
    for team in policy.teams:
        yield f"teams.{team.name}", team.match
    for item in policy.exceptions:
        if item.until >= today:
            yield f"exceptions.{item.id}", item.match


def _known(identity: IdentityOptions, now: datetime.datetime) -> Known:
    known: Known = {}
    if identity.keys.file is not None:
        for key in read_keys(identity.keys.file).all:
            if key.state(now) == "active":
                for name, values in key.principal.attributes.items():
                    known[name] = {*(known.get(name) or ()), *values}
    others = (
        (identity.headers.attributes, bool(identity.headers.peers)),
        (identity.jwt.attributes, identity.jwt.issuer is not None),
    )
    for said, chosen in others:
        if chosen:
            known |= dict.fromkeys(("user", "team", *read_pairs(said)))
    return known


def _better(known: Known) -> str:
    if not known:
        return (
            "let somebody say who asks: `--keys`, `identity.jwt` or `identity.headers`"
        )
    listed = ", ".join(f"`{name}`" for name in sorted(known))
    return f"match on what there is ({listed}), or give it to keys or `identity`"
