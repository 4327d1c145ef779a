"""What an answer says, event by event: the records it earns, and its totals.

It decides whether a contradiction ends the answer, and stops nothing itself. The
line is the first sign of an image call: before it nothing is paid for, and a
stream is cut; from it on the image is on its way, SDKs would ask for it again,
and the contradiction is recorded for somebody to look at. A whole JSON answer
comes behind that line; one that only says `queued` can still be cancelled. An
answer that is read again was judged when it was made, perhaps under another
policy, and is never stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from imagegate.engine.decision import Shown
from imagegate.engine.echo import Findings, Mismatch, Yardstick
from imagegate.engine.events import (
    EchoedTool,
    Event,
    FinishedItem,
    ImageEvent,
    ItemAdded,
    PartialImage,
    ResponseEvent,
    StreamError,
    ToolsAdded,
    Undecodable,
)
from imagegate.engine.models import row_of
from imagegate.engine.paths import get
from imagegate.engine.prices import Cost, Made, Prices
from imagegate.engine.records import (
    MAX_ENTRIES,
    AnswerRecord,
    CompletionRecord,
    EchoRecord,
    GeneratingRecord,
    ImageRecord,
    Outcome,
    Record,
    Settings,
    ident,
    word,
)
from imagegate.engine.report import (
    common,
    echo_record,
    generating_record,
    image_record,
    usage,
)
from imagegate.engine.scene import PATHS

_GENERATING: Final = "response.image_generation_call.generating"
_ITEM_DONE: Final = "response.output_item.done"
_READ_AGAIN: Final = frozenset({"batch", "items"})
_IMAGES_DONE: Final = frozenset({"image_generation.completed", "image_edit.completed"})
_PENDING: Final = frozenset({"queued", "in_progress"})
_TURNS: Final[dict[str | None, Outcome]] = {
    "response.completed": "completed",
    "response.failed": "failed",
    "response.incomplete": "incomplete",
}
_STATES: Final[dict[str | None, Outcome]] = {
    "completed": "completed",
    "failed": "failed",
    "incomplete": "incomplete",
    "cancelled": "incomplete",
    "queued": "accepted",
    "in_progress": "accepted",
}
_OVER: Final = frozenset({"completed", "failed", "incomplete"})
_OPENING: Final = frozenset(
    {"response.created", "response.queued", "response.in_progress"}
)
"""The turns at which a stream is cut; no image is told of before them."""
_MAX_SAID: Final = 64
"""Contradictions told one by one; a provider that goes on has made its point."""


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Why an answer has to end.

    Attributes:
        because: The first of the contradictions.
        cut: The stream ends here; else the answer goes on as it came.
        cancel: The background response to be cancelled.
    """

    because: Mismatch
    cut: bool
    cancel: str | None


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What an event gives rise to."""

    records: tuple[AnswerRecord, ...] = ()
    stop: Stop | None = None


_NOTHING: Final = Taken()


class Answer:
    """What an answer said so far.

    Args:
        base: What all records share; its `replay` says that this was made before.
        streams: It comes event by event, and can be ended between two of them.
    """

    def __init__(self, base: Record, *, streams: bool = False) -> None:
        self.base = base
        self.streams = streams
        self.acting: Yardstick | None = None
        self.watched: Yardstick | None = None
        self.response_id: str | None = None
        self.prices: Prices | None = None
        self.outcome: Outcome | None = None  # by the answer's own word
        self.status: int | None = None  # by an error's own word
        self.whole = False  # told from its beginning, or once more at its end
        self.undecodable = 0
        self._unobservable = 0
        self._begun = False
        self._started: dict[str | int, None] = {}  # a set of these would take more
        self._nameless = 0  # at least so many, by pictures on the way without a name
        self._background = False
        self._model: str | None = None
        self._error: str | None = None
        self._incomplete: str | None = None
        self._usage: dict[str, int] = {}
        self._generating = 0
        self._partial = 0
        self._mismatches = 0
        self._finished: dict[str | int, bool] = {}  # whether an image was made
        self._made: dict[str | int, Made] = {}
        self._echoed: tuple[EchoedTool, ...] | None = None
        self._echo: Findings | None = None
        self._contradictions: list[Mismatch] = []

    def expect(
        self,
        acting: Yardstick,
        watched: Yardstick | None = None,
        *,
        response_id: str | None = None,
        prices: Prices | None = None,
    ) -> None:
        """Hold the answer of a request that was inspected against the rules.

        Args:
            acting: What enforces.
            watched: The same with observed rules; None where there are none.
            response_id: Of a response that is read again.
            prices: What images cost; without them no cost is estimated.
        """
        self.acting = acting
        self.watched = watched
        self.response_id = response_id
        self.prices = prices

    def take(self, event: Event, response_id: str | None = None) -> Taken:
        """Take one event.

        Args:
            event: The event.
            response_id: Of the response that the same text told, behind its items.
        """
        self.response_id = self.response_id or response_id
        match event:
            case ResponseEvent():
                return self._response(event)
            case ImageEvent():
                self._start(event.item_id, event.output_index)
                return Taken(records=tuple(self._generated(event)))
            case FinishedItem():
                return Taken(records=tuple(self._item(event)))
            case ToolsAdded():
                place = {"type": _ITEM_DONE, "sequence_number": event.sequence_number}
                found = self._measure(event.tools, added=True)
                return self._contradicted(found, place, may_stop=not event.incomplete)
            case PartialImage():
                self._start(event.item_id, event.output_index)
                self._partial += 1
            case ItemAdded():
                self._begun = True
            case StreamError():
                self.outcome = self.outcome or "failed"
                self._error = word(event.code or event.error_type)
                self.status = event.status
            case Undecodable():
                self.undecodable += 1
            case _:
                self._unobservable += 1
        return _NOTHING

    def completion(self, outcome: Outcome, **rest: Any) -> CompletionRecord:  # noqa: ANN401 - fields of the record
        """Sum up; the shell of the exchange knows the rest."""
        told = {
            **common(self.base),
            "outcome": outcome,
            "response_id": ident(self.response_id),
            "model": word(self._model),
            **self._faults(),
            **self._images(),
            **self._echoing(),
            **rest,
        }
        return CompletionRecord(**told)

    def _faults(self) -> dict[str, Any]:
        """Tell what went wrong; nearly always nothing, which costs nothing to say."""
        reasons = self._error is not None or self._incomplete is not None
        if not (reasons or self.undecodable or self._unobservable):
            return {}
        return {
            "error_code": self._error,
            "incomplete_reason": word(self._incomplete),
            "undecodable": self.undecodable,
            "unobservable": self._unobservable,
        }

    def _echoing(self) -> dict[str, Any]:
        """Tell what was echoed."""
        echo = self._echo
        told: dict[str, Any] = {"echo": self._verdict()}
        if echo is not None:
            told["echo_verified"] = _listed(echo.verified)
            told["echo_unverified"] = _listed(echo.unverified)
            told["echo_differs"] = _listed(echo.differs)
        return told

    # -- images -----------------------------------------------------------------

    def _images(self) -> dict[str, Any]:
        """Tell what was drawn, or that nothing was."""
        drawing = self._image_model()
        if not (self.started or self._finished or self._usage):
            return {"image_model": drawing}
        made = sum(self._finished.values())
        return {
            "image_model": drawing,
            "images": made,
            "images_failed": len(self._finished) - made,
            "partial_images": self._partial,
            "generating": self._generating,
            "mismatches": self._mismatches,
            "usage_image_gen": self._usage,
            **self._cost(drawing),
        }

    @property
    def started(self) -> int:
        """How many images were started; each is counted once, however it is told.

        A picture on the way may come without a name. It is the next of those that
        are told when they are finished.
        """
        return max(len(self._started), self._nameless)

    @property
    def cost(self) -> Cost | None:
        """What was spent on images, where that is known, as records tell it."""
        return self._estimate(self._image_model())

    @property
    def unpaid(self) -> int:
        """How many of the started images that cost says nothing of.

        One that failed costs nothing of its own: of what it did, usage tells.
        """
        unfinished = self.started - len(self._started.keys() & self._finished.keys())
        return max(0, unfinished) + (len(self._made) if self.cost is None else 0)

    @property
    def unread(self) -> bool:
        """Whether something in it could not be read."""
        return bool(self.undecodable or self._unobservable)

    @property
    def pending(self) -> bool:
        """Whether it goes on in the background."""
        return self._background and self.outcome not in _OVER

    def _start(self, item_id: str | None, output_index: int | None) -> None:
        self._begun = True
        name = item_id or output_index
        if name is None:
            self._nameless = len(self._finished) + 1
        else:
            self._started[name] = None

    def _generated(self, event: ImageEvent) -> Iterator[GeneratingRecord]:
        if event.type == _GENERATING:
            self._generating += 1
            settings, source = self._in_force()
            yield generating_record(
                self.base, event, self.response_id, settings, source
            )

    def _in_force(
        self,
    ) -> tuple[list[Settings], Literal["request", "echo", "unknown"]]:
        """Return the settings of the tools that may be at work."""
        measure = self.acting
        if measure is None:
            return [], "unknown"
        if self._sent_alone(measure):
            return [tool.enforced for tool in measure.sent], "request"
        echoed = [_shown(measure, tool) for tool in self._echoed or ()]
        return echoed, "echo" if echoed else "unknown"

    def _sent_alone(self, measure: Yardstick) -> bool:
        """Whether only tools that were sent are at work.

        More tools than were sent: some came along from earlier turns.
        """
        return bool(measure.sent) and len(self._echoed or ()) <= len(measure.sent)

    def _image_model(self) -> str | None:
        """Name the model that draws, where only one can."""
        if self.acting is None:
            return None
        if self.acting.drawing is not None and self._sent_alone(self.acting):
            return self.acting.drawing
        settings, _ = self._in_force()
        names = {self.acting.model(each.get("model")) for each in settings}
        if names == {None}:
            echoed = [tool.settings.get("model") for tool in self._echoed or ()]
            # Whatever else a provider says there names none, and may be a list.
            named = [name if isinstance(name, str) else None for name in echoed]
            names = {self.acting.model(name) for name in named}
        return self.acting.only(names)

    def _estimate(self, model: str | None) -> Cost | None:
        """Estimate what was spent on images, where that is known."""
        if self.prices is None or self.acting is None or model is None:
            return None
        row = row_of(self.acting.scene, model)
        names = [model, row.name] if row is not None else [model]
        made = [*self._made.values()]
        return self.prices.estimate(self.base.provider, names, self._usage, made)

    def _cost(self, model: str | None) -> dict[str, Any]:
        cost = self._estimate(model)
        if cost is None:
            return {}
        return {
            "cost_amount": cost.text,
            "cost_currency": cost.currency,
            "cost_basis": cost.basis,
            "cost_prices": cost.prices,
        }

    def _item(self, item: FinishedItem) -> Iterator[ImageRecord]:
        """Count a call once, and again only if it turns out to have an image."""
        self._begun = True
        if item.type in _IMAGES_DONE:
            self.outcome = self.outcome or "completed"
        made, key = item.has_result, self._key(item)
        over = made or item.type == _ITEM_DONE or item.error_code is not None
        known = self._finished.get(key)
        if not (over if known is None else made and not known):
            return
        self._finished[key] = made
        if made:
            self._started[key] = None
            self._made[key] = (item.quality, item.size)
        for name, count in usage(item.usage).items():
            self._usage[name] = self._usage.get(name, 0) + count
        shown, found = self._measured(item)
        self._mismatches += len(found)
        # Nobody says of which answer an item of a conversation was.
        of = item.response_id if item.type in _READ_AGAIN else self.response_id
        values = {**shown, "model": self._image_model()}
        yield image_record(self.base, item, of, values, found)

    def _key(self, item: FinishedItem) -> str | int:
        """Name a call; where the provider names none, its place does."""
        if item.item_id:
            return item.item_id
        if item.output_index is not None:
            return item.output_index
        return -1 - len(self._finished)

    def _measured(
        self, item: FinishedItem
    ) -> tuple[Mapping[str, Shown], Sequence[Mismatch]]:
        """Return what an image says of itself; nothing without words to go by."""
        if self.acting is None:
            return {}, ()
        echoed = self._echoed or ()
        found = self.acting.measure_image(item, echoed)
        if self.watched is None:
            return found.shown, found.mismatches
        seen = self.watched.measure_image(item, echoed).mismatches
        return found.shown, [*found.mismatches, *_only_observed(seen)]

    # -- responses --------------------------------------------------------------

    def _response(self, event: ResponseEvent) -> Taken:
        self._tell(event)
        found: list[Mismatch] = []
        if event.tools is not None and event.tools != self._echoed:
            self._echoed = event.tools
            found += self._measure(event.tools)
        found += self._measure(event.output_tools, added=True)
        if not found:
            return _NOTHING
        place = {"type": event.type, "sequence_number": event.sequence_number}
        opening = event.type in _OPENING
        pending = event.type == "response" and event.status in _PENDING
        may_stop = (opening or pending) and not event.incomplete
        return self._contradicted(found, place, may_stop=may_stop)

    def _tell(self, event: ResponseEvent) -> None:
        """Keep what the response says about itself."""
        json = event.type == "response"
        told = _STATES.get(event.status) if json else _TURNS.get(event.type)
        self.whole |= json or event.type in _OPENING or bool(event.output)
        self.outcome = told or self.outcome
        self.response_id = event.response_id or self.response_id
        self._background = event.background or self._background
        self._model = event.model or self._model
        self._usage = usage(event.usage) or self._usage
        self._error = word(event.error_code) or self._error
        self._incomplete = event.incomplete_reason or self._incomplete

    # -- the echo ---------------------------------------------------------------

    def _measure(
        self, tools: Sequence[EchoedTool], *, added: bool = False
    ) -> list[Mismatch]:
        """Hold echoed tools against the rules; return what was not said before."""
        if self.acting is None or (added and not tools):
            return []
        found = self.acting.measure(tools, added=added)
        self._echo = _joined(self._echo, found)
        fresh = [*found.contradictions]
        if self.watched is not None:
            seen = self.watched.measure(tools, added=added).contradictions
            fresh += _only_observed(seen)
        room = _MAX_SAID - len(self._contradictions)
        fresh = [item for item in fresh if item not in self._contradictions][:room]
        self._contradictions += fresh
        return fresh

    def _contradicted(
        self, found: Sequence[Mismatch], place: dict[str, Any], *, may_stop: bool
    ) -> Taken:
        if not found:
            return _NOTHING
        stop = None
        acting = [item for item in found if not _is_observed(item)]
        if acting and may_stop and not self._begun and not self.base.replay:
            stop = self._stop(acting[0])
        action: Literal["cut", "cancel", "recorded"] = "recorded"
        if stop is not None:
            action = "cut" if stop.cut else "cancel"
        place = {**place, "response_id": ident(self.response_id)}
        record: EchoRecord = echo_record(self.base, place, action, found)
        return Taken(records=(record,), stop=stop)

    def _stop(self, because: Mismatch) -> Stop | None:
        cancel = self.response_id if self._background else None
        if not self.streams and cancel is None:
            return None
        return Stop(because=because, cut=self.streams, cancel=cancel)

    def _verdict(
        self,
    ) -> Literal["verified", "unverified", "contradicted", "absent", "unchecked"]:
        if self.acting is None or self.acting.scene.images_api:
            return "unchecked"
        if self._echo is None:
            return "absent"
        if self._echo.contradictions:
            return "contradicted"
        open_ = self._echo.unverified - self.acting.server_only
        return "unverified" if open_ else "verified"


def _joined(one: Findings | None, other: Findings) -> Findings:
    """Join what two echoes said; later ones often leave out what earlier ones had."""
    if one is None or one is other:
        return other
    verified = one.verified | other.verified
    differs = one.differs | other.differs
    return Findings(
        contradictions=one.contradictions or other.contradictions,
        verified=verified - differs,
        unverified=(one.unverified | other.unverified) - verified - differs,
        differs=differs,
    )


@lru_cache(256)
def _listed(names: frozenset[str]) -> tuple[str, ...]:
    """List names of settings, which are the same for every answer."""
    return tuple(sorted(names)[:MAX_ENTRIES])


def _is_observed(item: Mismatch) -> bool:
    return item.by is not None and item.by.mode == "observe"


def _only_observed(found: Iterable[Mismatch]) -> list[Mismatch]:
    return [item for item in found if _is_observed(item)]


def _shown(measure: Yardstick, tool: EchoedTool) -> Settings:
    found = {name: get(tool.settings, path) for name, path in PATHS.items()}
    return {
        name: measure.shown(value) for name, value in found.items() if value is not None
    }
