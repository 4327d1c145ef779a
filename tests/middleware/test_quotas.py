"""What is used up of a quota: what starts, once, by whichever way it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from driving import (
    CREATED,
    DELTA,
    GENERATING,
    IMAGE,
    JSON,
    SSE,
    STREAM,
    TOOL,
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
    soon,
    start,
)
from starlette.types import Receive, Scope, Send
from talking import GENERATING as CALLING
from talking import Provider, accepted, connected

from imagegate.engine.policy import ANONYMOUS, Principal
from imagegate.engine.quota import Outage
from imagegate.engine.records import DecisionRecord, Record
from imagegate.quotas import (
    MemoryQuotas,
    Quotas,
    QuotasLost,
    Reading,
    Slot,
)
from imagegate.seen import MemorySeen, Sight

pytestmark = pytest.mark.anyio

IMAGES = "quotas: {{ images: {{ principal: {{ day: {} }} }} }}\n"
TWO = gate(IMAGES.format(2))
STRIP = gate(IMAGES.format("{ max: 2, otherwise: strip }"))
STATE = "state: { previous_response: seen }\n"
TEXT = asking()
PAINTED = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "output": [
        {"id": f"ig_{n}", "type": "image_generation_call", "result": "iVBORw0KGgo="}
        for n in range(2)
    ],
}


class Store(MemoryQuotas):
    """The counters of everybody together, and a switch to turn them off."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = False
        self.took = 0

    async def take(
        self, slots: Sequence[Slot], places: Sequence[str], now: float
    ) -> Sequence[Reading]:
        self.took += 1
        if self.failing:
            raise QuotasLost("down")
        return await super().take(slots, places, now)

    @property
    def used(self) -> int:
        return sum(number for number, _ in self._used.values())

    @property
    def held(self) -> int:
        return sum(map(len, self._held.values()))


@pytest.fixture
def store() -> Store:
    return Store()


async def ask(  # noqa: PLR0913 - what differs between the tests
    app: Any,
    store: Quotas,
    audit: Notebook,
    *,
    body: bytes = asking(TOOL),
    by: Any = TWO,
    path: str = "/v1/responses",
    method: str = "POST",
    **more: Any,
) -> Call:
    inner = governed(app, audit, by=by, quotas=store, **more)
    scope = request(method, path)
    return await Call(inner, scope, (body,)).whole()


# -- counting -----------------------------------------------------------------------


async def test_an_image_counts_when_it_starts(store: Store, audit: Notebook) -> None:
    going = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await read(receive)
        await start(send, SSE)
        await more(send, CREATED)
        await going.wait()
        await more(send, GENERATING)
        await more(send, DELTA, last=True)

    async with Call(governed(app, audit, by=TWO, quotas=store)) as call:
        await call.next()
        await call.next()
        assert (store.used, store.held) == (0, 1)
        going.set()
        await call.next()
        assert (store.used, store.held) == (1, 0)
        await call.done()
    assert (store.used, store.held) == (1, 0)


async def test_it_counts_before_the_client_is_told(
    store: Store, audit: Notebook
) -> None:
    """A client that leaves right then has had its image counted."""
    seen: list[int] = []

    class Spying(Call):
        async def send(self, message: Any) -> None:
            if message.get("body") == GENERATING:
                seen.append(store.used)
            await super().send(message)

    await Spying(
        governed(Inner(*STREAM, headers=[SSE]), audit, by=TWO, quotas=store)
    ).whole()

    assert seen == [1]


@pytest.mark.parametrize(
    ("pieces", "kind", "used"),
    [
        (STREAM, SSE, 1),
        ((IMAGE,), JSON, 1),
        ((json.dumps(PAINTED).encode(),), JSON, 2),
        ((b'{"id":"resp_1","status":"completed","output":[]}',), JSON, 0),
        ((CREATED, DELTA), SSE, 0),
    ],
    ids=["stream", "json", "two", "text", "text-stream"],
)
async def test_what_is_told_is_counted_once(
    store: Store, audit: Notebook, pieces: Any, kind: Any, used: int
) -> None:
    """Codex attaches the tool to every turn: that makes no image yet."""
    await ask(Inner(*pieces, headers=[kind]), store, audit)

    assert (store.used, store.held) == (used, 0)


