"""What is left of the quotas: what a request claims of them, and when it is too much.

Counts come in as facts. A claim says which ones a request is to be judged by: what a
request cannot do costs it nothing, so that a conversation in plain text goes on when
the images of the day are used up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from imagegate.engine.body import Body
from imagegate.engine.choice import repair_choice
from imagegate.engine.decision import Violation
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.notes import Notes
from imagegate.engine.policy import Line, Policy, Principal
from imagegate.engine.quota import QUOTAS, Counter, Quota, Standing, What
from imagegate.engine.records import MAX_ENTRIES, QuotaRecord, label
from imagegate.engine.request import Request
from imagegate.engine.rulebook import Book, Rulebook, count_of
from imagegate.engine.scene import reason_of
from imagegate.engine.state import references

MOST_IMAGES: Final = 10
"""Of one call; what asks for more is refused by the provider."""
_FOREVER: Final = 1 << 30
_SOON: Final = 5
"""Seconds after which to try again where requests under way are in the way."""
_LONG: Final = frozenset({"day", "week", "month"})
_BRINGING: Final = frozenset(
    {
        "state.prompt",
        "state.agents",
        "state.conversation",
        "state.previous_response",
        "state.item_reference",
    }
)
"""What may bring an image tool that the request does not show."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a request would use up.

    Attributes:
        counters: By which it is judged.
        images: How many it may start at once; 0 where it can start none.
        price: What one of them may cost, where a quota counts it; None where no price
            is known.
    """

    counters: tuple[Counter, ...] = ()
    images: int = 0
    price: int | None = 0


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """A quota that has no room for a request.

    Attributes:
        line: What says so.
        needed: What the request may use; None where no price of it is known.
        used: What was counted; None where that is not known.
        resets_in: Seconds until that may be otherwise.
    """

    quota: Quota
    line: Line
    needed: int | None
    used: int | None
    held: int
    resets_in: int
    currency: str = ""

    def spell(self, number: int) -> str:
        """Spell what is counted, with what it is."""
        what = self.currency if self.quota.what == "cost" else self.quota.what
        return f"{self.quota.spell(number)} {what}".rstrip()


# -- before it is decided -----------------------------------------------------------


def claim_of(book: Book, request: Request, *, inherits: bool | None = None) -> Claim:
    """Say what a request would use up of the quotas that hold for it.

    Args:
        book: The policy.
        request: The request.
        inherits: Whether what it refers to holds an image tool, as far as is known.
    """
    body = request.body
    page = book.page(request.principal, request.date)
    quotas = (page.watched or page.acting).quotas
    if body is None or not quotas:
        return Claim()
    images = 0
    try:
        if any(each.holds for each in quotas) and _may_make(
            page.acting, request, body, inherits=inherits
        ):
            images = _asked_for(request, body)
    except MalformedRequest:
        pass  # which is why it will be refused
    counters = (
        counter
        for quota in quotas
        if images or not quota.holds
        for counter in counters_of(quota, request.principal)
    )
    return Claim(counters=tuple(counters), images=images)


def counts_images(book: Book, request: Request) -> tuple[Counter, ...]:
    """Return the counters of images, and of their cost, that hold for whoever asks."""
    page = book.page(request.principal, request.date)
    return tuple(
        counter
        for quota in (page.watched or page.acting).quotas
        if quota.holds
        for counter in counters_of(quota, request.principal)
    )


def counters_of(quota: Quota, who: Principal) -> Iterator[Counter]:
    """Yield what is counted under a quota for a principal; for each team of his."""
    if quota.by == "everyone":
        yield Counter(quota)
    elif quota.by == "principal":
        yield Counter(quota, who.id, who.verified, who.source)
    else:
        # Those of no team are counted together, or they would not be counted.
        teams = sorted(set(who.attributes.get("team", ()))) or [""]
        for team in teams:
            yield Counter(quota, team, who.verified)


def _may_make(
    book: Rulebook, request: Request, body: Body, *, inherits: bool | None
) -> bool:
    """Tell whether a request can lead to an image."""
    if book.rules.stance("tool")[0] != "allow":
        return False
    if request.match.door.reading == "images":
        return True
    if not request.is_answered or _chooses_none(body):
        return False
    return _shows(body) or brings(request, body, inherits=inherits)


def _shows(body: Body) -> bool:
    """Tell whether the request names the image tool."""
    if any(tool.is_image for each in body.carriers for tool in each.tools):
        return True
    choice = repair_choice(body, "/tool_choice", stripped=False, left=0)
    return choice.names_image


def _chooses_none(body: Body) -> bool:
    choice = body.get("tool_choice")
    return choice is not None and choice.text() == "none"


def brings(request: Request, body: Body, *, inherits: bool | None) -> bool:
    """Tell whether it refers to something that may hold the tool, for all we know."""
    known = request.seen if inherits is not None else frozenset()
    return bool(inherits) or any(
        stance in _BRINGING and name not in known
        for _, stance, name in references(request, body)
    )


def _asked_for(request: Request, body: Body) -> int:
    if request.match.door.reading != "images":
        return 1
    value = body.get("n")
    number = 1 if value is None or value.is_null else value.plain()
    if not isinstance(number, int) or isinstance(number, bool):
        return MOST_IMAGES  # what others may read as a number, such as `10.0`
    return max(1, min(number, MOST_IMAGES))


# -- deciding -----------------------------------------------------------------------


def spent_requests(notes: Notes, request: Request) -> tuple[Spent, ...]:
    """Return the quotas without room for one more request."""
    return _all_spent(notes, request, {"requests": 1})


def _all_spent(
    notes: Notes, request: Request, needed: Mapping[What, int | None]
) -> tuple[Spent, ...]:
    """Return the quotas without room, those first that last longest."""
    found: list[Spent] = []
    for quota, line in notes.scene.book.quotas.items():
        number = needed.get(quota.what, 0)
        if number is None:
            found.append(_unpriced(quota, line))
        elif quota.what in needed:
            found += _spent(request, quota, line, number)
    return tuple(sorted(found, key=lambda each: -each.resets_in))


def _unpriced(quota: Quota, line: Line) -> Spent:
    """Hold up what nobody knows the price of, however much is left."""
    return Spent(
        quota=quota, line=line, needed=None, used=None, held=0, resets_in=_FOREVER
    )


def _spent(request: Request, quota: Quota, line: Line, needed: int) -> Iterator[Spent]:
    standing, most = request.standing, count_of(line.value)
    for counter in counters_of(quota, request.principal):
        count = standing.counts.get(counter)
        if count is None or (count.used is None and standing.outage == "allow"):
            continue
        if count.used is None or count.used + count.held + needed > most:
            free = count.used is not None and count.used + needed <= most
            yield Spent(
                quota=quota,
                line=line,
                needed=needed,
                used=count.used,
                held=count.held,
                resets_in=min(_SOON, count.resets_in) if free else count.resets_in,
                currency=standing.currency,
            )


def spent_images(notes: Notes, request: Request, body: Body) -> tuple[Spent, ...]:
    """Return the quotas without room for the images that a request may start."""
    inherits = request.standing.inherits
    book = notes.scene.book
    if not book.quotas or not _may_make(book, request, body, inherits=inherits):
        return ()
    images, price = _asked_for(request, body), request.standing.price
    return _all_spent(notes, request, {"images": images, "cost": price})


def strips(spent: Iterable[Spent], request: Request, body: Body) -> bool:
    """Tell whether taking the tool out is what is wanted, and is enough.

    Not where the image is all that was asked for: a choice forces the tool; and not
    where the tool is no part of the request.
    """
    wanted = all(each.line.otherwise == "strip" for each in spent)
    shown = any(tool.is_image for each in body.carriers for tool in each.tools)
    choice = body.get("tool_choice")
    kind = None if choice is None else choice.get("type")
    forced = kind is not None and kind.text() == "image_generation"
    elsewhere = brings(request, body, inherits=request.standing.inherits)
    return wanted and shown and not forced and not elsewhere


def refuse_spent(notes: Notes, spent: Iterable[Spent], pointer: str = "") -> None:
    """Refuse what there is no room for."""
    notes.violations += [_violation(each, pointer) for each in spent]


def _violation(spent: Spent, pointer: str) -> Violation:
    if spent.needed is None:
        return _priceless(spent, pointer)
    known = spent.used is not None
    code = "insufficient_quota" if spent.quota.per in _LONG else "rate_limit_exceeded"
    soon = spent.resets_in <= _SOON and spent.held > 0
    return Violation(
        pointer=pointer,
        field=spent.quota.what,
        before=_told(spent),
        by=reason_of(spent.line),
        message=_said(spent),
        fix=_fix(spent) if known else "try again later",
        code=("rate_limit_exceeded" if soon else code) if known else "quota_unknown",
        status=429 if known else 503,
        retry_after=max(1, spent.resets_in) if known else 1,
    )


def _told(spent: Spent) -> str | int | None:
    """Tell what was counted; money as people write it."""
    money = spent.quota.what == "cost" and spent.used is not None
    return spent.quota.spell(spent.used or 0) if money else spent.used


def _priceless(spent: Spent, pointer: str) -> Violation:
    """Refuse what no price is known of: nobody can say whether it is too much."""
    return Violation(
        pointer=pointer,
        field=spent.quota.what,
        before=None,
        by=reason_of(spent.line),
        message="it is not known what an image of this model costs here",
        fix="name an image model that the price table has",
        code="price_unknown",
    )


def _said(spent: Spent) -> str:
    quota, most = spent.quota, count_of(spent.line.value)
    whose = {"principal": "yours", "team": "your team's", "everyone": "everyone's"}
    if spent.used is None:
        if quota.what == "cost":
            return f"it is not known how much money of this {quota.per} is left"
        return f"it is not known how many {quota.what} of this {quota.per} are left"
    held = f", {quota.spell(spent.held)} held by requests under way"
    said = f"{quota.spell(spent.used)} of {spent.spell(most)} of this {quota.per}"
    said = f"{said} are used ({whose[quota.by]}){held if spent.held else ''}"
    if quota.what == "cost":
        said = f"{said}, and this may cost {quota.spell(spent.needed or 0)}"
    return said


def _fix(spent: Spent) -> str:
    later = f"wait {_as_long_as(max(1, spent.resets_in))}"
    if spent.quota.what == "requests":
        return later
    if spent.quota.what == "cost":
        later = f"{later}, ask for a lower `quality` or a smaller `size`"
    return f"{later}, or set `tool_choice` to `none` for an answer without images"


def _as_long_as(seconds: int) -> str:
    """Say how long that is, and rather more; `Retry-After` has it exactly."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{math.ceil(seconds / length)} {unit}"
    return f"{seconds} seconds"


