"""Policies, keys and prices that change while `imagegate serve` answers requests."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Self

import httpx2
import pytest
from inside import imagegate
from running import Gateway, children, gateways, until
from stage import serving
from starlette.types import Receive, Scope, Send

from imagegate.cli.serve import _reread
from imagegate.server.listener import Listener
from imagegate.server.run import server_for

HURRIED = (str(Path(__file__).parents[1] / "support" / "hurried.py"),)
POLICY = """\
version: 1
name: {name}
owner: o@example.com
mode: enforce
models: {{ default: gpt-image-1, gpt-image-1: {{}}, otherwise: block }}
settings:
  quality: {{ allow: [{quality}], otherwise: {{ use: {quality} }} }}
  background: {{ allow: [{background}], otherwise: {{ use: {background} }} }}
"""
SAYS = {"calm": ("low", "opaque"), "loud": ("high", "transparent")}
"""Of each policy, what it leaves of a request; they agree on nothing."""


def text_of(name: str) -> str:
    quality, background = SAYS[name]
    return POLICY.format(name=name, quality=quality, background=background)


class Provider:
    """Answers at once, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, tuple[str, str]] = {}
        self.url = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for moment in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{moment}.complete"})
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        asked = json.loads(body)
        [tool] = asked["tools"]
        self.asked[asked["user"]] = tool["quality"], tool["background"]
        answer = {"id": f"resp_{asked['user']}", "object": "response"}
        said = json.dumps({**answer, "status": "completed", "tools": [tool]}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(said)),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": said})


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    with serving(server_for(made, Listener(grace=1))) as made.url:
        yield made


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(text_of("calm"))
    return file


Start = Callable[..., Gateway]


@pytest.fixture
def start(provider: Provider, policy: Path, tmp_path: Path) -> Iterator[Start]:
    given = ("--policy", policy, "--upstream", provider.url)
    with gateways(tmp_path) as begin:
        yield partial(begin, *given, program=HURRIED)


def rename_over(file: Path, text: str | bytes) -> None:
    """Change a file at once; in such a hurry, one written in place is found empty."""
    beside = file.with_suffix(".new")
    beside.write_bytes(text if isinstance(text, bytes) else text.encode())
    beside.rename(file)


def ask(gateway: Gateway, client: httpx2.Client, number: str) -> httpx2.Response:
    tool = {"type": "image_generation"}
    body = {"model": "gpt-5", "input": "x", "user": number, "tools": [tool]}
    return client.post(f"{gateway.url}/v1/responses", json=body)


def holds_everywhere(gateway: Gateway, name: str) -> bool:
    """Ask often enough, each time anew, to come to every worker."""
    for _ in range(24):
        with httpx2.Client(timeout=10) as client:
            if client.get(f"{gateway.url}/readyz").json()["policy"] != name:
                return False
    return True


class Load:
    """Clients that ask, one request after another, for as long as they are let."""

    def __init__(self, gateway: Gateway, clients: int = 4) -> None:
        self.answers: dict[str, httpx2.Response] = {}
        self.failures: list[Exception] = []
        self._gateway = gateway
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(name,)) for name in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self, name: int) -> None:
        number = 0
        try:
            while not self._over.is_set():
                with httpx2.Client(timeout=30) as client:  # to another worker, perhaps
                    for _ in range(25):
                        number += 1
                        key = f"{name}-{number}"
                        self.answers[key] = ask(self._gateway, client, key)
        except Exception as error:  # noqa: BLE001 - looked at by the test
            self.failures.append(error)


def digests(gateway: Gateway) -> Mapping[str, str]:
    """Return the name of each policy that was put in force, by its digest."""
    said = [*gateway.said("listening"), *gateway.said("reloaded")]
    return {line["digest"]: line["policy"] for line in said}


def check_no_mix(
    gateway: Gateway, provider: Provider, load: Load
) -> collections.Counter[str]:
    """Check that every trace of a request agrees; count requests by their policy."""
    assert load.failures == []
    assert {answer.status_code for answer in load.answers.values()} == {200}
    names = digests(gateway)
    found: dict[str, set[str]] = {}
    events: collections.Counter[str] = collections.Counter()
    with gateway._out.open() as lines:
        for line in lines:
            record = json.loads(line)
            if "decision_id" in record:
                events[record["event"]] += 1
                under = names[record["policy_digest"]]
                assert under == record["policy"]
                found.setdefault(record["decision_id"], set()).add(under)
    used: collections.Counter[str] = collections.Counter()
    for number, answer in load.answers.items():
        [under] = found[answer.headers["x-imagegate-decision"]]
        assert provider.asked[number] == SAYS[under]
        used[under] += 1
    assert len(found) == len(load.answers)  # nothing twice, and nothing lost
    assert set(events.values()) == {len(found)}, events
    return used


