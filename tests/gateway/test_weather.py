"""A gateway in bad weather: providers, clients, disk, Redis and policy file at once.

Whatever befalls it: honest clients get what one version of the policy made of their
request, or an error that says to come again; nothing is lost; and when it is over,
it is as it was before.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from journals import fill, small_disk
from redisd import Redisd, redisd
from running import Gateway, until
from weather import TIGHT, WIDE, Weather, body, policy

from imagegate.audit.reading import lines_in, open_log
from imagegate.audit.verify import verify
from imagegate.server.listener import Listener
from imagegate.server.run import server_for
from imagegate.simulator import create_simulator

from stage import serving  # isort: skip

SHORT = 12.0
LONG = float(os.environ.get("WEATHER_SECONDS", "900"))
SETTINGS = """
policy = "policy/policy.yaml"
[listen]
port = 0
workers = 2
grace = 5
[upstreams.default]
url = "{provider}"
[limits]
seconds = 2.0
[head]
seconds = 1.0
[deadlines]
body = 2.0
head = 2.0
idle = 2.0
stall = 1.0
[pool]
connections = 300
wait_seconds = 1.0
[audit]
directory = "{trail}"
stdout = "nothing"
[quotas]
redis = "{redis}"
outage = "allow"
[state]
redis = "{redis}"
[audit.files]
compress = false
tick_seconds = 0.1
"""


@pytest.fixture
def provider() -> Iterator[str]:
    simulator = create_simulator(behaviour="bits=0")
    with serving(server_for(simulator, Listener(port=0, grace=1))) as url:
        yield url


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "400m") as disk:
        yield disk / "trail"


@pytest.fixture
def counters(tmp_path: Path) -> Iterator[Redisd]:
    with redisd(tmp_path) as running:
        yield running


@pytest.fixture
def gateway(
    provider: str, trail: Path, counters: Redisd, tmp_path: Path
) -> Iterator[Gateway]:
    tmp_path.joinpath("policy").mkdir()
    say(tmp_path, policy(*TIGHT))
    file = tmp_path / "gateway.toml"
    file.write_text(SETTINGS.format(provider=provider, trail=trail, redis=counters.url))
    running = Gateway(tmp_path, "--config", file)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end()


def say(folder: Path, text: str) -> None:
    """Put a policy in the place of the one that is there, in one step."""
    fresh = folder / "policy/fresh"
    fresh.write_text(text)
    fresh.replace(folder / "policy/policy.yaml")


class Operator:
    """Changes the policy, to good ones and bad ones; loses disk and counters."""

    def __init__(
        self, folder: Path, disk: Path, counters: Redisd, over: threading.Event
    ) -> None:
        self.swaps = 0
        self.fillings = 0
        self.outages = 0
        self._counters = counters
        self._folder = folder
        self._disk = disk
        self._over = over

    def swap(self, chance: random.Random) -> None:
        self.swaps += 1
        good = policy(*(TIGHT, WIDE)[self.swaps % 2])
        if chance.random() < 0.2:
            say(self._folder, good.replace("enforce", "perhaps"))  # is not taken
            self._over.wait(0.05)
        say(self._folder, good)
        self._over.wait(chance.uniform(0.02, 0.4))

    def run_full(self, chance: random.Random) -> None:
        self._over.wait(chance.uniform(1, 3))
        filler = self._disk / "filler"
        fill(filler)
        self.fillings += 1
        self._over.wait(chance.uniform(0.2, 1))
        filler.unlink()

    def lose_redis(self, chance: random.Random) -> None:
        self._over.wait(chance.uniform(0.5, 2))
        self.outages += 1
        if chance.random() < 0.5:
            self._counters.hold()
            self._over.wait(chance.uniform(0.2, 1.5))
            self._counters.release()
        else:
            self._counters.stop()
            self._over.wait(chance.uniform(0.2, 1.5))
            self._counters.start()


def descriptors(gateway: Gateway) -> int:
    pids = gateway.workers()
    return sum(len([*Path(f"/proc/{pid}/fd").iterdir()]) for pid in pids)


def memory(gateway: Gateway) -> int:
    """Return the bytes that the workers hold."""
    pages = 0
    for pid in gateway.workers():
        pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def settled(measure: Callable[[], int], limit: int) -> int:
    """Wait until a figure has come down to where it should be, or for long enough."""
    end = time.monotonic() + 20
    while (found := measure()) > limit and time.monotonic() < end:
        time.sleep(0.1)
    return found


def endure(
    gateway: Gateway, folder: Path, trail: Path, counters: Redisd, seconds: float
) -> Weather:
    """Let it all befall a gateway, and see it come to rest."""
    with Weather(gateway.url, seed=7) as weather:
        operator = Operator(folder, trail.parent, counters, weather.over)
        weather.go(weather.ask, times=3)
        until(lambda: weather.turns["ask"] > 3)
        held, opened = memory(gateway), descriptors(gateway)
        for act in weather.meet_faults, weather.leave, weather.dawdle:
            weather.go(act, times=2)
        acts = operator.swap, operator.run_full, operator.lose_redis
        for once in (weather.flood, *acts):
            weather.go(once)
        weather.over.wait(seconds / 2)
        halfway = memory(gateway)
        weather.over.wait(seconds / 2)
        weather.calm.set()
        time.sleep(3)  # the longest deadline, and what it holds

    assert settled(lambda: descriptors(gateway), opened + 30) <= opened + 30
    # What a storm needs is kept for the next one; it must not become more and more.
    limit = max(held + 80_000_000, halfway + 20_000_000)
    assert settled(lambda: memory(gateway), limit) < limit
    assert operator.swaps > seconds
    assert operator.outages > 1
    with httpx2.Client(timeout=30, trust_env=False) as client:
        asked = body(stream=False)
        assert weather.once(client, asked) == httpx2.codes.OK
    return weather


def recorded(trail: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for file in sorted(trail.iterdir()):
        if file.name.endswith((".jsonl", ".zst")):
            with open_log(file) as log:
                found += [json.loads(line) for line in lines_in(log)]
    return found


def assert_nothing_is_lost(gateway: Gateway, weather: Weather, trail: Path) -> None:
    assert gateway.end() == 0, gateway.log()[-3000:]
    report = verify([trail])
    assert report.ok, report.problems
    assert report.unfinished == 0
    records = recorded(trail)
    decided = {
        str(record["decision_id"]): str(record["policy"])
        for record in records
        if str(record["event"]).startswith("imagegate.request_")
    }
    ended = [r for r in records if r["event"] == "imagegate.exchange_finished"]
    assert {str(record["decision_id"]) for record in ended} == set(decided)
    # What the provider was asked for is what the one policy says that is on record.
    for decision, (quality, _) in weather.heard.made.items():
        assert decided[decision] == quality
    assert {quality for quality, _ in weather.heard.made.values()} == {"low", "high"}


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(SHORT, id="short"),
        pytest.param(LONG, id="long", marks=pytest.mark.soak),
    ],
)
def test_it_endures(
    seconds: float, gateway: Gateway, trail: Path, counters: Redisd, tmp_path: Path
) -> None:
    weather = endure(gateway, tmp_path, trail, counters, seconds)

    assert weather.heard.wrong == []
    assert len(weather.heard.made) > seconds
    for name in "meet_faults", "leave", "dawdle", "flood":
        assert weather.turns[name] > 1, name
    assert_nothing_is_lost(gateway, weather, trail)
