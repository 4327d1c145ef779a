"""The candidate: a policy that is asked about each request, and never acts.

What goes wrong in it is told and forgotten. It is asked when the decision is made, so
that the record that is written before anything goes on holds both.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from imagegate import log
from imagegate.engine.batch import Staged
from imagegate.engine.body import Body
from imagegate.engine.candidate import decided_beside, failed_beside, refused_beside
from imagegate.engine.exchange import Ruling
from imagegate.engine.gate import Context, Gate
from imagegate.engine.quota import NOWHERE, Standing
from imagegate.engine.records import CandidateRecord
from imagegate.middleware.intake import stepwise
from imagegate.middleware.recall import Recall
from imagegate.middleware.setup import Setup

_DIGITS: Final = 3


class Candidate:
    """Asks the candidate about one request; one use.

    Args:
        setup: The middleware's parts.
        context: Who asks, when, and through which door.
        staged: The batch file that is uploaded, if one is.
    """

    def __init__(
        self, setup: Setup, context: Context, staged: Staged | None = None
    ) -> None:
        self._gate = setup.edition.candidate
        self._context = context
        self._staged = staged

    async def join(
        self,
        ruling: Ruling,
        recall: Recall,
        body: Body | None,
        headers: tuple[tuple[str, str], ...] = (),
        standing: Standing = NOWHERE,
    ) -> Ruling:
        """Return a ruling whose record tells what the candidate would have decided."""
        gate, began = self._gate, time.perf_counter()
        if gate is None:
            return ruling
        try:
            told = await self._ask(gate, ruling, recall, body, headers, standing)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing follows
            decision_id = self._context.decision_id
            place = log.place_of(error)
            log.error("imagegate.candidate_failed", decision_id=decision_id, **place)
            told = failed_beside(gate)
        took = round((time.perf_counter() - began) * 1000, _DIGITS)
        return _with(ruling, msgspec.structs.replace(told, duration_ms=took))

    def join_refusal(self, ruling: Ruling) -> Ruling:
        """Return the ruling on what nobody can judge; every policy refuses it."""
        gate = self._gate
        return ruling if gate is None else _with(ruling, refused_beside(gate))

    async def _ask(  # noqa: PLR0913, PLR0917 - as above
        self,
        gate: Gate,
        ruling: Ruling,
        recall: Recall,
        body: Body | None,
        headers: tuple[tuple[str, str], ...],
        standing: Standing,
    ) -> CandidateRecord:
        match = self._context.match
        if match is None or ruling.decision is None:
            return refused_beside(gate)
        request = self._context.asks(match, body, headers, standing=standing)
        seen = await recall.look_for(gate, request)
        lines = None
        if self._staged is not None:
            judged = await stepwise(gate.judge_lines(self._context, self._staged))
            lines = judged.decision
        request = msgspec.structs.replace(request, seen=seen, staged=lines)
        return decided_beside(gate, request, ruling.decision)


def _with(ruling: Ruling, told: CandidateRecord) -> Ruling:
    record = msgspec.structs.replace(ruling.record, candidate=told)
    return msgspec.structs.replace(ruling, record=record)