def swap_under_load(
    gateway: Gateway,
    provider: Provider,
    policy: Path,
    times: int,
    each: Callable[[int], None] = lambda _: None,
) -> None:
    with Load(gateway) as load:
        for number in range(times):
            name = ("loud", "calm")[number % 2]
            if number % 3:
                rename_over(policy, text_of(name))
            else:
                policy.write_text(text_of(name))
            if number % 5 == 0:
                gateway.process.send_signal(signal.SIGHUP)
            until(lambda: len(gateway.said("reloaded")) > number)  # noqa: B023 - now
            each(number)
    last = ("loud", "calm")[(times - 1) % 2]
    until(lambda: holds_everywhere(gateway, last), seconds=5)

    used = check_no_mix(gateway, provider, load)
    assert min(used["calm"], used["loud"]) > times / 4
    # In such a hurry, a file may be found empty before it is written. That is refused.
    assert len(gateway.said("reloaded")) == times
    assert gateway.said("worker_behind") == []


@pytest.mark.parametrize("workers", ["1", "3"])
def test_no_request_is_decided_by_a_mix_of_two_policies(
    start: Start, provider: Provider, policy: Path, workers: str
) -> None:
    gateway = start("--workers", workers)

    swap_under_load(gateway, provider, policy, 40)

    assert gateway.end() == 0


def held(pids: set[int]) -> tuple[int, int]:
    """Return the descriptors and the resident bytes of processes."""
    files = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)  # noqa: PTH208 - counted
    pages = (Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in pids)
    return files, sum(map(int, pages)) * 4096


@pytest.mark.soak
@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_thousand_swaps_leave_nothing_behind(
    start: Start, provider: Provider, policy: Path, workers: str
) -> None:
    gateway = start("--workers", workers)
    pids = {gateway.process.pid} | children(gateway.process.pid)
    warm: list[tuple[int, int]] = []

    def look(number: int) -> None:
        if number == 100:
            warm.append(held(pids))

    swap_under_load(gateway, provider, policy, 1_000, look)

    [(files, size)] = warm
    until(lambda: held(pids)[0] <= files + 4)
    assert held(pids)[1] < size + 24_000_000 * len(pids)
    assert gateway.end() == 0


# -- what goes wrong ------------------------------------------------------------------


def stale(gateway: Gateway) -> list[str]:
    found: list[str] = httpx2.get(f"{gateway.url}/readyz").json().get("stale", [])
    return found


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_cannot_be_used_is_said_everywhere_and_changes_nothing(
    start: Start, policy: Path, workers: str
) -> None:
    gateway = start("--workers", workers, "--metrics-port", "0")
    [metrics] = gateway.said("metrics")

    def measured(line: str) -> bool:
        return f"\n{line}\n" in httpx2.get(metrics["url"]).text

    half = text_of("loud").encode()[:-30]
    spoilt = text_of("loud").replace("mode: enforce", "mode: on").encode()
    for number, text in enumerate((spoilt, half, b"", b"\xff\x00", None), start=1):
        if text is None:
            policy.unlink()
        else:
            rename_over(policy, text)
        until(lambda: len(gateway.said("reload_failed")) == number)  # noqa: B023 - now
        until(lambda: stale(gateway) == ["policy"])
    assert holds_everywhere(gateway, "calm")
    assert measured('imagegate_reload_failures_total{what="policy"} 5.0')
    assert measured('imagegate_stale{what="policy"} 1.0')
    assert httpx2.get(f"{gateway.url}/readyz").status_code == 200
    [problem] = gateway.said("reload_failed")[0]["problems"]
    assert problem == (
        f"{policy}:4:7: error [implicit-value] mode: found 'on': YAML reads this as "
        "true or false; known here: `enforce`, `observe`"
    )

    policy.write_text(text_of("loud"))
    until(lambda: holds_everywhere(gateway, "loud"))
    until(lambda: stale(gateway) == [])
    [reloaded] = gateway.said("reloaded")
    assert measured('imagegate_stale{what="policy"} 0.0')
    assert measured('imagegate_reloads_total{what="policy"} 1.0')
    info = f'digest="{reloaded["digest"]}",mode="enforce",policy="loud",role="policy"'
    page = httpx2.get(metrics["url"]).text
    assert page.count("imagegate_policy_info{") == 1
    assert info in page
    assert gateway.end() == 0


def test_a_worker_that_replaces_another_has_what_the_others_have(
    start: Start, policy: Path
) -> None:
    """Not what it was started with, nor what is in a file that cannot be used."""
    gateway = start("--workers", "2")
    rename_over(policy, text_of("loud"))
    until(lambda: holds_everywhere(gateway, "loud"))
    policy.write_text("version: 2")
    until(lambda: bool(gateway.said("reload_failed")))
    before = gateway.workers()

    for victim in before:
        os.kill(victim, signal.SIGKILL)
    until(lambda: len(gateway.workers() - before) == 2)

    until(lambda: _answers(gateway))
    assert holds_everywhere(gateway, "loud")
    assert stale(gateway) == ["policy"]
    assert gateway.end() == 0


def _answers(gateway: Gateway) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return httpx2.get(f"{gateway.url}/livez").status_code == 200
    return False


