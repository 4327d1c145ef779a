"""`imagegate serve`: the reverse proxy."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.text import Text

from imagegate.cli.exits import Exit
from imagegate.cli.policies import describe, read_policy
from imagegate.cli.screen import complain, print_error, write
from imagegate.gates.watch import News
from imagegate.gateway import (
    CannotMeasureError,
    CannotServeError,
    Plan,
    Reread,
    serve,
)
from imagegate.named_file import read_lasting
from imagegate.server.listener import CannotListenError
from imagegate.settings import (
    Reading,
    Settings,
    SettingsProblem,
    read_settings,
    show,
)
from imagegate.settings.sources import CONFIG


def run(
    options: Mapping[str, str | Sequence[str]], *, config: str, only_print: bool
) -> Exit:
    """Serve until stopped, and return the exit code.

    Args:
        options: The options of the command line, by the paths of their settings.
        config: The configuration file; empty for none.
        only_print: Print the settings, and do not serve.
    """
    reading = read_settings(options, os.environ, config=config)
    for problem in reading.problems:
        print_error(*describe_setting(problem))
    plan = plan_of(reading.settings) if reading.settings.policy else Exit.USAGE
    if reading.problems:
        return Exit.USAGE
    if not isinstance(plan, Plan):
        return plan
    if only_print:
        write(show(reading.settings, reading.origins))
        return Exit.FINE
    return _serve(plan, _reread(options, config))


def plan_of(settings: Settings) -> Plan | Exit:
    """Check the policies, and keep what was checked."""
    named = {"policy": settings.policy, "candidate": settings.candidate}
    texts: dict[str, bytes] = {}
    found = Exit.FINE
    for role, name in named.items():
        if name is None:
            continue
        read = read_policy(name)
        if read is None:
            return Exit.USAGE
        for problem in read.checked.errors:
            print_error(*describe(read.file, problem))
        if read.checked.policy is None:
            found = Exit.INVALID
        texts[role] = read.data
    others = {"prices": settings.audit.prices, "keys": settings.identity.keys.file}
    for role, file in others.items():
        if file is not None:
            with contextlib.suppress(OSError):  # the settings' checks say so
                texts[role] = read_lasting(file)
    return found or Plan(settings=settings, news=News(texts=texts))


def _reread(options: Mapping[str, str | Sequence[str]], config: str) -> Reread | None:
    """Return what reads the settings once more, if there is a file of them."""
    file = config or os.environ.get(CONFIG, "")
    if not Path(file).is_file():
        return None  # none is named, or a pipe, which is read once
    environ = dict(os.environ)

    def read(text: bytes) -> Reading:
        return read_settings(options, environ, config=file, text=text)

    return Reread(Path(file), read)


def _serve(plan: Plan, reread: Reread | None) -> Exit:
    try:
        serve(plan, reread)
    except (CannotListenError, CannotMeasureError, CannotServeError) as error:
        complain(str(error))
        return Exit.DOWN
    return Exit.FINE


def describe_setting(problem: SettingsProblem) -> tuple[Text, str]:
    """Return the two lines about a problem, in the form of those of policies."""
    place = f"{problem.origin}: " if problem.origin else ""
    path = f" {problem.path}" if problem.path else ""
    head = Text.assemble((place, "bold"), (f"error [{problem.id}]", "red"), path)
    return head, f"  {problem.message}"
