"""The rig: a provider on one core, proxies on the other, and the load between them."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loopback.machine import CannotMeasureError, Running, free_port, pinned
from loopback.targets import Target
from loopback.work import (
    AS_ASKED,
    AS_ENFORCED,
    TICK_MS,
    TICKS,
    Work,
    request,
    write_answers,
)

SETTLE_SECONDS = 0.3


class WrongAnswerError(Exception):
    """A target did not answer as the provider did, or did not enforce the policy."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One target under one load.

    Attributes:
        answers: How many were right; all were, or this is not made.
        seconds: How long it took.
        cpu: Seconds that the target has computed.
        megabytes: Payload in both directions.
        p50: Milliseconds from when a request was due to the end of its answer.
        p99: The same.
        first: Milliseconds to the first byte of the body, at the median.
    """

    answers: int
    seconds: float
    cpu: float
    megabytes: float
    p50: float
    p99: float
    first: float

    @property
    def cpu_ms(self) -> float:
        """Return the processor's milliseconds for a request."""
        return self.cpu * 1000 / self.answers

    def figures(self) -> dict[str, float]:
        """Return all that is known, for a file."""
        each = {
            "cpu_ms": self.cpu_ms,
            "cpu_ms_per_mb": self.cpu * 1000 / self.megabytes,
        }
        return {**asdict(self), **each, "busy": self.cpu / self.seconds}


class Rig:
    """A provider that runs, and what sends requests through proxies to it."""

    def __init__(
        self, folder: Path, programs: Mapping[str, Path], cores: tuple[int, int]
    ) -> None:
        self.folder = folder
        self.upstream = free_port()
        self._client = programs["client"]
        self._proxy_core, self._load_core = cores
        self._lengths: dict[tuple[str, int], int] = {}
        marks = ["--mark", AS_ASKED, "--mark", AS_ENFORCED]
        answers = folder / "answers"
        answers.mkdir()
        command = [str(programs["provider"]), str(self.upstream)]
        self._provider = Running(
            [*command, *write_answers(answers), *marks],
            core=self._load_core,
            log=folder / "provider.log",
        )
        self._provider.wait_for(self.upstream)

    def close(self) -> None:
        """End the provider."""
        self._provider.stop()

    @contextmanager
    def serving(self, targets: Sequence[Target]) -> Iterator[dict[str, Running]]:
        """Start targets, and end them."""
        with ExitStack() as stack:
            running = {}
            for target in targets:
                running[target.name] = Running(
                    target.command,
                    core=self._proxy_core,
                    log=self.folder / f"{target.name.replace(' ', '-')}.log",
                    environment=target.environment,
                )
                stack.callback(running[target.name].stop)
            for target in targets:
                running[target.name].wait_for(target.port)
            time.sleep(SETTLE_SECONDS)
            yield running

    # -- load -------------------------------------------------------------------

    def direct(self, work: Work, seconds: float) -> Run:
        """Ask the provider itself; what it answers is what everybody has to answer."""
        said = self._load(self.upstream, work, seconds=seconds)
        if "ok" not in said or not said["ok"] or said["errors"]:
            raise CannotMeasureError(f"the provider of the benchmark fails: {said}")
        self._lengths[_key(work)] = said["payload"] // said["ok"]
        return _run(said, 0.0)

    def through(
        self, target: Target, running: Running, work: Work, seconds: float
    ) -> Run:
        """Send requests through a target, and see that all is right.

        Raises:
            WrongAnswerError: When it is not.
        """
        length = self._lengths[_key(work)] if target.faithful else -1
        asked, before = self._counts(work), running.cpu()
        said = self._load(target.port, work, seconds=seconds, length=length)
        cpu = running.cpu() - before
        self._check(target, work, said, asked)
        return _run(said, cpu)

    def _check(
        self, target: Target, work: Work, said: Mapping[str, Any], before: list[int]
    ) -> None:
        """See that answers were right, and that each tool came as it should."""
        where = f"{target.name}, {work.name}"
        if said["errors"] or not said["ok"]:
            raise WrongAnswerError(f"{where}: {said['first_error'] or 'no answer'}")
        pairs = zip(self._counts(work), before, strict=True)
        requests, as_asked, as_enforced = (now - then for now, then in pairs)
        right = as_enforced if target.enforces else as_asked
        if target.faithful and not said["ok"] <= right == requests:
            raise WrongAnswerError(
                f"{where}: of {requests} tools {as_asked} came as they were asked for, "
                f"and {as_enforced} as the policy wants them"
            )

    def held(self, target: Target, running: Running, work: Work) -> tuple[int, int]:
        """Return the memory of a target before and with many open streams."""
        idle = running.rss()
        load = self._start(target.port, work, requests=work.connections)
        most = idle
        end = time.monotonic() + TICKS * TICK_MS / 1000 * 3 + 20
        while load.poll() is None and time.monotonic() < end:
            most = max(most, running.rss())
            time.sleep(0.2)
        said = self._ended(load)
        if said["errors"] or said["ok"] != work.connections:
            raise WrongAnswerError(f"{target.name}, {work.name}: {said['first_error']}")
        return idle, most

    def stalled(self, target: Target, running: Running, work: Work) -> float:
        """Return by how much a target grows for each client that stops to read."""
        warm = self.through(target, running, work, 0.3)
        idle = running.rss()
        load = self._start(target.port, work, stalled=1.5)
        line = load.stdout.readline() if load.stdout else ""
        time.sleep(1.0)
        grown = running.rss() - idle
        load.wait()
        said = json.loads(line)
        if said["errors"] or said["stalled"] != work.connections or not warm.answers:
            raise WrongAnswerError(f"{target.name}, {work.name}: {said['first_error']}")
        return grown / work.connections

    def _load(self, port: int, work: Work, **options: float) -> dict[str, Any]:
        if work.rate is not None:
            options["rate"] = work.rate
        return self._ended(self._start(port, work, **options))

    def _start(self, port: int, work: Work, **options: float) -> subprocess.Popen[str]:
        body = self.folder / f"request-{work.answer}-{work.image}"
        if not body.exists():
            body.write_bytes(request(work))
        words = [str(self._client), "--port", str(port), "--body", str(body)]
        words += ["--connections", str(work.connections)]
        for name, value in options.items():
            words += [f"--{name}", str(value)]
        with pinned(self._load_core):
            return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    @staticmethod
    def _ended(load: subprocess.Popen[str]) -> dict[str, Any]:
        output, _ = load.communicate()
        if not output:
            raise CannotMeasureError(f"the load ended with {load.returncode}")
        said: dict[str, Any] = json.loads(output)
        return said

    def _counts(self, work: Work) -> list[int]:
        """Ask the provider how many requests came, and how their tools looked."""
        url = f"http://127.0.0.1:{self.upstream}/counts"
        plain = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with plain.open(url, timeout=10) as answer:
            counts: dict[str, list[int]] = json.load(answer)
        return counts[work.answer]


def _key(work: Work) -> tuple[str, int]:
    return work.answer, work.image


def _run(said: Mapping[str, Any], cpu: float) -> Run:
    return Run(
        answers=said["ok"],
        seconds=said["seconds"],
        cpu=cpu,
        megabytes=(said["payload"] + said["ok"] * said["request"]) / 1e6,
        p50=said["p50_ms"],
        p99=said["p99_ms"],
        first=said["first_p50_ms"],
    )
