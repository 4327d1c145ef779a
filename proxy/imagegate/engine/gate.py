"""A policy laid out for exchanges: who is asking, under what, at which door.

Everything here is made once for a policy and shared by all its exchanges.
"""

from __future__ import annotations

import datetime
from collections.abc import Generator
from typing import Any, Final

import msgspec

from imagegate.engine.account import account_of
from imagegate.engine.allowance import Claim, quota_records, quotas_in
from imagegate.engine.batch import Judged, Staged
from imagegate.engine.body import Body
from imagegate.engine.catalogue import Catalogue
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Decision, JudgedTool
from imagegate.engine.echo import Yardstick
from imagegate.engine.fare import Fares
from imagegate.engine.fingerprint import Fingerprints, fingerprint
from imagegate.engine.interface import version_told
from imagegate.engine.policy import ANONYMOUS, Policy, Principal, digest
from imagegate.engine.precedents import Precedents, case_of
from imagegate.engine.prices import Prices
from imagegate.engine.quota import NOWHERE, Standing
from imagegate.engine.records import (
    MAX_ENTRIES,
    DecisionRecord,
    Record,
    Transport,
    ident,
    label,
)
from imagegate.engine.report import decision_told, pattern_of
from imagegate.engine.request import Request
from imagegate.engine.rulebook import Page, Rulebook
from imagegate.engine.scene import api_names
from imagegate.engine.surface import Door, Lost, Match

MAX_YARDSTICKS: Final = 256
"""How many yardsticks are remembered."""