def test_workers_that_are_killed_while_policies_change_come_to_the_same(
    start: Start, policy: Path
) -> None:
    gateway = start("--workers", "2")

    for number in range(6):
        name = ("loud", "calm")[number % 2]
        rename_over(policy, text_of(name))
        os.kill(min(gateway.workers()), signal.SIGKILL)
        until(lambda: len(gateway.workers()) == 2)
        until(lambda: len(gateway.said("reloaded")) > number)  # noqa: B023 - now

    until(lambda: _answers(gateway))
    until(lambda: holds_everywhere(gateway, "calm"), seconds=10)
    assert gateway.end() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_storm_of_hang_ups_ends_nobody(
    start: Start, provider: Provider, policy: Path, workers: str
) -> None:
    gateway = start("--workers", workers)
    before = gateway.workers()

    with Load(gateway) as load:
        for number in range(300):
            gateway.process.send_signal(signal.SIGHUP)
            for pid in before:  # as a front end that tells all processes of a unit
                os.kill(pid, signal.SIGHUP)
            if number == 150:
                rename_over(policy, text_of("loud"))
            time.sleep(0.002)
        until(lambda: holds_everywhere(gateway, "loud"))

    used = check_no_mix(gateway, provider, load)
    assert used["loud"]
    assert gateway.workers() == before
    assert gateway.end() == 0


# -- at the edges ---------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_ends_well_with_a_reload_on_its_way(
    start: Start, policy: Path, workers: str
) -> None:
    gateway = start("--workers", workers)

    policy.write_text(text_of("loud"))
    for _ in range(5):
        gateway.process.send_signal(signal.SIGHUP)
    began = time.monotonic()

    assert gateway.end() == 0
    assert time.monotonic() - began < 10
    assert "Traceback" not in gateway.log()


def test_settings_are_judged_by_what_was_read_of_a_file_at_rest(
    tmp_path: Path,
) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text("[listen]\ngra")  # somebody is writing it once more
    options = {"policy": "standard", "upstreams": ["https://api.openai.com"]}
    reread = _reread(options, str(config))
    assert reread is not None

    assert reread.read(b"").problems == ()
    assert reread.read(b"[listen]\ngrace = 6\n").settings.listen.grace == 6
    [problem] = reread.read(b"[listen]\ngrase = 6\n").problems
    assert problem.id == "unknown-setting"


def test_settings_that_change_take_a_restart_and_the_log_says_which(
    start: Start, tmp_path: Path
) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text("[listen]\ngrace = 5\n")
    gateway = start("--config", config)

    rename_over(config, "# nothing new\n[listen]\ngrace = 5\n")
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: bool(gateway.said("unchanged")))
    assert gateway.said("restart_needed") == []
    rename_over(config, "[listen]\ngrace = 6\n[head]\ncount = 50\n")
    until(lambda: bool(gateway.said("restart_needed")))
    rename_over(config, "[listen]\ngrase = 6\n")
    until(lambda: bool(gateway.said("reload_failed")))

    [needed] = gateway.said("restart_needed")
    assert needed["changed"] == "head.count, listen.grace"
    [failed] = gateway.said("reload_failed")
    assert "did you mean `listen.grace`?" in failed["problems"][0]
    assert stale(gateway) == []  # it holds what it held; only a start would fail
    assert gateway.end() == 0


def test_a_key_that_is_revoked_is_refused_by_every_worker(
    start: Start, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.jsonl"
    secret = run_keys("add", "--file", keys, "--name", "ci").strip()
    gateway = start(
        *("--workers", "2", "--keys", keys, "--credential", "authorization=env:OURS"),
        OURS="ours",
    )

    def statuses() -> set[int]:
        found = set()
        for number in range(16):
            headers = {"authorization": f"Bearer {secret}"}
            with httpx2.Client(timeout=10, headers=headers) as client:
                found.add(ask(gateway, client, f"k{number}").status_code)
        return found

    assert statuses() == {200}
    run_keys("revoke", "--file", keys, "ci")
    until(lambda: statuses() == {401})
    [reloaded] = gateway.said("reloaded")
    assert reloaded["what"] == "keys"


def run_keys(*arguments: str | Path) -> str:
    ran = imagegate("keys", *arguments)
    assert ran.code == 0, ran.err
    return ran.out


@pytest.mark.parametrize("workers", ["1", "2"])
def test_systemd_is_told_when_a_reload_is_done(
    start: Start, policy: Path, tmp_path: Path, workers: str
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        environ = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "400000"}
        gateway = start("--workers", workers, **environ)
        heard: list[str] = []

        def hear(word: str) -> str:
            while True:
                heard.append(manager.recv(4096).decode())
                if heard[-1].startswith(word):
                    return heard[-1]

        assert "STATUS=policy calm " in hear("READY=1")
        rename_over(policy, text_of("loud"))
        gateway.process.send_signal(signal.SIGHUP)
        hear("RELOADING=1")
        assert "STATUS=policy loud " in hear("READY=1")
        assert holds_everywhere(gateway, "loud")
        rename_over(policy, text_of("calm"))
        assert "STATUS=policy calm " in hear("STATUS=")
        rename_over(policy, "nonsense")
        assert hear("STATUS=policy calm ").endswith("; stale: policy")
        hear("WATCHDOG=1")
        gateway.process.send_signal(signal.SIGTERM)
        hear("STOPPING=1")
        assert gateway.process.wait(30) == 0
