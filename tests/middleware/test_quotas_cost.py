"""What is used up of a quota of cost: held, counted, and then what it was."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Sequence
from typing import Any

import pytest
from driving import (
    CATALOGUE,
    SSE,
    Call,
    Inner,
    Notebook,
    asking,
    event,
    gate,
    governed,
    more,
    read,
    request,
    start,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from imagegate import shipped
from imagegate.engine.gate import Gate
from imagegate.engine.records import CompletionRecord
from imagegate.quotas import MemoryQuotas, QuotasLost, Reading, Slot

pytestmark = pytest.mark.anyio

MINI = {
    "type": "image_generation",
    "model": "gpt-image-1-mini",
    "quality": "low",
    "size": "1024x1024",
}
PRICE = 5_000
"""What one of these costs at a price each, in millionths."""
CALLING = "response.image_generation_call.in_progress"
DONE = "response.output_item.done"
MADE = {"type": "image_generation_call", "result": "iVBORw0KGgo="}
MADE |= {"quality": "low", "size": "1024x1024"}


def priced(line: str = "1.00", what: str = "cost", more: str = "") -> Gate:
    rules = f"quotas: {{ {what}: {{ principal: {{ day: {line} }} }} {more} }}\n"
    return Gate(gate(rules).policy, CATALOGUE, prices=shipped.prices())


ONE = priced()
BOTH = priced(more=", images: { everyone: { day: 50 } }")
USED = {
    "input_tokens": 40,
    "input_tokens_details": {"text_tokens": 40, "image_tokens": 0},
    "output_tokens": 272,
    "output_tokens_details": {"text_tokens": 0, "image_tokens": 272},
}
PAID = 2_256
"""What that is by the prices of tokens."""


class Store(MemoryQuotas):
    """The counters of money, and a switch to turn them off."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = False
        self.highest = 0

    async def take(
        self, slots: Sequence[Slot], places: Sequence[str], now: float
    ) -> Sequence[Reading]:
        if self.failing:
            raise QuotasLost("down")
        return await super().take(slots, places, now)

    @property
    def used(self) -> int:
        return sum(n for (name, _), (n, _) in self._used.items() if "cost" in name)

    @property
    def held(self) -> int:
        held = (each for name, each in self._held.items() if "cost" in name)
        return sum(worth for each in held for _, worth in each.values())


@pytest.fixture
def store() -> Store:
    return Store()


async def ask(app: Any, store: Store, audit: Notebook, **more: Any) -> Call:
    inner = governed(app, audit, by=more.pop("by", ONE), quotas=store)
    scope = request(more.pop("method", "POST"), more.pop("path", "/v1/responses"))
    return await Call(inner, scope, (more.pop("body", asking(MINI)),)).whole()


def told(status: str, *output: Any, **more: Any) -> Inner:
    said = {"id": "resp_1", "object": "response", "status": status}
    return Inner(json.dumps({**said, "output": [*output], **more}).encode())


def image(number: int = 0, **more: Any) -> dict[str, Any]:
    return {**MADE, "id": f"ig_{number}", "status": "completed", **more}


def costs(audit: Notebook) -> list[str | None]:
    ends = [each for each in audit.records if isinstance(each, CompletionRecord)]
    return [each.cost_amount for each in ends]


@pytest.mark.parametrize(
    ("output", "more", "used", "cost"),
    [
        ((image(),), {}, PRICE, "0.005"),
        ((image(),), {"tool_usage": {"image_gen": USED}}, PAID, "0.002256"),
        ((image(0), image(1), image(2)), {}, 3 * PRICE, "0.015"),
        ((image(size="2000x1000"),), {}, PRICE, None),  # nobody says at what price
        ((image(result=None, status="failed"),), {}, 0, None),
        ((), {}, 0, None),
    ],
    ids=["each", "usage", "three", "unknown", "failed", "text"],
)
@pytest.mark.parametrize("by", [ONE, BOTH], ids=["alone", "with-images"])
async def test_an_answer_counts_for_what_is_on_record(  # noqa: PLR0913, PLR0917 - a table
    store: Store,
    audit: Notebook,
    by: Gate,
    output: Any,
    more: Any,
    used: int,
    cost: Any,
) -> None:
    await ask(told("completed", *output, **more), store, audit, by=by)

    assert (store.used, store.held) == (used, 0)
    assert costs(audit) == [cost]


