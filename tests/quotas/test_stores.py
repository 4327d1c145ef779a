"""Every store counts as the plainest one would, whatever happens and when."""

from __future__ import annotations

import asyncio
import datetime
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redisd import Redisd

from imagegate.engine.quota import QUOTAS, Counter
from imagegate.quotas import (
    MemoryQuotas,
    Quotas,
    QuotasLost,
    Reading,
    Slot,
    Step,
    slot_of,
)
from imagegate.quotas.redis import RedisQuotas
from imagegate.quotas.sqlite import SqliteQuotas
from imagegate.quotas.store import BACKGROUND_SECONDS, HOLD_SECONDS, SLACK

NOW = 1_800_000_000.0
DAY = QUOTAS["images.principal.day"]
Make = Callable[[], Quotas]


def at(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)


def slot(
    who: str = "ann", seconds: float = NOW, name: str = DAY.name, price: int = 0
) -> Slot:
    return slot_of(Counter(QUOTAS[name], who), at(seconds), price)


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return what makes a store; each one is empty."""
    if request.param == "memory":
        return MemoryQuotas
    if request.param == "sqlite":
        return lambda: SqliteQuotas(tmp_path / f"{uuid.uuid4().hex}.db")
    server: Redisd = request.getfixturevalue("server")
    return lambda: RedisQuotas(server.url, prefix=uuid.uuid4().hex)


def using(make: Make, play: Callable[[Quotas], Awaitable[None]]) -> None:
    async def run() -> None:
        store = make()
        try:
            await play(store)
        finally:
            await store.close()

    asyncio.run(run())


# -- the plainest store -------------------------------------------------------------


class Model:
    """What was counted, and who holds a place until when; nothing is ever tidied."""

    def __init__(self) -> None:
        self.used: dict[tuple[str, int], int] = {}
        self.held: dict[tuple[str, str], tuple[float, int]] = {}

    def read(self, slot: Slot, now: float) -> Reading:
        held = [u for (name, _), u in self.held.items() if name == slot.name]
        holding = sum(worth for until, worth in held if until > now)
        return Reading(self.used.get((slot.name, slot.window), 0), holding)

    def take(self, slots: Sequence[Slot], places: Sequence[str], now: float) -> Any:
        found = [self.read(slot, now) for slot in slots]
        for each in slots:
            for place in places if each.holds else ():
                self.held[each.name, place] = now + HOLD_SECONDS, self.worth(each)
            if not each.holds:
                self.add(each, 1)
        return found

    def settle(self, step: Step, now: float) -> None:
        for each in step.slots:
            kept = [self.held.pop((each.name, x), (0.0, 0)) for x in step.drop]
            found = [(n, x[1]) for n, x in enumerate(kept) if x[0] > now]
            before, worth = (0, self.worth(each)) if not step.if_held else (-1, 0)
            if step.if_held and found:
                before, worth = found[0]
            if before >= 0 and each.price is not None:
                self.add(each, step.paid + step.unpaid * worth - before * worth)
            elif before >= 0:
                least = 0 if step.if_held else step.add
                self.add(each, max(least, step.add - before))
            for place in step.hold:
                until = max(now + BACKGROUND_SECONDS, each.ends)
                self.held[each.name, place] = until, self.worth(each)

    def worth(self, slot: Slot) -> int:
        return 1 if slot.price is None else slot.price

    def add(self, slot: Slot, number: int) -> None:
        key = slot.name, slot.window
        self.used[key] = max(0, self.used.get(key, 0) + number)


NAMES = [
    "images.principal.day",
    "images.team.month",
    "requests.principal.minute",
    "cost.team.month",
    "cost.everyone.day",
]
PLACES = st.lists(st.sampled_from("abcd"), max_size=3, unique=True).map(tuple)
WHICH = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(["ann", "bo"])),
    min_size=1,
    max_size=3,
    unique=True,
)
GOES_BY = st.one_of(
    st.integers(0, 120),
    st.sampled_from([0, 60, HOLD_SECONDS, BACKGROUND_SECONDS, 86_400 * 31]),
)
LATE = st.integers(0, SLACK // 2)
"""How far behind its time something is counted: what was owed, or another clock."""
STEPS: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    drop=PLACES,
    add=st.integers(-2, 3),
    hold=PLACES,
    if_held=st.booleans(),
    paid=st.integers(0, 10**14),
    unpaid=st.integers(-2, 3),
)
PRICES = st.sampled_from([0, 1, 36_000, 211_000, 10**12])
EVENTS = st.lists(
    st.tuples(GOES_BY, LATE, WHICH, PRICES, st.one_of(PLACES, STEPS)),
    min_size=1,
    max_size=12,
)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # it makes new ones
)
@given(events=EVENTS)
def test_a_store_agrees_with_the_plainest_one(make: Make, events: Any) -> None:
    async def play(store: Quotas) -> None:
        model, now = Model(), NOW
        for seconds, late, which, price, what in events:
            now += seconds
            slots = tuple(slot(who, now - late, name, price) for name, who in which)
            if isinstance(what, tuple):
                found = await store.take(slots, what, now)
                assert [*found] == model.take(slots, what, now)
            else:
                images = tuple(each for each in slots if each.holds)
                step = Step(slots=images, **what)
                await store.settle(step, now)
                model.settle(step, now)

    using(make, play)


# -- one by one ---------------------------------------------------------------------


def test_an_image_takes_the_place_that_was_held_for_it(make: Make) -> None:
    async def play(store: Quotas) -> None:
        slots = (slot(),)
        assert await store.take(slots, ["d1"], NOW) == [Reading(0, 0)]
        assert await store.take(slots, ["d2"], NOW) == [Reading(0, 1)]
        await store.settle(Step(slots=slots, drop=("d1",), add=1), NOW)
        assert await store.take(slots, [], NOW) == [Reading(1, 1)]
        await store.settle(Step(slots=slots, drop=("d2",)), NOW)
        assert await store.take(slots, [], NOW) == [Reading(1, 0)]

    using(make, play)


def test_a_place_of_which_nobody_speaks_any_more_ends(make: Make) -> None:
    """Whoever held it has died."""

    async def play(store: Quotas) -> None:
        slots = (slot(),)
        await store.take(slots, ["d1"], NOW)
        later = NOW + HOLD_SECONDS
        assert await store.take(slots, [], later - 1) == [Reading(0, 1)]
        assert await store.take(slots, [], later) == [Reading(0, 0)]

    using(make, play)


def test_what_was_counted_before_is_told_by_the_place_that_was_held(make: Make) -> None:
    """As an answer of which somebody saw the beginning, and read the rest later."""

    async def play(store: Quotas) -> None:
        slots = (slot(),)
        for told, number in ((5, 4), (0, 0)):
            await store.settle(Step(slots=slots, hold=("resp+1",)), NOW)
            said = Step(slots=slots, drop=("resp", "resp+1"), add=told, if_held=True)
            await store.settle(said, NOW)
            await store.settle(said, NOW)
            assert await store.take(slots, [], NOW) == [Reading(4, 0)], number

    using(make, play)


def test_what_is_told_twice_is_counted_once(make: Make) -> None:
    """As an answer that was made in the background, and is read again and again."""

    async def play(store: Quotas) -> None:
        slots = (slot(),)
        await store.take(slots, ["d1"], NOW)
        await store.settle(Step(slots=slots, drop=("d1",), hold=("resp",)), NOW)
        told = Step(slots=slots, drop=("resp",), add=2, if_held=True)
        await store.settle(told, NOW)
        await store.settle(told, NOW)
        assert await store.take(slots, [], NOW) == [Reading(2, 0)]

    using(make, play)


def test_an_image_counts_for_its_price_until_it_is_known_what_it_cost(
    make: Make,
) -> None:
    async def play(store: Quotas) -> None:
        both = slot(), slot(name="cost.team.month", price=250_000)
        assert await store.take(both, ["d1"], NOW) == [Reading(0, 0)] * 2
        assert await store.take(both, [], NOW) == [Reading(0, 1), Reading(0, 250_000)]
        await store.settle(Step(slots=both, drop=("d1",), add=1, unpaid=1), NOW)
        assert await store.take(both, [], NOW) == [Reading(1, 0), Reading(250_000, 0)]
        await store.settle(Step(slots=both, paid=33_360, unpaid=-1), NOW)
        assert await store.take(both, [], NOW) == [Reading(1, 0), Reading(33_360, 0)]

    using(make, play)


def test_what_the_background_costs_takes_the_place_of_what_it_held(make: Make) -> None:
    """Whoever reads it knows the cost, and not what it was held for."""

    async def play(store: Quotas) -> None:
        held = (slot(name="cost.team.month", price=250_000),)
        reads = (slot(name="cost.team.month", price=7),)
        drop = ("resp", "resp+1")
        for place, paid, unpaid, used in (
            ("resp", 33_360, 0, 33_360),
            ("resp", 0, 2, 533_360),  # and what is not known costs what was held
            ("resp+1", 33_360, 0, 316_720),  # of which one was counted already
        ):
            await store.settle(Step(slots=held, hold=(place,)), NOW)
            said = Step(slots=reads, drop=drop, paid=paid, unpaid=unpaid, if_held=True)
            await store.settle(said, NOW)
            await store.settle(said, NOW)
            assert await store.take(held, [], NOW) == [Reading(used, 0)]

    using(make, play)


def test_millionths_are_exact_up_to_a_billion(make: Make) -> None:
    async def play(store: Quotas) -> None:
        slots = (slot(name="cost.everyone.day", price=1),)
        most = 999_999_999_999_999
        await store.settle(Step(slots=slots, paid=most), NOW)
        await store.take(slots, ["a", "b", "c"], NOW)
        assert await store.take(slots, [], NOW) == [Reading(most, 3)]
        await store.settle(Step(slots=slots, drop=("a",), unpaid=1), NOW)
        assert await store.take(slots, [], NOW) == [Reading(most + 1, 2)]

    using(make, play)


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("images.principal.hour", BACKGROUND_SECONDS), ("images.team.month", None)],
)
def test_what_nobody_reads_holds_its_place_until_its_window_ends(
    make: Make, name: str, seconds: float | None
) -> None:
    """And for a day at least: waiting must not make an image free."""

    async def play(store: Quotas) -> None:
        one = slot(name=name)
        end = one.ends if seconds is None else NOW + seconds
        await store.take((one,), ["d1"], NOW)
        await store.settle(Step(slots=(one,), drop=("d1",), hold=("resp",)), NOW)
        assert await store.take((one,), [], end - 1) == [Reading(0, 1)]
        assert await store.take((one,), [], end) == [Reading(0, 0)]

    using(make, play)


def test_a_new_window_begins_at_nothing(make: Make) -> None:
    async def play(store: Quotas) -> None:
        minute = "requests.principal.minute"
        today, tomorrow = slot(name=minute), slot(seconds=NOW + 60, name=minute)
        await store.take((today,), [], NOW)
        await store.take((today,), [], NOW)
        assert await store.take((tomorrow,), [], NOW + 60) == [Reading(0, 0)]

    using(make, play)


def test_windows_are_forgotten_also_after_the_clock_was_set_back(
    tmp_path: Path,
) -> None:
    """Or they would pile up until it is as late again as it was by mistake."""

    async def play(store: Quotas, kept: Callable[[], int]) -> None:
        await store.take((slot(seconds=NOW + 86_400 * 365),), [], NOW + 86_400 * 365)
        for minute in range(0, 180 * 60, 60):
            now = NOW + minute
            one = slot(seconds=now, name="requests.principal.minute")
            await store.take((one,), [], now)

        assert kept() < 90
        await store.close()

    memory, file = MemoryQuotas(), SqliteQuotas(tmp_path / "q.db")
    count = "SELECT count(*) FROM used"
    asyncio.run(play(memory, lambda: len(memory._used)))
    asyncio.run(play(file, lambda: int(file._base.execute(count).fetchone()[0])))


def test_what_many_take_at_once_is_counted_for_each(make: Make) -> None:
    async def play(store: Quotas) -> None:
        minute = (slot(name="requests.principal.minute"),)
        found = await asyncio.gather(
            *(store.take(minute, [f"d{number}"], NOW) for number in range(50))
        )
        assert sorted(each[0].used for each in found) == [*range(50)]

    using(make, play)


def test_a_name_says_nothing_of_who_it_is() -> None:
    one, other = slot("ann@example.com"), slot("bo@example.com")

    assert one.name != other.name
    assert "ann" not in one.name
    assert one.name.startswith("images.principal.day:")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Counter(DAY, "a", source="key"), Counter(DAY, "a", source="jwt")),
        (Counter(DAY, "a"), Counter(DAY, "a", verified=False)),
        (Counter(DAY, "yann", source="ke"), Counter(DAY, "ann", source="key")),
    ],
)
def test_names_cannot_be_made_to_look_alike(one: Counter, other: Counter) -> None:
    assert slot_of(one, at(NOW)).name != slot_of(other, at(NOW)).name


# -- files --------------------------------------------------------------------------


def test_a_file_outlives_the_gateway(tmp_path: Path) -> None:
    async def play() -> Sequence[Reading]:
        store = SqliteQuotas(tmp_path / "q.db")
        try:
            return await store.take(minutes, [], NOW)
        finally:
            await store.close()

    minutes = (slot(name="requests.principal.minute"),)
    assert asyncio.run(play()) == [Reading(0)]
    assert asyncio.run(play()) == [Reading(1)]
    assert (tmp_path / "q.db").stat().st_mode & 0o777 == 0o600


def test_processes_count_together(tmp_path: Path) -> None:
    """None is lost between them, and no number is given to two."""
    script = f"""
