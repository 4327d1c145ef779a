"""`imagegate keys add`, `revoke` and `rotate`."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from imagegate.cli.exits import Exit
from imagegate.cli.screen import complain, console, write
from imagegate.identity import Key, Keys, KeysError
from imagegate.identity.apikey import faults
from imagegate.identity.keyfile import BusyError, change_keys
from imagegate.identity.secret import Secret, mint

_SPAN: Final = re.compile(r"(?P<number>[0-9]{1,5})(?P<unit>[smhdw])")
_UNITS: Final = {
    "s": "seconds",
    "m": "minutes",
    "h": "hours",
    "d": "days",
    "w": "weeks",
}


class WrongError(Exception):
    """What was asked for cannot be done; one line says why."""


def add(
    file: Path,
    *,
    name: str,
    team: Sequence[str],
    attributes: Sequence[str],
    expires: str | None,
) -> Exit:
    """Add a key, and print it."""
    now, secret = _now(), mint()

    def change(keys: Keys) -> Keys:
        if any(key.state(now) == "active" for key in keys.named(name)):
            raise WrongError(
                f"{name} has a key already: `imagegate keys rotate {name}` gives the "
                "next one, or choose another name"
            )
        key = Key(
            id=secret.id,
            name=name,
            team=tuple(team),
            attributes=_attributes(attributes),
            hash=secret.hash(keys.hash_key).hex(),
            last4=secret.last4,
            created=now,
            expires=_end(expires, now),
        )
        wrong = faults(key)
        if wrong:
            raise WrongError("; ".join(wrong))
        return Keys(keys.hash_key, [*keys.all, key])

    return _changed(file, change) or _handed_over(secret)


def revoke(file: Path, which: str) -> Exit:
    """Revoke the key with an id, or all keys of a name."""
    now = _now()

    def change(keys: Keys) -> Keys:
        meant = [key for key in _meant(keys, which) if key.revoked is None]
        if not meant:
            raise WrongError(f"{which} is revoked already")
        return _replaced(keys, meant, lambda key: _but(key, revoked=now))

    return _changed(file, change)


def rotate(file: Path, which: str, *, overlap: str, expires: str | None) -> Exit:
    """Add the next key of a name, end the old ones, and print the new one."""
    now, secret = _now(), mint()

    def change(keys: Keys) -> Keys:
        old = [key for key in _meant(keys, which) if key.state(now) == "active"]
        if not old:
            raise WrongError(f"{which} has no key that holds: `imagegate keys add`")
        until, last = now + _span(overlap), old[-1]
        keys = _replaced(
            keys, old, lambda key: _but(key, expires=min(key.expires or until, until))
        )
        following = _but(
            last,
            id=secret.id,
            hash=secret.hash(keys.hash_key).hex(),
            last4=secret.last4,
            created=now,
            expires=_end(expires, now) if expires else _as_long_as(last, now),
        )
        return Keys(keys.hash_key, [*keys.all, following])

    return _changed(file, change) or _handed_over(secret)


def _but(key: Key, **changes: object) -> Key:
    return msgspec.structs.replace(key, **changes)


def _replaced(keys: Keys, some: Sequence[Key], by: Callable[[Key], Key]) -> Keys:
    return Keys(keys.hash_key, [by(key) if key in some else key for key in keys.all])


def _meant(keys: Keys, which: str) -> Sequence[Key]:
    found = keys.named(which)
    if not found:
        raise WrongError(f"there is no key with the name or the id {which}")
    return found


def _changed(file: Path, change: Callable[[Keys], Keys]) -> Exit:
    """Change the file; say what is wrong if it cannot be."""
    try:
        change_keys(file, change)
    except WrongError as error:
        complain(str(error))
    except KeysError as error:
        for problem in error.problems:
            complain(f"{file}: {problem}")
    except BusyError as error:
        complain(str(error))
    except OSError as error:
        complain(f"{file} cannot be changed: {error.strerror}")
    else:
        return Exit.FINE
    return Exit.USAGE


def _handed_over(secret: Secret) -> Exit:
    """Print a key alone on standard output, so that a script can take it."""
    console(stderr=True).print(
        "This is the key; it is not shown again, and only its hash is kept:",
        soft_wrap=True,
    )
    write(f"{secret.text}\n")
    return Exit.FINE


def _now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC).replace(microsecond=0)


def _attributes(said: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for each in said:
        name, is_given, value = each.partition("=")
        if not is_given:
            raise WrongError(f"--attribute {each!r}: write NAME=VALUE")
        found[name] = (*found.get(name, ()), value)
    return found


def _end(said: str | None, now: datetime.datetime) -> datetime.datetime | None:
    """Read when a key ends: after a span, or with the beginning of a day in UTC."""
    if said is None:
        return None
    try:
        day = datetime.date.fromisoformat(said)
    except ValueError:
        end = now + _span(said, besides=", or a date such as 2027-01-31")
    else:
        midnight = datetime.time(tzinfo=datetime.UTC)
        end = datetime.datetime.combine(day, midnight)
    if end <= now:
        raise WrongError(f"{said!r} is over already")
    return end


def _as_long_as(last: Key, now: datetime.datetime) -> datetime.datetime | None:
    """Say when a key ends that lives as long as one before; as some do, never."""
    if last.expires is None:
        return None
    try:
        return now + (last.expires - last.created)
    except OverflowError:
        return last.expires


def _span(text: str, besides: str = "") -> datetime.timedelta:
    found = _SPAN.fullmatch("0s" if text == "0" else text)
    if not found:
        raise WrongError(f"{text!r}: write a span such as 30m, 24h or 90d{besides}")
    return datetime.timedelta(**{_UNITS[found["unit"]]: int(found["number"])})