async def test_an_image_counts_for_its_price_until_its_cost_is_known(
    store: Store, audit: Notebook
) -> None:
    going = [asyncio.Event() for _ in range(3)]
    pieces = [
        event("response.created", response={"id": "resp_1", "status": "in_progress"}),
        event(CALLING, item_id="ig_0", output_index=0),
        event(CALLING, item_id="ig_1", output_index=1),
    ]
    whole: dict[str, Any] = {"id": "resp_1", "status": "completed"}
    whole |= {"output": [image(0), image(1)], "tool_usage": {"image_gen": USED}}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await read(receive)
        await start(send, SSE)
        for piece, gate_ in zip(pieces, going, strict=True):
            await more(send, piece)
            await gate_.wait()
        await more(send, event("response.completed", response=whole), last=True)

    seen = []
    async with Call(governed(app, audit, by=ONE, quotas=store)) as call:
        await call.next()
        for gate_ in going:
            await call.next()
            seen.append((store.used, store.held))
            gate_.set()
        await call.next()
        await call.done()

    # The request of `Call` names no size: the dearest of its quality.
    assert seen == [(0, 6_000), (6_000, 0), (12_000, 0)]
    assert (store.used, store.held) == (PAID, 0)
    assert costs(audit) == ["0.002256"]


@pytest.mark.parametrize("made", [0, 1])
async def test_what_broke_off_counts_for_its_price(
    store: Store, audit: Notebook, made: int
) -> None:
    """The provider goes on, and is paid."""
    pieces = [event(CALLING, item_id=f"ig_{n}", output_index=n) for n in range(2)]
    pieces += [
        event(DONE, item=image(n), output_index=n, type=DONE) for n in range(made)
    ]

    await ask(Inner(*pieces, headers=[SSE]), store, audit)

    assert (store.used, store.held) == (2 * PRICE, 0)


async def test_what_cannot_be_read_counts_for_one_image(
    store: Store, audit: Notebook
) -> None:
    strange = (b"content-type", b"text/html")

    await ask(Inner(b"<p>", headers=[strange]), store, audit)

    assert (store.used, store.held) == (PRICE, 0)


@pytest.mark.parametrize("missing", [1, 6, 60, 90])
async def test_pictures_that_broke_off_count_for_all_that_were_asked_for(
    store: Store, audit: Notebook, missing: int
) -> None:
    """Whoever leaves before the last byte has them, and the provider is paid."""
    said = {**MINI, "prompt": "cats", "n": 4}
    body = json.dumps({k: v for k, v in said.items() if k != "type"}).encode()
    whole = json.dumps({"created": 1, "data": [{"b64_json": "aGk="}] * 4}).encode()
    cut = Inner(whole[:-missing])

    await ask(cut, store, audit, body=body, path="/v1/images/generations")

    assert (store.used, store.held) == (4 * PRICE, 0)


async def test_what_nobody_expected_counts_too(store: Store, audit: Notebook) -> None:
    """For what is on record, or else for the dearest that is known."""
    text = asking(MINI, tool_choice="none")
    await ask(told("completed", image()), store, audit, body=text)
    assert store.used == PRICE

    await ask(told("completed", image(quality="max")), store, audit, body=text)
    assert store.used == PRICE + 250_000


async def test_what_is_refused_holds_nothing(store: Store, audit: Notebook) -> None:
    blocked = await ask(
        Inner(), store, audit, body=asking({**MINI, "model": "gpt-image-2"})
    )
    unpriced = await ask(
        Inner(), store, audit, by=Gate(ONE.policy, CATALOGUE)
    )  # there is no table

    assert (blocked.status, unpriced.status) == (403, 403)
    assert unpriced.code == "price_unknown"
    assert (store.used, store.held) == (0, 0)


async def test_an_outage_refuses_what_could_cost(store: Store, audit: Notebook) -> None:
    store.failing = True

    image_, text = (
        await ask(Inner(), store, audit),
        await ask(Inner(), store, audit, body=asking()),
    )

    assert (image_.status, image_.code, text.status) == (503, "quota_unknown", 200)


async def test_an_observed_quota_of_cost_counts_and_refuses_nobody(
    store: Store, audit: Notebook
) -> None:
    by = priced("{ max: 0.004, mode: observe }")
    for _ in range(2):
        call = await ask(told("completed", image()), store, audit, by=by)
        assert call.status == 200

    assert (store.used, store.held) == (2 * PRICE, 0)
    assert [len(each.observed) for each in decisions(audit)] == [1, 1]


def decisions(audit: Notebook) -> list[Any]:
    return [each for each in audit.records if hasattr(each, "observed")]


@pytest.mark.parametrize(
    ("more", "used"),
    [
        ({}, 2 * PRICE),
        ({"tool_usage": {"image_gen": USED}}, 2 * PRICE),
        ({"tool_usage": {"image_gen": USED}, "tools": [MINI]}, PAID),
    ],
    ids=["unknown", "of-no-model", "usage"],
)
async def test_the_background_holds_its_price_until_it_is_read(
    store: Store, audit: Notebook, more: Any, used: int
) -> None:
    body = asking(MINI, background=True)
    await ask(told("queued", background=True), store, audit, body=body)
    assert (store.used, store.held) == (0, PRICE)

    again = {"body": b"", "path": "/v1/responses/resp_1", "method": "GET"}
    await ask(told("in_progress", background=True), store, audit, **again)
    assert (store.used, store.held) == (0, PRICE)
    whole = told("completed", image(0), image(1), background=True, **more)
    for _ in range(3):
        await ask(whole, store, audit, **again)
        assert (store.used, store.held) == (used, 0)


