"""Where tools are judged; the same tool is judged once."""

from __future__ import annotations

from imagegate.engine.body import Tool
from imagegate.engine.judge import Verdict, judge_tool
from imagegate.engine.scene import Scene
from imagegate.engine.sheet import Asked
from imagegate.engine.value import Piece

MAX_VERDICTS = 1_024
"""How many judged tools are remembered, for each kind of principal."""
MAX_REMEMBERED = 2_048
"""A longer tool carries a mask, and is not the same twice."""


class Bench:
    """Judges tools, and remembers.

    An application sends the same few tools with every request. A verdict depends
    on nothing but what is in the key.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._verdicts: dict[tuple[str, str, str | None, bytes], Verdict] = {}

    def judge(self, tool: Tool, carrier: str, deployment: str | None) -> Verdict:
        """Judge a tool, or remember the verdict."""
        pieces: list[Piece] = []
        tool.value.write(pieces)
        spelling = b"".join(pieces)
        key = (tool.pointer, carrier, deployment, spelling)
        found = self._verdicts.get(key)
        if found is None:
            asked = Asked(
                pointer=tool.pointer,
                carrier=carrier,
                values={name: value.plain() for name, value in tool.members.items()},
                deployment=deployment,
            )
            found = judge_tool(self.scene, asked)
            if len(spelling) <= MAX_REMEMBERED:
                if len(self._verdicts) >= MAX_VERDICTS:
                    self._verdicts.clear()
                self._verdicts[key] = found
        return found
