"""The keys of our own that a file lists: hashes, and whose they are.

A file has one JSON object a line. The first says what it is, and with what the keys are
hashed; each other one is a key:

    {"imagegate_keys":1,"hash_key":"6b1f…"}
    {"id":"k3v9…","name":"ci","team":["design"],"attributes":{},"hash":"91aa…",
     "last4":"x7Qd","created":"2026-11-21T09:00:00Z","expires":null,"revoked":null}

Nothing here touches a file, or asks what time it is.
"""

from __future__ import annotations

import datetime
import hmac
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal

import msgspec

from imagegate.engine.policy import Principal
from imagegate.identity.labels import LONGEST, is_label
from imagegate.identity.secret import HASH_KEY_BYTES, Secret

State = Literal["active", "expired", "revoked"]
Moment = Annotated[datetime.datetime, msgspec.Meta(tz=True)]

_NOBODYS: Final = bytes(32)
"""Compared where there is no key, so that an unknown id takes as long as another."""
_RESERVED: Final = frozenset({"key", "team"})


class KeysError(Exception):
    """A file of keys cannot be used.

    Attributes:
        problems: Everything that is wrong with it, each with its line.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of one key.

    Attributes:
        id: By which it is looked up.
        name: Who has it; the next key of the same owner has the same name.
        team: The teams that policies match on.
        attributes: What else they match on.
        hash: Of its text, keyed, in hex.
        last4: The end of its text, for its owner to recognise it.
        created: When it was made.
        expires: From when on it is refused.
        revoked: Since when it is refused, whatever else holds.
    """

    id: Annotated[str, msgspec.Meta(pattern="^[a-z0-9]{12}$")]
    name: str
    team: tuple[str, ...] = ()
    attributes: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    hash: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    last4: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9]{4}$")]
    created: Moment
    expires: Moment | None = None
    revoked: Moment | None = None

    def state(self, now: datetime.datetime) -> State:
        """Tell whether it is taken."""
        if self.revoked is not None:
            return "revoked"
        expired = self.expires is not None and self.expires <= now
        return "expired" if expired else "active"

    @property
    def principal(self) -> Principal:
        """Who asks with it."""
        said = {**self.attributes, "key": (self.name,)}
        if self.team:
            said["team"] = self.team
        return Principal(
            id=self.name,
            attributes=said,
            verified=True,
            source="key",
            proof=f"key {self.id}",
        )


class Keys:
    """The keys of a file, as it was at one moment; never written to.

    Attributes:
        hash_key: With what they are hashed.
        all: The keys, in the order in which they were added.
    """

    def __init__(self, hash_key: bytes, keys: Iterable[Key] = ()) -> None:
        self.hash_key = hash_key
        self.all = tuple(keys)
        self._by_id = {
            key.id: (key, bytes.fromhex(key.hash), key.principal) for key in self.all
        }

    def __repr__(self) -> str:
        """Count them: what they are hashed with is nobody's business."""
        return f"<{len(self.all)} keys>"

    def __eq__(self, other: object) -> bool:
        """Compare what the files say."""
        if not isinstance(other, Keys):
            return NotImplemented
        return (self.hash_key, self.all) == (other.hash_key, other.all)

    __hash__ = None  # type: ignore[assignment] # nobody looks them up

    def find(self, secret: Secret) -> tuple[Key, Principal] | None:
        """Return the key with this text, and whose it is; None when there is none."""
        found = self._by_id.get(secret.id)
        kept = _NOBODYS if found is None else found[1]
        same = hmac.compare_digest(secret.hash(self.hash_key), kept)
        return (found[0], found[2]) if same and found is not None else None

    def named(self, name: str) -> tuple[Key, ...]:
        """Return the keys with an id or of a name."""
        return tuple(key for key in self.all if name in {key.id, key.name})


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    imagegate_keys: Literal[1]
    hash_key: str


def load_keys(data: bytes) -> Keys:
    """Read a file of keys.

    Raises:
        KeysError: With all that is wrong.
    """
    head, *lines = data.split(b"\n")
    problems: list[str] = []
    hash_key = b""
    try:
        hash_key = bytes.fromhex(msgspec.json.decode(head, type=_Head).hash_key)
    except (ValueError, RecursionError):
        problems.append('line 1: expected {"imagegate_keys": 1, "hash_key": "…"}')
    if not problems and len(hash_key) < HASH_KEY_BYTES:
        problems.append(f"line 1: `hash_key` has fewer than {HASH_KEY_BYTES} bytes")
    keys: dict[str, Key] = {}
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        key = _read(line, number, problems)
        if key is not None and key.id in keys:
            problems.append(f"line {number}: the id {key.id} stands here twice")
        elif key is not None:
            keys[key.id] = key
    if problems:
        raise KeysError(problems)
    return Keys(hash_key, keys.values())


def _read(line: bytes, number: int, problems: list[str]) -> Key | None:
    try:
        key = msgspec.json.decode(line, type=Key)
    except (ValueError, RecursionError) as error:
        problems.append(f"line {number}: {error}")
        return None
    wrong = faults(key)
    problems += [f"line {number}: {each}" for each in wrong]
    return None if wrong else key


def faults(key: Key) -> list[str]:
    """Say what cannot be a key's: names that records or policies could not hold."""
    texts = [("name", key.name), *(("team", each) for each in key.team)]
    for name, values in key.attributes.items():
        texts += [("attribute", name), *((name, value) for value in values)]
    wrong = [
        f"`{what}` is empty, over {LONGEST} characters, or cannot be printed"
        for what, text in texts
        if not is_label(text)
    ]
    taken = _RESERVED & key.attributes.keys()
    return wrong + [f"`{each}` is no attribute of its own" for each in sorted(taken)]


def dump_keys(keys: Keys) -> bytes:
    """Write a file of keys."""
    head = _Head(1, keys.hash_key.hex())
    return b"".join(msgspec.json.encode(each) + b"\n" for each in (head, *keys.all))