async def leaves_a_background_stream(
    store: Store, audit: Notebook, by: Gate = ONE
) -> None:
    waiting = {"id": "resp_1", "status": "queued", "background": True, "output": []}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await read(receive)
        await start(send, SSE)
        await more(send, event("response.created", response=waiting))
        await more(send, event(CALLING, item_id="ig_0", output_index=0))
        await asyncio.Event().wait()

    body = asking(MINI, background=True, stream=True)
    inner = governed(app, audit, by=by, quotas=store)
    async with Call(inner, request(), (body,)) as call:
        for _ in range(3):
            await call.next()
        call.leave()
        await call.done()
    assert (store.used, store.held) == (0, 2 * PRICE)


@pytest.mark.parametrize("made", [3, 0])
@pytest.mark.parametrize("by", [ONE, BOTH], ids=["alone", "with-images"])
async def test_what_began_in_sight_is_paid_once(
    store: Store, audit: Notebook, by: Gate, made: int
) -> None:
    await leaves_a_background_stream(store, audit, by)

    whole = told("completed", *map(image, range(made)), background=True)
    again = {"body": b"", "path": "/v1/responses/resp_1", "method": "GET"}
    for _ in range(2):
        await ask(whole, store, audit, by=by, **again)

    assert (store.used, store.held) == (made * PRICE, 0)


EVENING = datetime.datetime(2026, 11, 21, 23, 59, 50, tzinfo=datetime.UTC)


class Clock(datetime.datetime):
    """A clock that stands still."""

    at = EVENING

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        del tz
        return cls.at


async def test_what_ends_in_another_window_is_counted_there(
    store: Store, audit: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its record is, by which an auditor counts."""
    monkeypatch.setattr(Clock, "at", EVENING)
    monkeypatch.setattr("imagegate.middleware.tally.datetime.datetime", Clock)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await read(receive)
        await start(send, SSE)
        await more(send, event(CALLING, item_id="ig_0", output_index=0))
        Clock.at = EVENING + datetime.timedelta(seconds=20)
        whole = {"id": "resp_1", "status": "completed", "output": [image()]}
        await more(send, event("response.completed", response=whole), last=True)

    await ask(app, store, audit)

    windows = {window: number for (_, window), (number, _) in store._used.items()}
    today = int(EVENING.replace(hour=0, minute=0, second=0).timestamp())
    assert windows == {today: 0, today + 86_400: PRICE}


async def test_what_began_yesterday_gives_nothing_back_today(
    store: Store, audit: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs less than it was held for; that is no credit for what others spend."""
    monkeypatch.setattr(Clock, "at", EVENING)
    monkeypatch.setattr("imagegate.middleware.tally.datetime.datetime", Clock)
    await leaves_a_background_stream(store, audit)
    Clock.at = EVENING + datetime.timedelta(seconds=20)
    await ask(told("completed", image(0)), store, audit)

    usage = {"tool_usage": {"image_gen": USED}, "tools": [MINI]}
    whole = told("completed", image(0), background=True, **usage)
    again = {"body": b"", "path": "/v1/responses/resp_1", "method": "GET"}
    await ask(whole, store, audit, **again)

    windows = {window: number for (_, window), (number, _) in store._used.items()}
    today = int(EVENING.replace(hour=0, minute=0, second=0).timestamp())
    assert windows == {today: 0, today + 86_400: PRICE + PAID}
    assert store.held == 0


async def many(store: Store, sizes: Sequence[int], most: int) -> list[int | None]:
    """Ask for so many images at once, by as many requests."""
    audit, by = Notebook(), priced(f"{most / 1_000_000:f}")
    going = asyncio.Event()

    def answering(made: int) -> Any:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await going.wait()
            await told("completed", *map(image, range(made)))(scope, receive, send)

        return app

    asked = [asyncio.create_task(ask(answering(n), store, audit, by=by)) for n in sizes]
    for _ in range(200):
        await asyncio.sleep(0)
    store.highest = store.held
    going.set()
    return [(await each).status for each in asked]


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 3), min_size=1, max_size=8),
    places=st.integers(1, 10),
)
def test_no_more_is_spent_than_the_limit_and_what_is_in_flight(
    sizes: list[int], places: int
) -> None:
    """Each request that is let in may make more images than the one it holds."""
    store, most = Store(), places * PRICE

    statuses = asyncio.run(many(store, sizes, most))

    admitted = [n for n, status in zip(sizes, statuses, strict=True) if status == 200]
    assert store.highest <= most
    assert len(admitted) == min(len(sizes), places)
    assert (store.used, store.held) == (sum(admitted) * PRICE, 0)