_AGAIN: Final = frozenset(
    {
        "conversations.items.create",
        "conversations.items.list",
        "conversations.items.retrieve",
        "files.content",
        "responses.compact",
        "responses.items",
        "responses.retrieve",
    }
)
"""Doors at which is told what was made before, if only in the background of an answer
that nobody asks for, and what somebody refers to or has made compact."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What is known before anything is read.

    Attributes:
        decision_id: Ties the records together; the client gets it too.
        door: What `find_door` said.
        date: Today, for exceptions that end.
        transport: How the request came; a streamed answer makes `http` `sse`.
        stream_id: The lane of a WebSocket that the request came on.
        bytes_in: The body's length as it came.
        query: Of the request, as it came, without the question mark.
    """

    decision_id: str
    door: Match | Lost
    date: datetime.date
    principal: Principal = ANONYMOUS
    transport: Transport = "http"
    stream_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    bytes_in: int | None = None
    query: str = ""

    @property
    def match(self) -> Match | None:
        """The door, if there is one."""
        return self.door if isinstance(self.door, Match) else None

    def asks(  # noqa: PLR0913, PLR0917 - what is known of a request
        self,
        match: Match,
        body: Body | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        seen: frozenset[str] = frozenset(),
        standing: Standing = NOWHERE,
        staged: Decision | None = None,
    ) -> Request:
        """Return what is decided about."""
        return Request(
            match=match,
            date=self.date,
            body=body,
            headers=headers,
            query=self.query,
            principal=self.principal,
            decision_id=self.decision_id,
            seen=seen,
            standing=standing,
            staged=staged,
        )


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, and its record but for who asks: what it tells of the request."""

    decision: Decision
    pattern: DecisionRecord


class Gate:
    """A policy laid out for exchanges; made once, shared by all."""

    def __init__(
        self,
        policy: Policy,
        catalogue: Catalogue,
        *,
        hash_key: bytes = b"",
        prices: Prices | None = None,
    ) -> None:
        """Lay a policy out.

        Args:
            policy: The policy.
            catalogue: What providers accept.
            hash_key: Lets equal secrets, prompts and users be found unseen.
            prices: For the estimates of what images cost; without, there are none.
        """
        self.policy = policy
        self._name = label(policy.name)
        self.digest = digest(policy)
        self.decider = Decider(policy, catalogue, hash_key=hash_key)
        self.names = api_names(catalogue)
        self.prices = prices
        self.fares = Fares(self.decider, prices)
        self.hashes = bool(hash_key)
        self._hash_key = hash_key
        self._precedents: Precedents[Decided] = Precedents()
        self._yardsticks: dict[
            tuple[object, ...], tuple[Yardstick, Yardstick | None]
        ] = {}
        self._versions = frozenset(catalogue.interface.api_versions)
        matches = [team.match for team in policy.teams]
        matches += [item.match for item in policy.exceptions]
        self.quotas = quotas_in(policy)
        if any(quota.by == "team" for quota in self.quotas):
            matches.append({"team": ()})
        self._matched = sorted({name for match in matches for name in match})

    def yardsticks(
        self,
        context: Context,
        match: Match,
        sent: tuple[JudgedTool, ...],
        *,
        by_header: bool = False,
    ) -> tuple[Yardstick, Yardstick | None]:
        """Return what an answer is measured by: what acts, and what is observed.

        Args:
            context: Who asks, and when.
            match: The door.
            sent: The tools as they are sent.
            by_header: A header names the image deployment.
        """
        page = self.decider.book.page(context.principal, context.date)
        sent = tuple(tool for tool in sent if tool.sent)
        # The same tool, as `Bench` remembers it, is the same object; a yardstick
        # holds on to it, so that no other can have its place while it is known.
        key = (page, match.door.name, match.family.name, by_header, *map(id, sent))
        found = self._yardsticks.get(key)
        if found is None:
            if len(self._yardsticks) >= MAX_YARDSTICKS:
                self._yardsticks.clear()
            found = self._made(page, match, sent, by_header=by_header)
            self._yardsticks[key] = found
        return found

    def _made(
        self, page: Page, match: Match, sent: tuple[JudgedTool, ...], *, by_header: bool
    ) -> tuple[Yardstick, Yardstick | None]:
        azure = match.family.provider == "azure"
        deployments = self.policy.deployments if azure else {}

        def yardstick(book: Rulebook) -> Yardstick:
            # The provider may spell a model either way: the yardstick maps names.
            scene = self.decider.scene(book, match, mapped=False)
            return Yardstick(scene, deployments, sent, by_header=by_header)

        watched = page.watched
        return yardstick(page.acting), yardstick(watched) if watched else None

    def claim(self, request: Request, *, inherits: bool | None = None) -> Claim:
        """Say what a request would use up of the quotas that hold for it.

        Args:
            request: The request, with its headers.
            inherits: Whether what it refers to holds an image tool, as far as is known.
        """
        # That the same was decided before is likely.
        return self.fares.claim(
            request, lambda asked: self.decide(asked).decision, inherits=inherits
        )

    def rules_for(self, who: Principal, date: datetime.date) -> str:
        """Name the rules that hold for a principal on a day.

        The policy's digest says which they may be; whoever leaves a team, or whose
        exception has ended, is judged by others of the same policy, and so is who only
        claims a name, for whom no line of a team loosens anything.
        """
        layers = self.decider.book.page(who, date).acting.rules.layers
        claimed = ("claimed",) if layers and not who.verified else ()
        return "\n".join((self.digest, *layers, *claimed))

    def fingerprint(
        self, context: Context, body: Body
    ) -> Generator[None, None, Fingerprints]:
        """Hash the prompt and the user of a request; each yield lets others run."""
        match = context.match
        if match is None or not self._hash_key:
            return Fingerprints()
        return (yield from fingerprint(body, match.door.reading, self._hash_key))

    def judge_lines(
        self, context: Context, staged: Staged
    ) -> Generator[None, None, Judged]:
        """Decide on the lines of a batch file; each yield lets others run."""
        request = context.asks(staged.match)
        return (yield from staged.judged(request, lambda x: self.decide(x).decision))

    def decide(self, request: Request) -> Decided:
        """Decide on a request, or remember what was decided about the same."""
        page = self.decider.book.page(request.principal, request.date)
        case = case_of(page, request)
        found = self._precedents.get(case)
        if found is None:
            found = self._decided(page, request)
            self._precedents.keep(case, found)
        return found

    def _decided(self, page: Page, request: Request) -> Decided:
        decision = self.decider.decide(request)
        layers = page.acting.rules.layers
        scene = self.decider.scene(page.watched or page.acting, request.match)
        told = {
            **decision_told(decision, names=self.names, layers=layers),
            **self._asked(request.match, request.query),
            **account_of(request, scene),
            "inherits": request.standing.inherits,
            "quotas": quota_records(scene.book, request)[:MAX_ENTRIES],
        }
        return Decided(decision=decision, pattern=pattern_of(told))

    def _asked(self, match: Match | None, query: str) -> dict[str, Any]:
        told: dict[str, Any] = {"api_version": version_told(query, self._versions)}
        if match is not None:
            told["method"] = match.door.method
            told["route"] = match.family.base + match.door.route
        return told

    def account(self, context: Context) -> dict[str, Any]:
        """Return what the decision record tells before anything was read."""
        return {**self._asked(context.match, context.query), **self.who(context)}

    def who(self, context: Context) -> dict[str, Any]:
        """Return what the decision record tells of the principal."""
        who, proof = context.principal.attributes, context.principal.proof
        matched = {
            name: tuple(map(label, who[name][:MAX_ENTRIES]))
            for name in self._matched
            if name in who
        }
        told: dict[str, Any] = {"principal_matched": matched}
        if proof:
            told["principal_proof"] = label(proof)
        return told

    def base(self, context: Context) -> Record:
        """Begin the records of an exchange."""
        who, match = context.principal, context.match
        return Record(
            decision_id=ident(context.decision_id) or "",
            policy=self._name,
            policy_digest=self.digest,
            policy_mode=self.policy.mode,
            principal_id=label(who.id),
            principal_team=tuple(map(label, who.attributes.get("team", ()))),
            principal_source=label(who.source),
            principal_verified=who.verified,
            provider=match.family.provider if match else None,
            door=match.door.name if match else None,
            family=match.family.name if match else None,
            transport=context.transport,
            replay=match is not None and tells_again(match.door),
            trace_id=ident(context.trace_id),
            span_id=ident(context.span_id),
        )


def tells_of_images(door: Door) -> bool:
    """Tell whether answers at a door can tell of images."""
    return (
        door.reading in {"responses", "images"}
        or door.group in {"responses", "agent_endpoints"}
        or tells_again(door)
    )


def tells_again(door: Door) -> bool:
    """Tell whether what answers at a door tell was made before."""
    return door.name in _AGAIN
