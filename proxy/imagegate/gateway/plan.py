"""What a gateway is started from, and what can be replaced of it while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from imagegate import shipped
from imagegate.engine.gate import Gate
from imagegate.engine.prices import read_prices
from imagegate.gates import Gates
from imagegate.gates.reading import read_pair
from imagegate.gates.watch import News
from imagegate.identity import KeyRing
from imagegate.identity.apikey import load_keys
from imagegate.settings import Settings
from imagegate.settings.checks import read_hash_key

POLICY: Final = "policy"
CANDIDATE: Final = "candidate"
PRICES: Final = "prices"
KEYS: Final = "keys"
LIVE: Final = (POLICY, CANDIDATE, PRICES, KEYS)
"""What can be replaced, by the names that are told."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What workers are started from: all of them enforce the same policy.

    Attributes:
        settings: The settings; fixed for as long as the gateway runs.
        news: What the files that may change said when they were checked.
    """

    settings: Settings
    news: News


def encode(part: Settings | News) -> bytes:
    """Write a part of a plan as one line, for a pipe that nobody else reads."""
    return msgspec.json.encode(part, enc_hook=str)


def decode_settings(line: bytes) -> Settings:
    """Read the settings of a plan."""
    return msgspec.json.decode(line, type=Settings, dec_hook=_path)


def decode_news(line: bytes) -> News:
    """Read what is to be put in force."""
    return msgspec.json.decode(line, type=News)


def _path(kind: type, value: Any) -> Any:  # noqa: ANN401 - msgspec's hook
    return kind(value) if issubclass(kind, Path) else value


def policy_files(settings: Settings) -> dict[str, Path]:
    """Return the files of the policies that are named, by what they are for."""
    named = {POLICY: settings.policy, CANDIDATE: settings.candidate}
    return {role: shipped.find_policy(name) for role, name in named.items() if name}


class Live:
    """What of a gateway can be replaced while it runs.

    Attributes:
        gates: What requests are judged by.
        keys: By what it is found out who asks, where that is asked.
    """

    def __init__(self, plan: Plan) -> None:
        """Lay out what a plan says.

        Raises:
            PolicyError: When a policy cannot be used.
            KeysError: When the keys cannot.
        """
        settings = plan.settings
        key = settings.audit.hash_key
        self._files = policy_files(settings)
        self._hash_key = read_hash_key(key) if key else b""
        self._texts = plan.news.texts
        acting, candidate = self._laid_out(self._texts)
        self.gates = Gates(acting, candidate=candidate)
        self.gates.stale = plan.news.stale
        given = self._texts.get(KEYS)
        self.keys = None if given is None else KeyRing(load_keys(given))

    def apply(self, news: News) -> bool:
        """Put news in force; from any thread. Tell whether anything holds anew.

        Raises:
            PolicyError: When a policy cannot be used; then all is as before.
            KeysError: When the keys cannot.
        """
        changed = {name for name in LIVE if self._has_another(name, news)}
        if KEYS in changed and self.keys is not None:
            self.keys.swap(load_keys(news.texts[KEYS]))
        if changed - {KEYS}:
            acting, candidate = self._laid_out(news.texts)
            self.gates.replace(acting, candidate=candidate)
        self._texts = news.texts
        self.gates.stale = news.stale
        return bool(changed)

    def _has_another(self, name: str, news: News) -> bool:
        return news.texts.get(name) != self._texts.get(name)

    def _laid_out(self, texts: Mapping[str, bytes]) -> tuple[Gate, Gate | None]:
        """Lay the policies out, with what their records need."""
        table, prices = texts.get(PRICES), None
        if table is not None:
            prices = read_prices(table, catalogue=shipped.catalogue())
        return read_pair(self._files, texts, hash_key=self._hash_key, prices=prices)
