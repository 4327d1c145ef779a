from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pytest
from redisd import Redisd, redisd

from imagegate.engine.policy import ANONYMOUS, Principal
from imagegate.seen import (
    MemorySeen,
    RedisSeen,
    Seen,
    Sight,
    SightLost,
    allowed,
)
from imagegate.seen.sqlite import SqliteSeen

ANN = Principal(id="ann", source="key", verified=True)
BEN = Principal(id="ben", source="key", verified=True)
SIGHT = Sight("d1", ({"model": "gpt-image-1-mini", "quality": "low", "n": 1},))
T = TypeVar("T")
Make = Callable[[], Seen]
Open = Callable[..., SqliteSeen]


def note(seen: Seen, who: Principal, *ids: str, sight: Sight = SIGHT) -> None:
    asyncio.run(seen.note(who, ids, sight))


def find(seen: Seen, who: Principal, *ids: str) -> dict[str, Sight]:
    return dict(asyncio.run(seen.find(who, ids)))


class EachTime:
    """A store in Redis that is opened for each question.

    Its connections belong to a loop, and here each question has one of its own; that
    the next one finds what was kept is what a restart, and another gateway, would do.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    async def note(self, who: Principal, ids: Iterable[str], sight: Sight) -> None:
        store = RedisSeen(self.url, prefix="p")
        try:
            await store.note(who, ids, sight)
        finally:
            await store.close()

    async def find(self, who: Principal, ids: Iterable[str]) -> Mapping[str, Sight]:
        store = RedisSeen(self.url, prefix="p")
        try:
            return await store.find(who, ids)
        finally:
            await store.close()

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redisd]:
    with redisd(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(params=["memory", "sqlite", "redis"])
def seen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Seen]:
    store: Seen = MemorySeen()
    if request.param == "sqlite":
        store = SqliteSeen(tmp_path / "seen.db")
    if request.param == "redis":
        server: Redisd = request.getfixturevalue("server")
        server.say("FLUSHALL")
        store = EachTime(server.url)
    yield store
    asyncio.run(store.close())


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open stores, and close them behind the test."""
    stores = []

    def open_one(file: Path, **options: float) -> SqliteSeen:
        stores.append(SqliteSeen(file, **options))
        return stores[-1]

    yield open_one
    for store in stores:
        asyncio.run(store.close())


def test_what_was_noted_is_found(seen: Seen) -> None:
    note(seen, ANN, "resp_1", "conv_1")

    assert find(seen, ANN, "resp_1", "resp_2") == {"resp_1": SIGHT}
    assert find(seen, ANN, "conv_1") == {"conv_1": SIGHT}


def test_nobody_finds_what_another_made(seen: Seen) -> None:
    note(seen, ANN, "resp_1")
    same_name_otherwise_established = Principal(id="ann", source="jwt", verified=True)

    assert find(seen, BEN, "resp_1") == {}
    assert find(seen, ANONYMOUS, "resp_1") == {}
    assert find(seen, same_name_otherwise_established, "resp_1") == {}


def test_names_cannot_be_made_to_look_alike(seen: Seen) -> None:
    note(seen, Principal(id="yann", source="ke", verified=True), "resp_1")

    assert find(seen, Principal(id="ann", source="key"), "resp_1") == {}


def test_the_latest_sight_counts(seen: Seen) -> None:
    note(seen, ANN, "conv_1")
    later = Sight("d2", ({"quality": "low"}, *SIGHT.tools))
    note(seen, ANN, "conv_1", sight=later)

    assert find(seen, ANN, "conv_1") == {"conv_1": later}


def test_what_was_kept_by_another_request_is_not_forgotten(seen: Seen) -> None:
    """Two at once in one conversation know nothing of each other's tools."""
    for _ in range(2):
        note(seen, ANN, "conv_1")
        note(seen, ANN, "conv_1", "conv_2", sight=Sight("d1"))

    assert find(seen, ANN, "conv_1", "conv_2") == {
        "conv_1": SIGHT,
        "conv_2": Sight("d1"),
    }


