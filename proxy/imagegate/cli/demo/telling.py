"""Telling what happens in the demo, on a terminal or into a pipe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from imagegate.cli.demo.scenes import Event, Played, Record, Watch
from imagegate.cli.screen import WIDE, write
from imagegate.engine.policy import Policy

_FIELDS = ("model", "quality", "size", "moderation", "output_format", "partial_images")
_DECISIONS = {
    "request_forwarded": ("forwarded", "green"),
    "request_rewritten": ("rewritten", "yellow"),
    "request_blocked": ("blocked", "red"),
}
_ABSENT = "–"
_HEAD = 11
_MB = 1_000_000


class Teller:
    """Tells one demo; knows only what it is told."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen

    def open(self, policy: Policy, sdk: str) -> None:
        """Say who plays."""
        who = f": {sdk} → gateway ({policy.name}, {policy.mode}) → simulator"
        self._screen.print(Text.assemble(("imagegate demo", "bold"), who))

    def announce(self, number: int, title: str) -> None:
        """Say what comes."""
        self._screen.print()
        self._screen.print(Text(f"{number}. {title}", style="bold"))

    @contextlib.contextmanager
    def waiting(self) -> Iterator[Watch]:
        """Show that something is under way, and each event when it comes."""
        if not self._screen.is_terminal:
            yield self._event
            return
        with self._screen.status("waiting for the answer") as status:

            def watch(event: Event) -> None:
                self._event(event)
                status.update(f"{event.seconds:.1f} s  {event.type}")

            yield watch

    def _event(self, event: Event) -> None:
        if "image_generation" not in event.type:
            return
        size = f"{event.size / _MB:.1f} MB" if event.size else ""
        note = "on record" if event.recorded else size
        self._line("streamed", f"{event.seconds:5.2f} s  {event.type}  {note}".rstrip())

    def tell(self, played: Played) -> None:
        """Show a request and what became of it side by side."""
        decision = _name(played.records[0]) if played.records else ""
        word, style = _DECISIONS.get(decision, (decision, ""))
        self._line("decided", Text(word, style=style))
        self._print(self._settings(played))
        self._line("came back", played.answer)
        self._line("recorded", ", ".join(_in_words(each) for each in played.records))

    def _settings(self, played: Played) -> Table:
        first = played.records[0] if played.records else {}
        rules = {item["field"]: item for item in _reasons(first)}
        wide = self._screen.width >= WIDE
        table = Table(
            box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim"
        )
        table.add_column("setting", style="cyan", no_wrap=True)
        table.add_column("asked", overflow="fold")
        table.add_column("sent", overflow="fold")
        if rules:
            table.add_column("by the rule", style="dim", overflow="fold")
        if rules and wide:
            table.add_column("because", style="dim", overflow="fold")
        for field in _FIELDS:
            asked, sent = _value(played.asked, field), _value(played.sent, field)
            if asked == sent == _ABSENT and field not in rules:
                continue
            changed = "bold yellow" if asked != sent else ""
            rule = rules.get(field, {})
            cells = [rule.get("rule", ""), rule.get("reason", "")]
            table.add_row(
                field, asked, Text(sent, changed), *cells[: len(table.columns) - 3]
            )
        return table

    def invite(self, url: str) -> None:
        """Say how to go on by oneself."""
        self._screen.print()
        self._screen.print(Text("Try it from your own code, until Ctrl-C:", "bold"))
        self._screen.print(
            Text(
                "\n   from openai import OpenAI\n"
                f'   client = OpenAI(base_url="{url}/v1", api_key="none")\n'
            ),
            soft_wrap=True,
        )

    def report(self, records: Sequence[Record]) -> None:
        """Tell what was recorded of the requests of others."""
        for record in records:
            self._line("recorded", _in_words(record))

    def _line(self, head: str, text: Text | str) -> None:
        line = Text.assemble((f"{head:<{_HEAD}}", "cyan"), text)
        self._print(_hanging(line))

    def _print(self, table: Table) -> None:
        """Print a table; a pipe gets no blanks behind its cells."""
        indented = Padding(table, (0, 0, 0, 3), expand=False)
        if self._screen.is_terminal:
            self._screen.print(indented)
            return
        with self._screen.capture() as capture:
            self._screen.print(indented)
        write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))


def _hanging(line: Text) -> Table:
    """Let a long text go on under itself, not under its head."""
    grid = Table.grid(padding=0)
    grid.add_column(width=_HEAD)
    grid.add_column(overflow="fold")
    grid.add_row(line[:_HEAD], line[_HEAD:])
    return grid


def _value(tool: Mapping[str, Any] | None, field: str) -> str:
    return _ABSENT if tool is None or field not in tool else str(tool[field])


def _name(record: Record) -> str:
    return str(record["event"]).removeprefix("imagegate.")


def _reasons(record: Record) -> Sequence[Mapping[str, str]]:
    return (*record.get("changes", ()), *record.get("violations", ()))


def _in_words(record: Record) -> str:
    """Name a record, and of its fields those that tell the story."""
    told = [
        f"{label}{record[name]}"
        for name, label in (
            ("changes_count", "changes "),
            ("outcome", ""),
            ("images", "images "),
        )
        if record.get(name)
    ]
    return f"{_name(record)} ({', '.join(told)})" if told else _name(record)
