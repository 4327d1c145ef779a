"""The tools of a request, wherever they stand, and the choice among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from imagegate.engine.allowance import Spent, refuse_spent, spent_images, strips
from imagegate.engine.bench import Bench
from imagegate.engine.body import IMAGE_TOOL, Body, Tool
from imagegate.engine.choice import Repair, repair_choice
from imagegate.engine.counts import judge_calls
from imagegate.engine.deployment import header_of, judge_header, judge_idle
from imagegate.engine.notes import Notes
from imagegate.engine.policy import Line
from imagegate.engine.request import Request
from imagegate.engine.rulebook import count_of

MOST: Final = 100
"""More image tools than these are refused unread: each takes time to judge."""
_NAMED = f"the image tool is `{IMAGE_TOOL}`"


def judge_tools(notes: Notes, bench: Bench, request: Request, body: Body) -> None:
    """Judge every tool that makes images, or that somebody may take for one."""
    _Judging(notes, bench, request).run(body)


class _Judging:
    """The judging of one request's tools; one use."""

    def __init__(self, notes: Notes, bench: Bench, request: Request) -> None:
        self.notes = notes
        self.bench = bench
        self.request = request
        self.root = "/definition" if request.match.door.reading == "agent" else ""
        self.count = 0  # of image tools
        self.word, self.line = notes.scene.book.rules.stance("tool")

    def run(self, body: Body) -> None:
        tools = self._image_tools(body)
        spent = self._spent(body)
        asked = header_of(self.notes, self.request)
        if self.word == "block":
            for kind, tool in tools:
                self.notes.tell(self.bench.judge(tool, kind, asked))
                self._refuse(tool.pointer)
        elif self.word == "strip" and self.line is not None:
            for kind, tool in tools:
                self.notes.tell(self.bench.judge(tool, kind, asked))
            self._strip(body, tools, self.line)
        else:
            self._judge_settings(tools, asked)
        chosen = self._judge_choice(body, _with_emptied(body, tools))
        brought = bool(tools) or chosen
        if self.request.is_answered:
            kept = brought and self.word == "allow"
            judge_calls(self.notes, self.request, body, brought=kept)
        if self.word == "strip" or (self.word == "block" and not brought):
            judge_idle(self.notes, asked, self.word, self.line)
        refuse_spent(self.notes, spent, tools[0][1].pointer if tools else "")

    def _refuse(self, pointer: str) -> None:
        """Refuse the image tool as such."""
        said = "image generation is not allowed"
        fix = "leave out the image_generation tool"
        self.notes.refuse(pointer, "type", self.line, said, fix=fix)

    def _spent(self, body: Body) -> tuple[Spent, ...]:
        """Return the quotas to refuse for; where it helps, the tools go instead."""
        spent: tuple[Spent, ...] = ()
        if self.word == "allow":
            spent = spent_images(self.notes, self.request, body)
        if spent and strips(spent, self.request, body):
            self.word, self.line, spent = "strip", spent[0].line, ()
        return spent

    def _image_tools(self, body: Body) -> list[tuple[str, Tool]]:
        found: list[tuple[str, Tool]] = []
        for carrier in body.carriers:
            for tool in carrier.tools:
                if tool.suspicious_type:
                    said = f"the type of this tool is not exactly a known one; {_NAMED}"
                    pointer = f"{tool.pointer}/type"
                    self.notes.refuse_always(pointer, "type", "tool_type", said)
                elif tool.is_image:
                    found.append((carrier.kind, tool))
        self.count = len(found)
        if self.count > MOST:
            said = f"{self.count} image tools in one request: {MOST} can be judged"
            at = found[MOST][1].pointer
            self.notes.refuse_always(at, "tools", "tools", said, unreadable=True)
        return found[:MOST]

    def _strip(self, body: Body, tools: Sequence[tuple[str, Tool]], line: Line) -> None:
        """Take the tools out, and namespaces that hold nothing else.

        Of an array of tools it is documented that it may be empty; of a namespace
        it is not, and one without tools means nothing.
        """
        stripped = [tool.pointer for _, tool in tools]
        emptied = sorted(_with_emptied(body, tools) - {*stripped})
        said = "the image_generation tool is left out"
        for pointer in stripped:
            self.notes.change(pointer, "tool", line, said, before=IMAGE_TOOL)
        said = "the namespace, which held nothing else, is left out"
        for pointer in emptied:
            self.notes.change(pointer, "tool", line, said, before="namespace")

    def _judge_settings(self, tools: list[tuple[str, Tool]], asked: str | None) -> None:
        limit = self.notes.scene.book.limit("tools")
        if limit is not None and self.count > count_of(limit.value):
            at = tools[min(count_of(limit.value), MOST - 1)][1].pointer
            said = f"{self.count} image tools in one request: {count_of(limit.value)}"
            fix = "send the tools in requests of their own"
            self.notes.refuse(at, "tools", limit, f"{said} allowed", fix=fix)
        verdicts = []
        for kind, tool in tools:
            verdict = self.bench.judge(tool, kind, asked)
            if kind in ("namespace", "unknown") and self.notes.scene.book.always:
                said = "an image tool has no place here; move it to the tools array"
                self.notes.refuse_always(tool.pointer, "type", "carrier", said)
                self.notes.tell(verdict)
                continue
            verdicts.append(self.notes.take(verdict))
        match = self.request.match
        # A definition is stored; what calls it later brings the header itself.
        if match.family.provider == "azure" and match.door.reading != "agent":
            judge_header(self.notes, asked, verdicts)

    def _judge_choice(self, body: Body, found: set[str]) -> bool:
        """Judge `tool_choice`, and repair it where the tool it names has gone.

        Returns:
            Whether it names the image tool.
        """
        left = [
            tool
            for carrier in body.carriers
            for tool in carrier.tools
            if carrier.kind != "unknown" and tool.pointer not in found
        ]
        pointer = f"{self.root}/tool_choice"
        repair = repair_choice(
            body, pointer, stripped=self.word == "strip", left=len(left)
        )
        for place in repair.disguised:
            said = f"this type is not exactly a known one; {_NAMED}"
            self.notes.refuse_always(place, "type", "tool_type", said)
        for place in () if repair.edits else repair.settings:
            said = "a choice names the image tool by its type and nothing else"
            self.notes.refuse_always(place, "tool_choice", "choice_settings", said)
        if repair.names_image and self.word == "block" and not found:
            self._refuse(pointer)
        if self.line is not None:
            self._repair(repair, self.line)
        return repair.names_image

    def _repair(self, repair: Repair, line: Line) -> None:
        for place, edit in repair.edits:
            self.notes.change(
                place,
                "tool_choice",
                line,
                "tool_choice no longer asks for a tool that is left out",
                before=IMAGE_TOOL if repair.names_image else "required",
                edit=edit,
            )


def _with_emptied(body: Body, tools: Sequence[tuple[str, Tool]]) -> set[str]:
    """Return the places of image tools, and of namespaces that hold nothing else."""
    gone = {tool.pointer for _, tool in tools}
    inner_first = sorted(body.carriers, key=lambda each: -len(each.pointer))
    for carrier in inner_first:
        held = [tool.pointer for tool in carrier.tools]
        if carrier.kind == "namespace" and held and gone.issuperset(held):
            gone.add(carrier.pointer.removesuffix("/tools"))
    return gone