def test_what_was_judged_by_others_is_judged_together_next_time(seen: Seen) -> None:
    """By no rules at all was what they left judged as a whole."""
    note(seen, ANN, "conv_1")
    note(seen, ANN, "conv_1", sight=Sight("d2"))

    (found,) = find(seen, ANN, "conv_1").values()
    assert found == Sight("", SIGHT.tools)
    assert not allowed({"conv_1": found}, "d2", lambda _: False)


def test_memory_is_bounded() -> None:
    seen = MemorySeen(most=2)
    for name in ("a", "b", "a", "c"):
        note(seen, ANN, name)

    assert set(find(seen, ANN, "a", "b", "c")) == {"a", "c"}


# -- the file -------------------------------------------------------------------


def test_a_restart_remembers(tmp_path: Path, opened: Open) -> None:
    file = tmp_path / "seen.db"
    first = opened(file)
    note(first, ANN, "resp_1")
    asyncio.run(first.close())

    assert find(opened(file), ANN, "resp_1") == {"resp_1": SIGHT}


def test_only_its_owner_may_read_the_file(tmp_path: Path, opened: Open) -> None:
    file = tmp_path / "seen.db"
    note(opened(file), ANN, "resp_1")

    for part in tmp_path.iterdir():
        assert part.stat().st_mode & 0o077 == 0, part.name


def test_old_sights_are_forgotten(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "seen.db"
    seen = opened(file, days=1)
    note(seen, ANN, "old")
    later = time.time() + 86_401
    monkeypatch.setattr("imagegate.seen.sqlite.time.time", lambda: later)

    assert find(seen, ANN, "old") == {}
    note(seen, ANN, "new")
    with sqlite3.connect(file) as base:
        assert base.execute("SELECT id FROM sights").fetchall() == [("new",)]
    base.close()


def test_old_sights_are_forgotten_also_after_the_clock_was_set_back(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, now = tmp_path / "seen.db", time.time()
    seen = opened(file, days=1)
    for day, name in ((365, "ahead"), (0, "old"), (2, "new")):
        at = now + day * 86_400
        monkeypatch.setattr("imagegate.seen.sqlite.time.time", lambda at=at: at)
        note(seen, ANN, name)

    with sqlite3.connect(file) as base:
        rows = base.execute("SELECT id FROM sights ORDER BY id").fetchall()
    base.close()
    assert rows == [("ahead",), ("new",)]


WORKER = """
import asyncio, sys
from pathlib import Path
from imagegate.engine.policy import Principal
from imagegate.seen import Sight
from imagegate.seen.sqlite import SqliteSeen

async def work(seen, who, worker):
    for number in range(200):
        name = f"resp_{worker}_{number}"
        await seen.note(who, [name], Sight("d1"))
        assert name in await seen.find(who, [name])

who = Principal(id="ann", source="key", verified=True)
asyncio.run(work(SqliteSeen(Path(sys.argv[1])), who, sys.argv[2]))
"""


def test_workers_share_a_file(tmp_path: Path, opened: Open) -> None:
    file = tmp_path / "seen.db"
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(file), str(number)])
        for number in range(4)
    ]

    assert [worker.wait() for worker in workers] == [0] * 4
    names = [f"resp_{worker}_{number}" for worker in range(4) for number in range(200)]
    assert set(find(opened(file), ANN, *names)) == set(names)


def test_a_file_that_is_locked_too_long_is_no_answer(
    tmp_path: Path, opened: Open
) -> None:
    file = tmp_path / "seen.db"
    seen = opened(file)
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(SightLost, match="locked"):
            note(seen, ANN, "resp_1")

        other.execute("ROLLBACK")
    other.close()
    note(seen, ANN, "resp_1")
    assert find(seen, ANN, "resp_1") == {"resp_1": SIGHT}


@pytest.mark.parametrize("content", [b"no database at all, and long enough", None])
def test_what_is_no_store_is_refused(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "seen.db"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content * 40)

    with pytest.raises(SightLost, match=r"seen\.db"):
        SqliteSeen(file)


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "seen.db"
    with sqlite3.connect(file) as base:
        base.execute("PRAGMA user_version = 7")
    base.close()

    with pytest.raises(SightLost, match="another version"):
        SqliteSeen(file)


