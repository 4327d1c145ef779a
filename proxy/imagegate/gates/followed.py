"""A policy that follows its file, for applications that embed the middleware."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from imagegate import shipped
from imagegate.engine.gate import Gate
from imagegate.engine.prices import Prices
from imagegate.gates.checking import policy_source
from imagegate.gates.holder import Gates
from imagegate.gates.reading import read_pair
from imagegate.gates.watch import News, Watch
from imagegate.named_file import read_lasting
from imagegate.policyfile import MAX_BYTES


class Followed(Gates):
    """Holds the policy of a file, and within `with` follows what the file says.

    What cannot be used is said in the log and in `stale`, and what held before holds.
    """

    def __init__(
        self,
        policy: str | Path,
        *,
        candidate: str | Path | None = None,
        hash_key: bytes = b"",
        prices: Prices | None = None,
        every: float | None = None,
    ) -> None:
        """Load a policy: a file, a folder with a `policy.yaml`, or one that ships.

        Args:
            policy: The policy that acts.
            candidate: Another one that is decided and recorded beside it.
            hash_key: As for `read_gate`, like the prices.
            prices: For estimates of what images cost.
            every: Seconds between two looks.

        Raises:
            OSError: When there is no such file.
            PolicyError: When one cannot be used.
        """
        named = {"policy": policy, "candidate": candidate}
        self._files = {
            name: shipped.find_policy(str(given))
            for name, given in named.items()
            if given is not None
        }
        self._hash_key = hash_key
        self._prices = prices
        self._every = every
        self._texts = {
            name: read_lasting(file, MAX_BYTES + 1)
            for name, file in self._files.items()
        }
        self._watch: Watch | None = None
        acting, beside = self._laid_out()
        super().__init__(acting, candidate=beside)

    def __enter__(self) -> Self:
        sources = {name: policy_source(file) for name, file in self._files.items()}
        self._watch = Watch(sources, self._texts, self._follow, every=self._every)
        self._watch.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def look_now(self) -> None:
        """Look at the files now: for a signal handler, or for a route of one's own."""
        if self._watch is not None:
            self._watch.look_now()

    def _follow(self, news: News) -> None:
        if news.texts != self._texts:
            self._texts = {**news.texts}
            acting, beside = self._laid_out()
            self.replace(acting, candidate=beside)
        self.stale = news.stale

    def _laid_out(self) -> tuple[Gate, Gate | None]:
        key, prices = self._hash_key, self._prices
        return read_pair(self._files, self._texts, hash_key=key, prices=prices)