import asyncio, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from imagegate.quotas import QuotasLost, Slot
from imagegate.quotas.sqlite import SqliteQuotas
async def play():
    store = SqliteQuotas(Path({str(tmp_path / "q.db")!r}))
    slot = Slot("x", 1, 2_000_000_000, False)
    done = 0
    while done < 300:
        try:
            [reading] = await store.take((slot,), [], {NOW})
        except QuotasLost:
            continue  # the others had it for too long
        print(reading.used)
        done += 1
asyncio.run(play())
"""
    command = [sys.executable, "-c", script]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    found = [int(line) for each in running for line in each.communicate()[0].split()]

    assert sorted(found) == [*range(900)]


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "q.db"
    with pytest.raises(QuotasLost, match="directory"):
        SqliteQuotas(tmp_path / "no" / "q.db")
    file.write_bytes(b"not a database" * 100)
    with pytest.raises(QuotasLost, match="not a database"):
        SqliteQuotas(file)


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    base = sqlite3.connect(tmp_path / "q.db")
    base.execute("PRAGMA user_version = 7")
    base.close()

    with pytest.raises(QuotasLost, match="another version"):
        SqliteQuotas(tmp_path / "q.db")


def test_a_file_that_somebody_holds_is_given_up_on(tmp_path: Path) -> None:
    store = SqliteQuotas(tmp_path / "q.db")
    other = sqlite3.connect(tmp_path / "q.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(QuotasLost, match="locked"):
        asyncio.run(store.take((slot(),), ["d"], NOW))
    other.execute("ROLLBACK")
    other.close()

    assert asyncio.run(store.take((slot(),), ["d"], NOW)) == [Reading(0, 0)]
    asyncio.run(store.close())


def test_a_change_that_fails_halfway_is_not_made(tmp_path: Path) -> None:
    store = SqliteQuotas(tmp_path / "q.db")
    unspeakable: Any = object()

    with pytest.raises(QuotasLost):
        asyncio.run(store.take((slot(),), ["d", unspeakable], NOW))

    assert asyncio.run(store.take((slot(),), [], NOW)) == [Reading(0, 0)]
    asyncio.run(store.close())