# -- telling ------------------------------------------------------------------------


def quota_records(book: Rulebook, request: Request) -> tuple[QuotaRecord, ...]:
    """Tell where the counters stood by which a request was judged.

    Where there is no room for all, those are told that have the least left.
    """
    counts = request.standing.counts
    found = tuple(
        QuotaRecord(
            quota=quota.name,
            team=label(counter.who) if quota.by == "team" else None,
            since=count.since,
            max=count_of(line.value),
            used=count.used,
            held=count.held,
            **(_money(request.standing) if quota.what == "cost" else {}),
        )
        for quota, line in book.quotas.items()
        for counter in counters_of(quota, request.principal)
        if (count := counts.get(counter)) is not None
    )
    many = len(found) > MAX_ENTRIES
    return tuple(sorted(found, key=_left)[:MAX_ENTRIES]) if many else found


def _money(standing: Standing) -> dict[str, Any]:
    return {"asks": standing.price, "currency": standing.currency}


def _left(told: QuotaRecord) -> int:
    return -1 if told.used is None else told.max - told.used - told.held


def quotas_in(policy: Policy) -> frozenset[Quota]:
    """Return the quotas of which any layer of a policy speaks."""
    above = [each.lines for each in policy.teams]
    above += [each.lines for each in policy.exceptions]
    lines = itertools.chain(policy.lines, *above)
    return frozenset(QUOTAS[x.subject] for x in lines if x.subject in QUOTAS)
