"""From the claims of a token that is proved to who asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from imagegate.engine.policy import Principal
from imagegate.identity.labels import MOST_VALUES, is_label
from imagegate.identity.refusals import wrong_token

_SPACED: Final = frozenset({"scope", "scp"})
"""Lists that are written as one text, with spaces between: RFC 8693, section 4.2."""


def principal_of(
    claims: Mapping[str, Any],
    *,
    user: str,
    attributes: Mapping[str, str],
    source: str,
    proof: str,
) -> Principal:
    """Return who asks.

    Args:
        claims: Of the token.
        user: The claim that names who asks.
        attributes: The other claims that count, by the attributes they become.
        source: How this is known.
        proof: By whom.

    Raises:
        MalformedRequest: When nobody is named, or a claim is not what it should be.
    """
    named = values_of(claims, user)
    if len(named) != 1:
        raise wrong_token(f"does not name one `{user}`")
    found = {name: values_of(claims, claim) for name, claim in attributes.items()}
    return Principal(
        id=named[0],
        attributes={
            "user": named,
            **{name: values for name, values in found.items() if values},
        },
        verified=True,
        source=source,
        proof=proof,
    )


def values_of(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return what a claim lists.

    Raises:
        MalformedRequest: For what is neither a text, a number nor a list of them; and
            for a list that the provider left out because it is too long, for teams
            that bind may be in it.
    """
    elsewhere = claims.get("_claim_names")
    left_out = isinstance(elsewhere, dict) and name in elsewhere
    if left_out or (name == "groups" and claims.get("hasgroups")):
        raise wrong_token(f"has too many `{name}` to list them")
    found = _find(claims, name)
    if found is None:
        return ()
    if name in _SPACED and isinstance(found, str):
        found = found.split()
    values = found if isinstance(found, list) else [found]
    if len(values) > MOST_VALUES:
        raise wrong_token(f"has more than {MOST_VALUES} `{name}`")
    return tuple(_spelled(each, name) for each in values)


def _find(claims: Mapping[str, Any], name: str) -> object:
    """Find a claim; a name with dots may be a path, as in `realm_access.roles`."""
    if name in claims:
        return claims[name]
    found: object = claims
    for step in name.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _spelled(value: object, name: str) -> str:
    text = ""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str | int):
        text = str(value)
    if not is_label(text):
        raise wrong_token(f"has a `{name}` that is no name")
    return text
