"""`imagegate serve`: the reverse proxy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from rich.text import Text

from imagegate.cli.exits import Exit
from imagegate.cli.policies import describe, read_policy
from imagegate.cli.screen import complain, console, write
from imagegate.gateway import CannotMeasureError, CannotServeError, Plan, serve
from imagegate.server.listener import CannotListenError
from imagegate.settings import Settings, SettingsProblem, read_settings, show


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
        _say(*describe_setting(problem))
    plan = plan_of(reading.settings) if reading.settings.policy else Exit.USAGE
    if reading.problems:
        return Exit.USAGE
    if not isinstance(plan, Plan):
        return plan
    if only_print:
        write(show(reading.settings, reading.origins))
        return Exit.FINE
    return _serve(plan)


def plan_of(settings: Settings) -> Plan | Exit:
    """Check the policy, and keep what was checked."""
    read = read_policy(settings.policy)
    if read is None:
        return Exit.USAGE
    for problem in read.checked.errors:
        _say(*describe(read.file, problem))
    if read.checked.policy is None:
        return Exit.INVALID
    return Plan(settings=settings, file=read.file, policy=read.data)


def _serve(plan: Plan) -> Exit:
    try:
        serve(plan)
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


def _say(*lines: Text | str) -> None:
    """Print on standard error: standard output is for records."""
    console(stderr=True).print(*lines, sep="\n", soft_wrap=True)
