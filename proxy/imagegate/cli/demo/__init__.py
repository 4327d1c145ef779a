"""`imagegate demo`: the gateway at work, with no key and no network.

A stand-in provider and the gateway run on loopback, and the real OpenAI SDK makes
four requests through them.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from imagegate.audit.sink import AuditUnavailableError
from imagegate.cli.demo.scenes import SCENES
from imagegate.cli.demo.telling import Teller
from imagegate.cli.exits import Exit
from imagegate.cli.policies import usable_policy
from imagegate.cli.screen import complain, console
from imagegate.engine.policy import Policy


def run(policy_name: str, *, trail: Path | None = None) -> Exit:
    """Show four requests, then stay up if somebody is watching."""
    try:
        import openai  # noqa: F401, PLC0415 - only the demo needs a client
    except ImportError:
        complain("the demo needs the OpenAI SDK: pip install openai")
        return Exit.USAGE
    try:
        with contextlib.suppress(KeyboardInterrupt):
            _show(usable_policy(policy_name), trail)
    except AuditUnavailableError as error:
        complain(f"nothing can be recorded in {error}")
        return Exit.USAGE
    return Exit.FINE


def _show(policy: Policy, trail: Path | None) -> None:
    from imagegate.cli.demo.stage import Stage  # noqa: PLC0415 - needs openai

    with Stage.of(policy, trail) as stage:
        teller = Teller(console())
        teller.open(policy, stage.sdk)
        for number, scene in enumerate(SCENES, 1):
            teller.announce(number, scene.title)
            with teller.waiting() as watch:
                played = stage.play(scene, watch)
            teller.tell(played)
        if sys.stdin.isatty() and sys.stdout.isatty():
            with _interrupts() as interrupts:
                teller.invite(stage.url)
                while not interrupts:
                    time.sleep(0.2)
                    teller.report(stage.new_records())


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Note each Ctrl-C; an exception may be lost in a destructor that it comes to."""
    noted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: noted.append(number))
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