@pytest.mark.parametrize("body", [TEXT, asking(TOOL, tool_choice="none")])
async def test_an_image_counts_that_nobody_could_expect(
    store: Store, audit: Notebook, body: bytes
) -> None:
    """What a compacted history brings in, for one, shows in no request."""
    await ask(Inner(*STREAM, headers=[SSE]), store, audit, body=body)

    assert (store.used, store.held) == (1, 0)


async def test_each_picture_of_the_images_api_counts(
    store: Store, audit: Notebook
) -> None:
    body = json.dumps({"prompt": "x", "model": "gpt-image-1-mini", "n": 2}).encode()
    made = json.dumps({"created": 1, "data": [{"b64_json": "iVBORw0KGgo="}] * 2})

    call = await ask(
        Inner(made.encode()), store, audit, body=body, path="/v1/images/generations"
    )

    assert call.status == 200
    assert (store.used, store.held) == (2, 0)
    again = await ask(Inner(), store, audit, body=body, path="/v1/images/generations")
    assert (again.status, again.code) == (429, "insufficient_quota")


async def test_an_answer_that_cannot_be_read_counts_as_one(
    store: Store, audit: Notebook
) -> None:
    """Else a strange type of content would be the way around."""
    strange = (b"content-type", b"text/html")

    await ask(Inner(b"<p>", headers=[strange]), store, audit)
    await ask(Inner(b"<p>", headers=[strange], status=502), store, audit)

    assert (store.used, store.held) == (1, 0)


