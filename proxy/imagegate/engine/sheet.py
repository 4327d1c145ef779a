"""One image tool while it is judged: as it came, as it is left, and why.

It makes the changes that others decide on, in a copy of the tool, and notes each
with its place, its edit and its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from imagegate.engine.catalogue import Unstated
from imagegate.engine.decision import Change, JudgedTool, Reason, Shown, Violation
from imagegate.engine.models import row_of
from imagegate.engine.objections import Objection, default_of
from imagegate.engine.paths import Path, copy, get, put, remove
from imagegate.engine.policy import Line
from imagegate.engine.scene import PATHS, Scene, name_of, reason_of
from imagegate.engine.settle import Scalar, spell
from imagegate.engine.strict import join
from imagegate.engine.value import DELETE, Edit


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """An image tool as it came.

    Attributes:
        pointer: Where it is; empty when the body itself is the request.
        carrier: What kind of place that is.
        values: Its members, decoded.
        deployment: The deployment that a header names, on Azure.
    """

    pointer: str
    carrier: str
    values: Mapping[str, Any]
    deployment: str | None = None


class Sheet:
    """What is noted about one tool; one use.

    Attributes:
        asked_model: The model that the tool or a header names.
        final: The tool as it is left.
        written: The line behind each member that was written.
    """

    def __init__(self, scene: Scene, tool: Asked) -> None:
        self.scene = scene
        self.tool = tool
        self.final: dict[str, Any] = copy(tool.values)
        asked = tool.values.get("model")
        self.asked_model = tool.deployment if asked is None else asked
        self.changes: dict[str, Change] = {}
        self.violations: list[Violation] = []
        self.edits: dict[str, Edit] = {}
        self.written: dict[str, Line] = {}
        self.deprecated: list[str] = []
        self.unknown = 0
        self.unverified: list[str] = []

    def write(self, path: Path, value: Scalar | None, line: Line, message: str) -> None:
        """Note a change: the value goes into the tool, or the member goes."""
        if value is None:
            remove(self.final, path)
        else:
            put(self.final, path, spell(value))
        pointer = self._pointer(path)
        self.written[name_of(path)] = line
        above = next(filter(self._is_odd, _above(path)), None)
        if above is None:
            encoded = DELETE if value is None else msgspec.json.encode(spell(value))
            self.edits[pointer] = (pointer, encoded)
        else:
            # A list where an object belongs cannot take a member: it goes as well.
            place = self._pointer(above)
            encoded = msgspec.json.encode(get(self.final, above))
            self.edits[place] = (place, encoded)
        self.changes[pointer] = Change(
            pointer=self._told_pointer(path),
            field=name_of(path),
            before=self.scene.shown(get(self.tool.values, path)),
            after=self.scene.shown(value),
            by=reason_of(line),
            message=message,
        )

    def _pointer(self, path: Path) -> str:
        pointer = self.tool.pointer
        for step in path:
            pointer = join(pointer, step)
        return pointer

    def _is_odd(self, path: Path) -> bool:
        return not isinstance(get(self.tool.values, path), Mapping | None)

    def refuse(  # noqa: PLR0913 - what a refusal says
        self,
        path: Path,
        value: object,
        line: Line | None,
        message: str,
        *,
        fix: str = "",
        allowed: tuple[Shown, ...] = (),
    ) -> None:
        """Refuse a value, by a line or by what always holds."""
        by = self.scene.reason(line)
        if by is None:
            return
        if not fix and allowed:
            fix = f"set `{name_of(path)}` to {allowed[0]}"
        self.violations.append(
            Violation(
                pointer=self._told_pointer(path),
                field=name_of(path),
                before=self.scene.shown(value),
                by=by,
                message=message,
                fix=fix,
                allowed=allowed,
            )
        )

    def object(self, objection: Objection) -> None:
        """Refuse what the policy would leave illegal."""
        path = tuple(objection.field.split("."))
        fix = "ask for a combination that this model takes"
        if objection.remedy == "omit":
            fix = f"leave out `{objection.field}`"
        self.violations.append(
            Violation(
                pointer=self._told_pointer(path),
                field=objection.field,
                before=self.scene.shown(get(self.tool.values, path)),
                by=Reason(rule=f"catalogue.{objection.rule}"),
                message=f"{objection.message}, as the policy leaves it",
                fix=fix,
            )
        )

    def _told_pointer(self, path: Path) -> str:
        return f"{self.tool.pointer}/{name_of(path).replace('.', '/')}"

    def report(self) -> JudgedTool:
        """Say what was asked, what that meant, and what is sent."""
        asked = self.asked_model
        asked_row = row_of(self.scene, asked) if isinstance(asked, str) else None
        requested: dict[str, Shown] = {}
        effective: dict[str, Shown] = {}
        enforced: dict[str, Shown] = {}
        for name, path in PATHS.items():
            was, sent = get(self.tool.values, path), get(self.final, path)
            if name == "model":
                # A header can name it as well.
                was, sent = asked, self.final.get("model", self.tool.deployment)
            if was is not None:
                requested[name] = effective[name] = self.scene.shown(was)
            else:
                known = default_of(self.scene.provider, asked_row, name)
                if known is not None and not isinstance(known, Unstated):
                    effective[name] = self.scene.shown(known)
            if sent is not None:
                enforced[name] = self.scene.shown(sent)
        return JudgedTool(
            pointer=self.tool.pointer,
            carrier=self.tool.carrier,
            requested=requested,
            effective=effective,
            enforced=enforced,
            deprecated=tuple(self.deprecated),
            unknown=self.unknown,
            unverified=tuple(self.unverified),
            mask=self.tool.values.get("input_image_mask") is not None,
        )


def _above(path: Path) -> Iterator[Path]:
    return (path[:end] for end in range(1, len(path)))