def test_a_damaged_sight_is_no_answer(tmp_path: Path, opened: Open) -> None:
    file = tmp_path / "seen.db"
    seen = opened(file)
    note(seen, ANN, "resp_1")
    with sqlite3.connect(file) as base:
        base.execute("UPDATE sights SET sight = 'x'")
    base.close()

    with pytest.raises(SightLost):
        find(seen, ANN, "resp_1")
    with pytest.raises(SightLost):
        note(seen, ANN, "resp_1")


# -- the server -------------------------------------------------------------------


def test_the_server_learns_no_name(server: Redisd) -> None:
    server.say("FLUSHALL")
    note(EachTime(server.url), ANN, "resp_secret")

    [key] = [x for x in server.say("KEYS", "*").split("\r\n") if ":" in x]
    prefix, what, name = key.split(":")
    assert (prefix, what, len(name)) == ("p", "seen", 64)
    assert 0 < int(server.say("TTL", key)[1:]) <= 30 * 86_400


def test_a_damaged_sight_of_the_server_is_no_answer(server: Redisd) -> None:
    note(EachTime(server.url), ANN, "resp_1")
    for key in server.say("KEYS", "*").split("\r\n"):
        if ":" in key:
            server.say("SET", key, "x")

    with pytest.raises(SightLost):
        find(EachTime(server.url), ANN, "resp_1")
    with pytest.raises(SightLost):
        note(EachTime(server.url), ANN, "resp_1")


def test_an_outage_is_no_answer_and_costs_its_patience_once(tmp_path: Path) -> None:
    async def outage(own: Redisd) -> float:
        store = RedisSeen(own.url)
        await store.note(ANN, ["resp_1"], SIGHT)
        own.hold()
        with pytest.raises(SightLost):
            await store.find(ANN, ["resp_1"])
        begun = time.perf_counter()
        for _ in range(100):
            with pytest.raises(SightLost, match="a moment ago"):
                await store.note(ANN, ["resp_2"], SIGHT)
        took = time.perf_counter() - begun
        own.release()
        await asyncio.sleep(1.1)
        assert await store.find(ANN, ["resp_1", "resp_2"]) == {"resp_1": SIGHT}
        own.stop()
        with pytest.raises(SightLost):
            await store.note(ANN, ["resp_1"], SIGHT)
        await store.close()
        return took

    with redisd(tmp_path) as own:
        assert asyncio.run(outage(own)) < 10  # and not a hundred times its patience


def test_gateways_that_keep_something_at_once_all_keep_it(
    server: Redisd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each joins its own with what it finds, until nobody was in between."""
    monkeypatch.setattr("imagegate.seen.redis._PATIENCE", 10)
    tools = [{"n": number} for number in range(8)]

    async def work() -> None:
        stores = [RedisSeen(server.url, prefix="once") for _ in tools]
        pairs = zip(stores, tools, strict=True)
        jobs = (store.note(ANN, ["conv_1"], Sight("d", (one,))) for store, one in pairs)
        await asyncio.gather(*jobs)
        found = (await stores[0].find(ANN, ["conv_1"]))["conv_1"]
        assert {tool["n"] for tool in found.tools} == {*range(8)}
        for store in stores:
            await store.close()

    asyncio.run(work())


def test_what_cannot_be_joined_is_unseen(
    server: Redisd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagegate.seen.redis._TRIES", 0)

    async def work() -> None:
        store = RedisSeen(server.url, prefix="never")
        await store.note(ANN, ["conv_1"], SIGHT)
        with pytest.raises(SightLost):
            await store.note(ANN, ["conv_1"], SIGHT)
        assert await store.find(ANN, ["conv_1"]) == {}
        await store.close()

    asyncio.run(work())


# -- under today's policy ---------------------------------------------------------


def test_what_was_judged_under_todays_policy_may_pass() -> None:
    assert allowed({"resp_1": SIGHT}, "d1", lambda _: False) == {"resp_1"}


def test_what_was_judged_under_another_is_judged_again() -> None:
    asked: list[object] = []

    def passes(tools: object) -> bool:
        asked.append(tools)
        return len(asked) == 1

    sights = {"resp_1": SIGHT, "resp_2": Sight("d0")}
    assert allowed(sights, "d2", passes) == {"resp_1"}
    assert asked == [SIGHT.tools, ()]
