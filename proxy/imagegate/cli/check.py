"""`imagegate check`: everything wrong with policy files, at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from imagegate.cli.exits import Exit
from imagegate.cli.policies import Read, print_problems, read_policy, read_table
from imagegate.cli.screen import complain, counted, print_json, print_text
from imagegate.engine.errors import PricesError
from imagegate.engine.policy import digest


def run(
    names: Sequence[str], table: Path | None = None, *, as_json: bool, strict: bool
) -> Exit:
    """Check the policies, print what was found, and return the exit code."""
    try:
        prices = None if table is None else read_table(table)
    except (OSError, PricesError) as error:
        complain(f"{table}: {getattr(error, 'strerror', None) or error}")
        return Exit.USAGE
    found = [read_policy(name, prices) for name in names]
    read = [each for each in found if each is not None]
    if as_json:
        print_json([_described(each) for each in read])
    else:
        for each in read:
            _print(each)
    if None in found:
        return Exit.USAGE
    if any(each.checked.policy is None for each in read):
        return Exit.INVALID
    warned = any(each.checked.problems for each in read)
    return Exit.FAILED if strict and warned else Exit.FINE


def _print(read: Read) -> None:
    print_problems(read.file, read.checked.problems)
    policy = read.checked.policy
    errors = len(read.checked.errors)
    warnings = len(read.checked.problems) - errors
    numbers = f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"
    if policy is None:
        verdict = Text.assemble((f"{read.file}: ", "bold"), ("invalid", "red"))
    else:
        verdict = Text.assemble(
            (f"{read.file}: ", "bold"),
            ("fine", "green"),
            f" ({policy.name}, {policy.mode}, sha256 {digest(policy)[:12]})",
        )
    if errors or warnings:
        verdict.append(f", {numbers}")
    print_text(verdict)


def _described(read: Read) -> dict[str, object]:
    policy = read.checked.policy
    return {
        "file": read.file,
        "valid": policy is not None,
        "name": policy.name if policy else None,
        "sha256": digest(policy) if policy else None,
        "problems": read.checked.problems,
    }
