"""What is found about one request with one set of rules, until it is decided."""

from __future__ import annotations

import msgspec

from imagegate.engine.decision import (
    Block,
    Change,
    Decision,
    Forward,
    JudgedTool,
    Reason,
    Rewrite,
    Shown,
    Violation,
)
from imagegate.engine.judge import Verdict
from imagegate.engine.policy import Line
from imagegate.engine.scene import Scene, reason_of
from imagegate.engine.value import DELETE, Delete, Edit


class Notes:
    """Gathers what the rooms of the decision find; one use."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.tools: list[JudgedTool] = []
        self.changes: list[Change] = []
        self.violations: list[Violation] = []
        self.edits: list[Edit] = []
        self.headers: dict[str, str | None] = {}

    def decision(self, observed: tuple[Change | Violation, ...]) -> Decision:
        """Put together what was found: any refusal beats all changes."""
        tools = tuple(self.tools)
        if self.violations:
            return Block(
                violations=tuple(self.violations), tools=tools, observed=observed
            )
        if self.changes:
            return Rewrite(
                changes=tuple(self.changes),
                edits=tuple(self.edits),
                headers=self.headers,
                tools=tools,
                observed=observed,
            )
        return Forward(tools=tools, observed=observed)

    def take(self, verdict: Verdict) -> Verdict:
        """Take what was found about one tool."""
        self.tools.append(verdict.tool)
        self.changes += verdict.changes
        self.violations += verdict.violations
        self.edits += verdict.edits
        return verdict

    def tell(self, verdict: Verdict) -> None:
        """Tell of a tool that is not sent, with what was asked of it."""
        tool = msgspec.structs.replace(verdict.tool, sent=False, enforced={})
        self.tools.append(tool)

    def change(  # noqa: PLR0913 - what a change says
        self,
        pointer: str,
        field: str,
        line: Line,
        message: str,
        *,
        before: Shown = None,
        after: Shown = None,
        edit: bytes | Delete = DELETE,
    ) -> None:
        """Change one place of the body; without anything to put there it goes."""
        self.edits.append((pointer, edit))
        self.changes.append(
            Change(
                pointer=pointer,
                field=field,
                before=before,
                after=after,
                by=reason_of(line),
                message=message,
            )
        )

    def change_header(
        self, name: str, value: str | None, line: Line | None, before: object
    ) -> None:
        """Set a header; without anything to say it goes.

        Without a line it is made to agree with what is named elsewhere.
        """
        by = reason_of(line) if line else self.scene.always("deployment")
        if by is None:
            return
        self.headers[name] = value
        said = f"the header names the deployment {self.shown(value)}"
        said = f"the header {name} is left out" if value is None else said
        self.changes.append(
            Change(
                pointer="",
                field=name,
                before=self.shown(before),
                after=self.shown(value),
                by=by,
                message=said,
            )
        )

    def refuse(  # noqa: PLR0913 - what a refusal says
        self,
        pointer: str,
        field: str,
        line: Line | None,
        message: str,
        *,
        fix: str = "",
        was: object = None,
    ) -> None:
        """Refuse what a line does not allow, or without one what nothing allows."""
        by = self.scene.reason(line)
        if by is None:
            return
        self.violations.append(
            Violation(
                pointer=pointer,
                field=field,
                before=self.shown(was),
                by=by,
                message=message,
                fix=fix,
            )
        )

    def refuse_always(  # noqa: PLR0913 - what a refusal says
        self,
        pointer: str,
        field: str,
        rule: str,
        message: str,
        *,
        status: int = 403,
        unreadable: bool = False,
    ) -> None:
        """Refuse what no policy can allow.

        Args:
            pointer: Where it stands.
            field: What it is.
            rule: The name of what always holds.
            message: One sentence for a developer.
            status: The HTTP status of the answer.
            unreadable: Nobody can judge it, so it is refused in every mode.
        """
        by = self.scene.always(rule)
        by = Reason(rule=f"always.{rule}") if unreadable else by
        if by is None:
            return
        self.violations.append(
            Violation(
                pointer=pointer,
                field=field,
                before=None,
                by=by,
                message=message,
                status=status,
            )
        )

    def shown(self, value: object) -> Shown:
        """Make a value fit to be shown."""
        return self.scene.shown(value)