async def test_who_leaves_before_an_image_starts_gives_the_place_back(
    store: Store, audit: Notebook
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await read(receive)
        await start(send, SSE)
        await more(send, CREATED)
        await asyncio.Event().wait()

    async with Call(governed(app, audit, by=TWO, quotas=store)) as call:
        await call.next()
        assert store.held == 1
        call.leave()
        await call.done()

    assert (store.used, store.held) == (0, 0)


@pytest.mark.parametrize("rest", [b"", b'","size":"1024x1024"'])
async def test_who_leaves_within_the_one_event_of_a_picture_has_it(
    store: Store, audit: Notebook, rest: bytes
) -> None:
    """Of the Images API nothing comes before, and almost all of it is a picture."""
    kind = b"image_generation.completed"
    picture = b'data: {"type":"%b","b64_json":"iVBORw0KGgo%b' % (kind, b"A" * 300_000)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await read(receive)
        await start(send, SSE)
        await more(send, picture + rest)
        await asyncio.Event().wait()

    rules = gate(IMAGES.format(2) + "surface: { images_api: enforce }\n")
    inner = governed(app, audit, by=rules, quotas=store)
    body = b'{"model":"gpt-image-1-mini","prompt":"x","stream":true}'
    async with Call(inner, request(path="/v1/images/generations"), (body,)) as call:
        await call.next()
        await call.next()
        call.leave()
        await call.done()

    assert (store.used, store.held) == (1, 0)
    assert audit.events[1:] == ["image_finished", "exchange_finished"]


async def test_a_policy_without_quotas_asks_no_store(
    store: Store, audit: Notebook
) -> None:
    await ask(Inner(*STREAM, headers=[SSE]), store, audit, by=gate())
    await ask(Inner(), store, audit, body=TEXT)

    assert store.took == 0


# -- refusing -----------------------------------------------------------------------


async def test_the_third_of_two_is_refused_and_text_goes_on(
    store: Store, audit: Notebook
) -> None:
    inner = Inner(IMAGE)
    for _ in range(2):
        assert (await ask(inner, store, audit)).status == 200

    refused = await ask(inner, store, audit)

    assert (refused.status, refused.code) == (429, "insufficient_quota")
    assert refused.headers["x-should-retry"] == "false"
    assert int(refused.headers["retry-after"]) > 0
    assert len(inner.bodies) == 2
    assert (store.used, store.held) == (2, 0)
    assert (await ask(inner, store, audit, body=TEXT)).status == 200
    record = [each for each in audit.records if isinstance(each, DecisionRecord)][2]
    assert [(q.quota, q.used, q.max) for q in record.quotas] == [
        ("images.principal.day", 2, 2)
    ]
    assert record.violations[0].rule == "quotas.images.principal.day.max"


async def test_the_tool_goes_and_the_text_stays_where_the_policy_says_so(
    store: Store, audit: Notebook
) -> None:
    inner = Inner(IMAGE)
    for _ in range(3):
        assert (await ask(inner, store, audit, by=STRIP)).status == 200

    assert [bool(json.loads(body)["tools"]) for body in inner.bodies] == [
        True,
        True,
        False,
    ]
    # What the provider made all the same is counted for nobody: it had no tool.
    assert store.held == 0


async def test_what_is_refused_for_another_reason_uses_nothing_up(
    store: Store, audit: Notebook
) -> None:
    rules = gate(
        "quotas: {images: {principal: {day: 2}}, requests: {principal: {day: 2}}}"
    )
    bad = asking({**TOOL, "model": "gpt-image-2"})

    for _ in range(3):
        refused = await ask(Inner(), store, audit, body=bad, by=rules)
        assert refused.status == 403

    assert (store.used, store.held) == (0, 0)


async def test_requests_are_counted_when_they_go_on(
    store: Store, audit: Notebook
) -> None:
    rules = gate("quotas: { requests: { principal: { month: 2 } } }")

    statuses = [
        (await ask(Inner(), store, audit, body=TEXT, by=rules)).status for _ in range(4)
    ]

    assert statuses == [200, 200, 429, 429]
    assert store.used == 2


async def test_what_cannot_be_recorded_uses_nothing_up(store: Store) -> None:
    full = Notebook(refusing=lambda _: True)

    call = await ask(Inner(), store, full)

    assert call.status == 503
    assert (store.used, store.held) == (0, 0)


async def test_principals_and_teams_are_counted_apart(
    store: Store, audit: Notebook
) -> None:
    rules = gate("quotas: { images: { principal: { day: 1 }, team: { day: 2 } } }")

    async def asks(name: str, team: str) -> int | None:
        who = Principal(id=name, attributes={"team": (team,)}, verified=True)

        async def identify(scope: Scope) -> Principal:
            del scope
            return who

        made = Inner(IMAGE)
        return (await ask(made, store, audit, by=rules, identify=identify)).status

    assert await asks("ann", "a") == 200
    assert await asks("ann", "a") == 429
    assert await asks("bo", "a") == 200
    assert await asks("cy", "a") == 429
    assert await asks("cy", "b") == 200


async def test_an_observed_quota_is_recorded_and_refuses_nobody(
    store: Store, audit: Notebook
) -> None:
    rules = gate(IMAGES.format("{ max: 1, mode: observe }"))
    for _ in range(2):
        assert (await ask(Inner(IMAGE), store, audit, by=rules)).status == 200

    records = [each for each in audit.records if isinstance(each, DecisionRecord)]
    assert [len(each.observed) for each in records] == [0, 1]
    assert store.used == 2


# -- many at once -------------------------------------------------------------------


@pytest.mark.parametrize("each", [1, 3])
async def test_many_at_once_start_no_more_than_is_left_and_a_few(
    store: Store, audit: Notebook, each: int
) -> None:
    """Each request that is let in may start more images than the one it holds."""
    rules, going = gate(IMAGES.format(7)), asyncio.Event()
    asked = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal asked
        del scope
        await read(receive)
        asked += 1
        await going.wait()
        await start(send, SSE)
        for number in range(each):
            kind = "response.image_generation_call.in_progress"
            await more(send, event(kind, item_id=f"ig_{asked}_{number}"))
        await more(send, b"", last=True)

    inner = governed(app, audit, by=rules, quotas=store)
    calls = [asyncio.create_task(Call(inner).whole()) for _ in range(40)]
    async with asyncio.timeout(5):
        while sum(call.done() for call in calls) < 33:  # noqa: ASYNC110 - the refused
            await asyncio.sleep(0)
    going.set()
    statuses = [call.status for call in await soon(asyncio.gather(*calls))]

    assert statuses.count(200) == asked == 7
    assert statuses.count(429) == 33
    assert store.used == 7 * each
    assert store.held == 0


# -- the background -----------------------------------------------------------------


async def test_what_is_made_in_the_background_counts_when_it_is_read(
    store: Store, audit: Notebook
) -> None:
    def told(status: str, *output: Any) -> Inner:
        said = {"id": "resp_1", "object": "response", "status": status}
        said |= {"background": True, "output": [*output]}  # type: ignore[dict-item] # JSON
        return Inner(json.dumps(said).encode())

    body = asking(TOOL, background=True)
    await ask(told("queued"), store, audit, body=body)
    assert (store.used, store.held) == (0, 1)

    async def read_again(inner: Inner) -> None:
        await ask(
            inner, store, audit, body=b"", path="/v1/responses/resp_1", method="GET"
        )

    await read_again(told("in_progress"))
    assert (store.used, store.held) == (0, 1)
    for _ in range(3):
        await read_again(told("completed", *PAINTED["output"]))
    assert (store.used, store.held) == (2, 0)


async def test_what_goes_on_in_the_background_counts_where_nobody_learns_its_name(
    store: Store, audit: Notebook
) -> None:
    """Else whoever leaves at once has images for nothing, out of a conversation."""
    asked = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, send
        await read(receive)
        asked.set()
        await asyncio.Event().wait()

    body = asking(TOOL, background=True)
    inner = governed(app, audit, by=TWO, quotas=store)
    async with Call(inner, request(), (body,)) as call:
        async with asyncio.timeout(10):
            await asked.wait()
        call.leave()
        await call.done()

    assert (store.used, store.held) == (1, 0)


async def test_what_the_provider_refuses_to_make_in_the_background_counts_nothing(
    store: Store, audit: Notebook
) -> None:
    wrong = b'{"error":{"message":"no","code":"invalid_value"}}'
    body = asking(TOOL, background=True)

    await ask(Inner(wrong, status=400), store, audit, body=body)

    assert (store.used, store.held) == (0, 0)


def in_background(status: str, made: int = 0) -> dict[str, Any]:
    call = {"type": "image_generation_call", "result": "iVBORw0KGgo="}
    output = [{"id": f"ig_{number}", **call} for number in range(made)]
    said = {"id": "resp_1", "object": "response", "status": status, "output": output}
    return {**said, "background": True}


@pytest.mark.parametrize("told", [5, 0])
async def test_what_goes_on_behind_a_stream_that_was_left_counts_too(
    store: Store, audit: Notebook, told: int
) -> None:
    """What began in sight counts in any case, and once."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await read(receive)
        await start(send, SSE)
        await more(send, event("response.created", response=in_background("queued")))
        await more(send, event(CALLING, item_id="ig_0", output_index=0))
        await asyncio.Event().wait()

    body = asking(TOOL, background=True, stream=True)
    inner = governed(app, audit, by=TWO, quotas=store)
    async with Call(inner, request(), (body,)) as call:
        for _ in range(3):
            await call.next()
        call.leave()
        await call.done()
    assert (store.used, store.held) == (1, 1)

    over = Inner(json.dumps(in_background("completed", told)).encode())
    path: dict[str, Any] = {
        "path": "/v1/responses/resp_1",
        "method": "GET",
        "body": b"",
    }
    for _ in range(2):
        await ask(over, store, audit, **path)
        assert (store.used, store.held) == (max(told, 1), 0)


@pytest.mark.parametrize(
    "said",
    [
        Inner(b'{"error":{"message":"no","code":"unknown_parameter"}}', status=400),
        Inner(
            event("response.completed", response=in_background("completed")),
            headers=[SSE],
        ),
        Inner(event("error", error={"code": "x"}), headers=[SSE]),
    ],
    ids=["a mistake", "the rest of a stream", "an error"],
)
async def test_what_tells_not_all_of_a_background_answer_counts_nothing_for_it(
    store: Store, audit: Notebook, said: Inner
) -> None:
    """Else whoever asks wrongly first has images for nothing."""
    queued = Inner(json.dumps(in_background("queued")).encode())
    await ask(queued, store, audit, body=asking(TOOL, background=True))
    path: dict[str, Any] = {
        "path": "/v1/responses/resp_1",
        "method": "GET",
        "body": b"",
    }

    await ask(said, store, audit, **path)
    assert (store.used, store.held) == (0, 1)

    over = Inner(json.dumps(in_background("completed", 2)).encode())
    await ask(over, store, audit, **path)
    assert (store.used, store.held) == (2, 0)


@pytest.mark.parametrize(
    ("path", "asked", "kind", "key"),
    [
        ("conversations/conv_1/items", b'{"items":[]}', "list", "data"),
        ("responses/compact", TEXT, "response.compaction", "output"),
    ],
)
async def test_an_image_that_is_told_where_none_is_made_is_on_record_and_not_counted(  # noqa: PLR0913, PLR0917 - a table
    store: Store, audit: Notebook, path: str, asked: bytes, kind: str, key: str
) -> None:
    """What was made in the background may be read there first."""
    answer = Inner(json.dumps({"object": kind, key: PAINTED["output"]}).encode())

    await ask(answer, store, audit, body=asked, path=f"/v1/{path}")

    assert audit.events.count("image_finished") == 2
    assert all(record.replay for record in audit.records)
    assert (store.used, store.held) == (0, 0)


async def test_what_another_provider_calls_so_counts_nothing_for_it(
    store: Store, audit: Notebook
) -> None:
    """Some let their clients choose what a response is called."""
    queued = Inner(json.dumps(in_background("queued")).encode())
    await ask(queued, store, audit, body=asking(TOOL, background=True))
    over = Inner(json.dumps(in_background("completed", 2)).encode())
    path: dict[str, Any] = {
        "path": "/v1/responses/resp_1",
        "method": "GET",
        "body": b"",
    }

    await ask(over, store, audit, realm="/other", **path)
    assert (store.used, store.held) == (0, 1)
    await ask(over, store, audit, **path)
    assert (store.used, store.held) == (2, 0)


async def test_an_answer_that_is_read_again_counts_no_more(
    store: Store, audit: Notebook
) -> None:
    await ask(Inner(IMAGE), store, audit)
    await ask(
        Inner(IMAGE), store, audit, body=b"", path="/v1/responses/resp_1", method="GET"
    )

    assert store.used == 1


async def test_what_is_cancelled_in_the_background_gives_its_place_back(
    store: Store, audit: Notebook
) -> None:
    queued = {"id": "resp_1", "object": "response", "status": "queued"}
    body = asking(TOOL, background=True)
    said = json.dumps({**queued, "background": True}).encode()
    await ask(Inner(said), store, audit, body=body)
    assert store.held == 1

    over = json.dumps({**queued, "status": "cancelled"}).encode()
    path = "/v1/responses/resp_1/cancel"
    await ask(Inner(over), store, audit, body=b"", path=path)

    assert (store.used, store.held) == (0, 0)


# -- earlier turns ------------------------------------------------------------------


async def test_a_conversation_without_the_tool_goes_on_and_one_with_it_does_not(
    store: Store, audit: Notebook
) -> None:
    """Tools can be kept by earlier turns; what those held is known."""
    rules = gate(IMAGES.format(1) + STATE)
    text = b'{"id":"resp_t","object":"response","status":"completed"}'
    plain = Inner(text)
    inner = governed(plain, audit, by=rules, quotas=store)
    await Call(inner, request(), (TEXT,)).whole()
    plain.pieces = (IMAGE,)
    await Call(inner).whole()
    plain.pieces = (text,)
    assert store.used == 1

    async def goes_on(name: str) -> int | None:
        body = asking(previous_response_id=name)
        return (await Call(inner, request(), (body,)).whole()).status

    assert await goes_on("resp_t") == 200
    assert await goes_on("resp_1") == 429


# -- what is not known --------------------------------------------------------------


@pytest.mark.parametrize(("outage", "status"), [("refuse", 503), ("allow", 200)])
async def test_an_outage_refuses_images_or_lets_them_as_the_operator_says(
    store: Store, audit: Notebook, outage: Outage, status: int
) -> None:
    store.failing = True

    call = await ask(Inner(IMAGE), store, audit, outage=outage)

    assert call.status == status
    if status == 503:
        assert call.code == "quota_unknown"
        assert call.headers["x-should-retry"] == "true"
    assert (await ask(Inner(), store, audit, body=TEXT, outage=outage)).status == 200
    (told, *_) = [each for each in audit.records if isinstance(each, DecisionRecord)]
    assert [each.used for each in told.quotas] == [None]
    assert store.used == (1 if status == 200 else 0)


# -- WebSockets ---------------------------------------------------------------------


async def test_each_message_of_a_websocket_is_counted_and_refused_by_itself(
    store: Store, audit: Notebook
) -> None:
    provider = Provider()
    async with connected(
        audit, provider, by=gate(IMAGES.format(1)), quotas=store
    ) as client:
        await accepted(client)
        client.ask(TOOL)
        await provider.hears()
        assert (store.used, store.held) == (0, 1)
        provider.turn("created")
        provider.say(CALLING, item_id="ig_1", output_index=0)
        provider.turn("completed", status="completed")
        for _ in range(3):
            await client.hears()
        assert (store.used, store.held) == (1, 0)

        client.ask(TOOL)
        said = await client.hears()
        assert said["status"] == 429
        assert said["error"]["code"] == "insufficient_quota"
        assert said["error"]["retry_after"] > 0

        client.ask()
        await provider.hears()
        client.hang_up()
        await client.done()
    assert (store.used, store.held) == (1, 0)


async def test_a_place_is_given_back_when_the_connection_ends(
    store: Store, audit: Notebook
) -> None:
    provider = Provider()
    async with connected(audit, provider, by=TWO, quotas=store) as client:
        await accepted(client)
        client.ask(TOOL)
        await provider.hears()
        assert store.held == 1
        client.hang_up()
        await client.done()

    assert (store.used, store.held) == (0, 0)


async def test_what_cannot_be_recorded_on_a_websocket_uses_nothing_up(
    store: Store,
) -> None:
    def is_message(record: Record) -> bool:
        return getattr(record, "message_type", None) is not None

    audit, provider = Notebook(refusing=is_message), Provider()
    async with connected(audit, provider, by=TWO, quotas=store) as client:
        await accepted(client)
        client.ask(TOOL)
        assert (await client.refused())[0] == "audit_unavailable"
        client.hang_up()
        await client.done()

    assert (store.used, store.held) == (0, 0)


async def test_what_steers_a_response_with_the_tool_may_make_an_image_too(
    store: Store, audit: Notebook
) -> None:
    rules = gate(IMAGES.format(1) + STATE)
    provider = Provider()
    async with connected(audit, provider, by=rules, quotas=store) as client:
        await accepted(client)
        client.ask(TOOL)
        await provider.hears()
        provider.turn("created")
        await client.hears()
        client.write(
            {
                "type": "response.steer",
                "previous_response_id": "resp_1",
                "input": "rather blue",
            }
        )
        assert (await client.refused())[0] == "rate_limit_exceeded"
        client.hang_up()
        await client.done()


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_what_goes_on_from_what_goes_on_from_the_tool_may_make_an_image_too(
    store: Store, audit: Notebook, *, elsewhere: bool
) -> None:
    """The tool may stand in an item of the first turn, which all others go on from."""
    rules = gate(IMAGES.format(1) + STATE)
    seen, provider = MemorySeen(), Provider()
    text: dict[str, Any] = {"tool_choice": "none"}
    sight = Sight(rules.digest, ({"model": "gpt-image-1-mini", "quality": "low"},))
    await seen.note(ANONYMOUS, ["resp_0"], sight)
    state: dict[str, Any] = {"by": rules, "quotas": store, "seen": seen}
    async with connected(audit, provider, **state) as client:
        await accepted(client)
        if elsewhere:
            client.ask(previous_response_id="resp_0", **text)
        else:
            client.ask(TOOL, **text)
        for before in ("resp_1", "resp_2"):
            await provider.hears()
            for turn in ("created", "completed"):
                provider.turn(turn, before)
                await client.hears()
            client.ask(previous_response_id=before, **text)
        await provider.hears()
        assert (store.used, store.held) == (0, 0)
        for turn in ("created", "completed"):
            provider.turn(turn, "resp_3")
            await client.hears()

        client.ask(previous_response_id="resp_3")
        await provider.hears()

        assert (store.used, store.held) == (0, 1)
        client.hang_up()
        await client.done()


async def test_an_image_on_a_websocket_counts_whoever_it_belongs_to(
    store: Store, audit: Notebook
) -> None:
    """Nobody asked for it there, as far as is known; it was made for somebody."""
    provider = Provider()
    async with connected(audit, provider, by=TWO, quotas=store) as client:
        await accepted(client)
        provider.turn("created")
        provider.say(CALLING, item_id="ig_1", output_index=0)
        for _ in range(2):
            await client.hears()
        assert (store.used, store.held) == (1, 0)
        client.hang_up()
        await client.done()
    assert (store.used, store.held) == (1, 0)


async def test_an_image_that_a_late_word_on_a_response_leads_to_counts(
    store: Store, audit: Notebook
) -> None:
    rules, provider = gate(IMAGES.format(2) + STATE), Provider()
    async with connected(audit, provider, by=rules, quotas=store) as client:
        await accepted(client)
        client.ask(TOOL)
        await provider.hears()
        for turn in ("created", "completed"):
            provider.turn(turn)
            await client.hears()
        steer = {"type": "response.steer", "previous_response_id": "resp_1"}
        client.write({**steer, "input": "rather blue"})
        await provider.hears()
        assert (store.used, store.held) == (0, 1)

        provider.turn("created", "resp_2")
        provider.say(CALLING, item_id="ig_1", output_index=0)
        provider.turn("completed", "resp_2")
        for _ in range(3):
            await client.hears()
        assert (store.used, store.held) == (1, 0)
        client.hang_up()
        await client.done()
