"""`imagegate doctor`: what is wrong with a gateway, in order of weight."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence

from rich.text import Text

from imagegate.cli.exits import Exit
from imagegate.cli.policies import Read, read_policy, read_table
from imagegate.cli.screen import print_json, print_text
from imagegate.doctor import WEIGHTS, Finding, Weight, examine
from imagegate.doctor.finding import in_order
from imagegate.engine.errors import PricesError
from imagegate.settings import Reading, read_settings

_STYLES: Mapping[Weight, str] = {
    "broken": "bold red",
    "danger": "red",
    "open": "yellow",
    "advice": "cyan",
    "fine": "green",
}
_BAD = frozenset(("broken", "danger"))


def run(
    options: Mapping[str, str | Sequence[str]], *, config: str, as_json: bool
) -> Exit:
    """Examine, print what was found, and return the exit code."""
    reading = read_settings(options, os.environ, config=config)
    table, prices = reading.settings.audit.prices, None
    if table is not None:
        with contextlib.suppress(OSError, PricesError):  # told among the settings
            prices = read_table(table)
    policy = reading.settings.policy
    read = read_policy(policy, prices) if policy else None
    findings = in_order(asyncio.run(_examined(reading, read)))
    if as_json:
        print_json(findings)
    else:
        _print(findings)
    return Exit.FAILED if any(each.weight in _BAD for each in findings) else Exit.FINE


async def _examined(reading: Reading, read: Read | None) -> list[Finding]:
    checked, file = (read.checked, read.file) if read else (None, "")
    return [each async for each in examine(reading, checked, file, os.environ)]


def _print(findings: Sequence[Finding]) -> None:
    """Print a line for each, and one below for what would be better."""
    width = max(map(len, WEIGHTS))
    for each in findings:
        weight = (each.weight.ljust(width), _STYLES[each.weight])
        print_text(Text.assemble(weight, " ", (each.area, "bold"), f": {each.found}"))
        if each.better:
            print_text(f"{'':{width}} {each.better}")
    counts = [sum(each.weight == weight for each in findings) for weight in WEIGHTS]
    told = (f"{n} {weight}" for n, weight in zip(counts, WEIGHTS, strict=True) if n)
    print_text("", ", ".join(told))
