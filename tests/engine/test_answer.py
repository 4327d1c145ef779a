"""What an answer says, event by event, and what is done about it."""

from __future__ import annotations

import datetime
import json
from typing import Any, Literal

import msgspec
import pytest

from imagegate import shipped
from imagegate.engine.answer import Answer, Stop, Taken
from imagegate.engine.body import read_body_now
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Reason
from imagegate.engine.echo import Mismatch
from imagegate.engine.events import (
    EchoedTool,
    Event,
    FinishedItem,
    ImageEvent,
    ImageUsage,
    ItemAdded,
    PartialImage,
    Payload,
    ResponseEvent,
    StreamError,
    ToolsAdded,
    Undecodable,
    Unobservable,
)
from imagegate.engine.gate import Context, Gate
from imagegate.engine.prices import Prices
from imagegate.engine.records import (
    CompletionRecord,
    EchoRecord,
    GeneratingRecord,
    ImageRecord,
    MismatchRecord,
    Record,
)
from imagegate.engine.report import common
from imagegate.engine.request import Request
from imagegate.engine.surface import Match, find_door
from imagegate.policyfile import check_policy

TODAY = datetime.date(2026, 11, 20)
CATALOGUE = shipped.catalogue()
HEAD = "version: 1\nname: answer\nowner: o@example.com\n"
SETTINGS = "settings: { quality: { max: medium, default: medium } }\n"
ENFORCE = f"{HEAD}mode: enforce\n{SETTINGS}"
OBSERVE = f"{HEAD}mode: observe\n{SETTINGS}"
TOOL = {"type": "image_generation", "quality": "low"}
BASE = Record(
    decision_id="d-1",
    policy="answer",
    policy_digest="5e",
    policy_mode="enforce",
    principal_id="anna",
    principal_source="key",
    principal_verified=True,
    provider="openai",
    transport="sse",
)
Sort = Literal["absent", "contradicted", "unchecked", "unverified", "verified"]


def answer(
    text: str = ENFORCE,
    *tools: dict[str, Any],
    path: str = "/v1/responses",
    replay: bool = False,
    streams: bool = True,
    **more: Any,
) -> Answer:
    """Decide on a request with these tools, and await its answer."""
    checked = check_policy(text.encode(), catalogue=CATALOGUE, today=TODAY)
    assert checked.policy is not None, checked.problems
    door = find_door("POST", path)
    assert isinstance(door, Match)
    body = {"model": "gpt-5", "input": "x", "tools": tools}
    if path.endswith("generations"):
        body = {"model": "gpt-image-1-mini", "prompt": "x", "quality": "low"}
    request = Request(
        match=door, date=TODAY, body=read_body_now(json.dumps(body).encode())
    )
    decision = Decider(checked.policy, CATALOGUE).decide(request)
    context = Context(decision_id="d", door=door, date=TODAY)
    gate = Gate(checked.policy, CATALOGUE)
    acting, watched = gate.yardsticks(context, door, decision.tools)
    base = msgspec.structs.replace(BASE, replay=replay)
    made = Answer(base, streams=streams)
    made.expect(acting, watched, **more)
    return made


def response(turn: str = "created", **changes: Any) -> ResponseEvent:
    """Tell of a response whose echo is that of the tool, but for the quality."""
    quality = changes.pop("quality", "low")
    tool = EchoedTool(at="tools[0]", settings={**TOOL, "quality": quality})
    said: dict[str, Any] = {"type": f"response.{turn}", "response_id": "resp_1"}
    return ResponseEvent(**{**said, "tools": (tool,), "sequence_number": 0, **changes})


def image(call: str = "generating", **changes: Any) -> ImageEvent:
    """Tell that an image is on its way."""
    said = {"sequence_number": 4, "output_index": 0, "item_id": "ig_1"}
    kind = f"response.image_generation_call.{call}"
    return ImageEvent(type=kind, **{**said, **changes})


def item(**changes: Any) -> FinishedItem:
    """Tell of a finished image."""
    said = {"type": "response.output_item.done", "item_id": "ig_1", "output_index": 0}
    return FinishedItem(**{**said, "image": Payload(length=4), **changes})


def told(to: Answer, *events: Event) -> list[Any]:
    """Take events; return all records."""
    return [record for event in events for record in to.take(event).records]


def totals(of: Answer) -> CompletionRecord:
    """Sum up."""
    return of.completion("completed")


def test_nothing_is_said_of_an_answer_that_says_nothing() -> None:
    """Not even that it had no echo, at a door where none is expected."""
    assert totals(Answer(BASE)) == CompletionRecord(
        **common(BASE), outcome="completed", echo="unchecked"
    )


# -- images ---------------------------------------------------------------------


def test_each_generating_event_has_its_record() -> None:
    """With what was sent; the events around it are only counted, or not at all."""
    to = answer(ENFORCE, TOOL)

    records = told(
        to,
        response(),
        image("in_progress"),
        image(),
        image(),
        PartialImage(type="response.image_generation_call.partial_image"),
        image("completed"),
    )

    generating = GeneratingRecord(
        **common(BASE),
        type="response.image_generation_call.generating",
        sequence_number=4,
        output_index=0,
        item_id="ig_1",
        response_id="resp_1",
        settings=({"quality": "low"},),
        settings_from="request",
    )
    assert records == [generating, generating]
    assert (totals(to).generating, totals(to).partial_images) == (2, 1)


def test_settings_that_nobody_sent_come_from_the_echo() -> None:
    """Or are not known, when there is none, or no rules to read it by."""
    echoed, silent, unseen = answer(), answer(), Answer(BASE)

    first = told(echoed, response(), image())[0]
    second = told(silent, image())[0]
    third = told(unseen, response(), image())[0]

    assert (first.settings, first.settings_from) == (({"quality": "low"},), "echo")
    assert (second.settings, second.settings_from) == ((), "unknown")
    assert (third.settings, third.settings_from) == ((), "unknown")


def test_a_tool_that_came_along_may_be_the_one_at_work() -> None:
    """More are echoed than were sent, so the echo says which there are."""
    to = answer(ENFORCE, TOOL)
    ours = EchoedTool(at="tools[0]", settings=TOOL)
    kept = EchoedTool(at="tools[1]", settings={"quality": "medium", "size": "auto"})

    (record,) = told(to, response(tools=(ours, kept)), image())

    assert record.settings_from == "echo"
    assert record.settings == (
        {"quality": "low"},
        {"quality": "medium", "size": "auto"},
    )


MINI = {**TOOL, "model": "gpt-image-1-mini"}
PRICES = shipped.prices()


@pytest.mark.parametrize(
    ("tools", "echoed", "expected"),
    [
        ([MINI], None, "gpt-image-1-mini"),
        ([MINI], [MINI], "gpt-image-1-mini"),
        ([MINI], [MINI, {**MINI, "model": "gpt-image-2"}], None),
        ([MINI, {**MINI, "model": "gpt-image-2"}], None, None),
        ([TOOL], None, None),
        ([TOOL], [{**TOOL, "model": "gpt-image-2"}], "gpt-image-2"),
        ([], [MINI], "gpt-image-1-mini"),
        ([], None, None),
        ([TOOL], [{**TOOL, "model": "skabcdef"}], None),
        ([TOOL], [{**TOOL, "model": 7}], None),
        ([TOOL], [{**TOOL, "model": ["gpt-image-2"]}], None),
        ([TOOL, TOOL], [MINI, {**TOOL, "model": {"name": "gpt-image-2"}}], None),
    ],
)
def test_the_model_is_told_where_only_one_can_have_drawn(
    tools: list[dict[str, Any]],
    echoed: list[dict[str, Any]] | None,
    expected: str | None,
) -> None:
    """By what was sent, or where that leaves it open by the echo."""
    to = answer(ENFORCE.replace("settings", "limits: { tools: 2 }\nsettings"), *tools)
    if echoed is not None:
        told(
            to,
            response(
                tools=tuple(
                    EchoedTool(at=f"tools[{n}]", settings=each)
                    for n, each in enumerate(echoed)
                )
            ),
        )

    (record,) = told(to, item())

    assert record.model == expected
    assert totals(to).image_model == expected


@pytest.mark.parametrize(
    ("model", "prices", "spent", "expected"),
    [
        ("gpt-image-1-mini", PRICES, (100, 0, 272), ("0.002376", "usage")),
        ("gpt-image-1-mini", PRICES, None, ("0.005", "per_image")),
        ("gpt-image-2-2026-04-21", PRICES, None, ("0.006", "per_image")),
        ("gpt-image-2.5-flare", PRICES, (100, 0, 272), (None, None)),
        ("gpt-image-1-mini", None, (100, 0, 272), (None, None)),
    ],
)
def test_what_images_cost_is_estimated_where_it_is_known(
    model: str,
    prices: Prices | None,
    spent: tuple[int, int, int] | None,
    expected: tuple[str | None, str | None],
) -> None:
    """By tokens where they were counted; a snapshot costs what its model does."""
    to = answer(ENFORCE, {**TOOL, "model": model}, prices=prices)
    used = spent and ImageUsage(
        input_text_tokens=spent[0], input_image_tokens=spent[1], output_tokens=spent[2]
    )
    told(to, item(quality="low", size="1024x1024"), response("completed", usage=used))

    record = totals(to)

    assert (record.cost_amount, record.cost_basis) == expected
    assert record.cost_currency == (expected[0] and "USD")
    assert record.cost_prices == (expected[0] and PRICES.date)


def test_where_nothing_is_inspected_no_cost_is_known() -> None:
    """Nobody knows what was asked."""
    unseen = Answer(BASE)
    told(unseen, item(quality="low", size="1024x1024"))

    assert totals(unseen).cost_amount is None


def test_an_image_is_counted_once_however_often_it_is_told() -> None:
    """Streams tell of it twice: when it is done, and in the response."""
    to = answer(ENFORCE, TOOL)
    again = item(type="response.completed")

    records = told(to, item(quality="high"), again, response("completed"), again)

    assert records == [
        ImageRecord(
            **common(BASE),
            type="response.output_item.done",
            sequence_number=None,
            output_index=0,
            item_id="ig_1",
            response_id=None,
            made=True,
            quality="high",
            image_bytes=3,
            mismatches=(
                MismatchRecord(
                    field="quality",
                    observed="high",
                    sent="low",
                    rule="settings.quality.max",
                    layer="baseline",
                    mode="enforce",
                ),
            ),
        )
    ]
    assert (totals(to).images, totals(to).mismatches) == (1, 1)


def test_images_without_ids_are_told_apart_by_their_place() -> None:
    """Where they have none either, each is another one."""
    to = answer(ENFORCE, TOOL)

    told(
        to,
        item(item_id=None),
        item(item_id=None),
        item(item_id=None, output_index=1),
        item(item_id=None, output_index=None),
        item(item_id=None, output_index=None),
    )

    assert totals(to).images == 4


@pytest.mark.parametrize(
    ("events", "made", "failed"),
    [
        ([item(image=None)], 0, 1),
        ([item(image=None), item(image=None)], 0, 1),
        ([item(image=None), item(type="response.completed")], 1, 0),
        ([item(type="response", image=None)], 0, 0),
        ([item(type="response", image=None, error_code="moderation_blocked")], 0, 1),
        ([item(status="generating")], 1, 0),
        ([item(status="completed", image=None)], 0, 1),
    ],
)
def test_an_image_is_known_by_its_result(
    events: list[FinishedItem], made: int, failed: int
) -> None:
    """Never by the status; one that only waits has not failed."""
    to = answer(ENFORCE, TOOL)

    told(to, *events)

    assert (totals(to).images, totals(to).images_failed) == (made, failed)


def test_a_door_that_is_not_inspected_still_has_its_images_recorded() -> None:
    """Without words to go by, no setting is shown."""
    record = told(Answer(BASE), item(quality="a cat"))[0]

    assert (record.made, record.quality, record.mismatches) == (True, None, ())


def test_the_images_api_has_usage_for_each_image() -> None:
    """They add up; the last event of its stream is an image, not a response."""
    to = answer(path="/v1/images/generations")
    done = item(
        type="image_generation.completed",
        item_id=None,
        output_index=None,
        quality="low",
        usage=ImageUsage(output_tokens=3),
    )

    records = told(to, done, done)

    assert [record.mismatches for record in records] == [(), ()]
    assert (to.outcome, totals(to).echo) == ("completed", "unchecked")
    assert totals(to).usage_image_gen == {"output_tokens": 6}


def test_an_answer_of_the_images_api_costs_what_it_says_that_all_of_it_took() -> None:
    tool = {**TOOL, "model": "gpt-image-1-mini"}
    to = answer(ENFORCE, tool, prices=PRICES, path="/v1/images/generations")
    one, two = (item(type="images", item_id=None, output_index=n) for n in (0, 1))
    used = ImageUsage(input_text_tokens=100, input_image_tokens=0, output_tokens=544)

    told(to, one, two, ResponseEvent(type="images", usage=used))

    assert (totals(to).images, totals(to).usage_image_gen["output_tokens"]) == (2, 544)
    assert (totals(to).cost_amount, totals(to).cost_basis) == ("0.004552", "usage")


def test_an_observed_rule_finds_mismatches_too() -> None:
    """As such."""
    to = answer(OBSERVE, {**TOOL, "quality": "high"})

    record = told(to, item(quality="high"))[0]

    assert [(each.rule, each.mode) for each in record.mismatches] == [
        ("settings.quality.max", "observe")
    ]


# -- what the response says about itself ----------------------------------------


@pytest.mark.parametrize(
    ("event", "field", "value"),
    [
        (StreamError(code="server_error"), "error_code", "server_error"),
        (response("incomplete", incomplete_reason="x"), "incomplete_reason", "x"),
        (Undecodable(reason="not_json", length=9), "undecodable", 1),
        (Unobservable(length=9), "unobservable", 1),
    ],
    ids=["error", "reason", "undecodable", "unobservable"],
)
def test_what_went_wrong_is_summed_up_alone_too(
    event: Event, field: str, value: object
) -> None:
    """And nothing else is said to have."""
    fields = ("error_code", "incomplete_reason", "undecodable", "unobservable")
    to = answer(ENFORCE)
    to.take(event)

    expected = {name: getattr(totals(answer(ENFORCE)), name) for name in fields}
    assert {name: getattr(totals(to), name) for name in fields} == {
        **expected,
        field: value,
    }
    assert to.unread is isinstance(event, Undecodable | Unobservable)


def test_the_response_is_summed_up() -> None:
    """The latest word counts; what it leaves out stays."""
    to = answer(ENFORCE, TOOL)

    told(
        to,
        response(model="gpt-5"),
        StreamError(error_type="server_error"),
        StreamError(code="rate limited, sorry"),
        Undecodable(reason="not_json", length=9),
        Unobservable(length=9),
        response(
            "failed",
            response_id=None,
            error_code="server_error",
            usage=ImageUsage(input_tokens=1),
        ),
        response("incomplete", incomplete_reason="max_output_tokens", tools=None),
    )

    assert totals(to) == CompletionRecord(
        **common(BASE),
        outcome="completed",
        response_id="resp_1",
        model="gpt-5",
        error_code="server_error",
        incomplete_reason="max_output_tokens",
        usage_image_gen={"input_tokens": 1},
        echo="verified",
        echo_verified=("quality",),
        undecodable=1,
        unobservable=1,
    )


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        (response("created"), None),
        (response("completed"), "completed"),
        (response("failed"), "failed"),
        (response("incomplete"), "incomplete"),
        (response(type="response", status="completed"), "completed"),
        (response(type="response", status="cancelled"), "incomplete"),
        (response(type="response", status="queued"), "accepted"),
        (response(type="response", status="in_progress"), "accepted"),
        (response(type="response", status="odd"), None),
        (StreamError(), "failed"),
    ],
)
def test_an_answer_says_how_it_ends(event: Event, outcome: str | None) -> None:
    """Whole answers by their status, streams by their last event."""
    to = answer()

    told(to, event)

    assert to.outcome == outcome


def test_a_response_told_behind_its_items_is_theirs() -> None:
    """A JSON answer is read to its end before anything is said."""
    to, again = answer(), answer(response_id="resp_0")

    first = to.take(item(), "resp_1").records[0]
    second = again.take(item(), "resp_1").records[0]

    assert (first.response_id, second.response_id) == ("resp_1", "resp_0")


# -- the echo -------------------------------------------------------------------


CONTRADICTION = MismatchRecord(
    at="tools[0]",
    field="quality",
    observed="high",
    sent="low",
    rule="settings.quality.max",
    layer="baseline",
    mode="enforce",
)
BECAUSE = Mismatch(
    at="tools[0]",
    field="quality",
    observed="high",
    sent="low",
    by=Reason(rule="settings.quality.max", layer="baseline"),
)


def echo(action: Literal["cut", "cancel", "recorded"], kind: str) -> EchoRecord:
    """Write the contradiction down."""
    return EchoRecord(
        **common(BASE),
        type=kind,
        sequence_number=0,
        response_id="resp_1",
        action=action,
        contradictions=(CONTRADICTION,),
        contradictions_count=1,
    )


@pytest.mark.parametrize("turn", ["created", "queued", "in_progress"])
def test_a_stream_is_cut_before_an_image_is_made(turn: str) -> None:
    """A background response is cancelled besides, for it would go on."""
    here = answer(ENFORCE, TOOL).take(response(turn, quality="high"))
    away = answer(ENFORCE, TOOL).take(response(turn, quality="high", background=True))

    record = echo("cut", f"response.{turn}")
    assert here == Taken(
        records=(record,), stop=Stop(because=BECAUSE, cut=True, cancel=None)
    )
    assert away == Taken(
        records=(record,), stop=Stop(because=BECAUSE, cut=True, cancel="resp_1")
    )


@pytest.mark.parametrize(
    "begun",
    [
        image("in_progress"),
        PartialImage(type="response.image_generation_call.partial_image"),
        ItemAdded(item_id="ig_1"),
        item(),
    ],
    ids=lambda event: type(event).__name__,
)
def test_a_stream_is_not_cut_once_an_image_is_on_its_way(begun: Event) -> None:
    """It is paid for; clients would only ask for it again."""
    to = answer(ENFORCE, TOOL)
    told(to, begun)

    taken = to.take(response("in_progress", quality="high"))

    assert taken == Taken(records=(echo("recorded", "response.in_progress"),))


@pytest.mark.parametrize("turn", ["completed", "failed", "incomplete"])
def test_a_stream_is_not_cut_at_its_end(turn: str) -> None:
    """There is nothing left to keep back."""
    taken = answer(ENFORCE, TOOL).take(response(turn, quality="high"))

    assert taken == Taken(records=(echo("recorded", f"response.{turn}"),))


def test_an_event_that_broke_off_does_not_cut() -> None:
    """The stream has ended by itself."""
    event = response(quality="high", incomplete=True)
    tool = EchoedTool(at="tools[0]", settings={**TOOL, "quality": "high"})
    added = ToolsAdded(tools=(tool,), incomplete=True)

    assert answer(ENFORCE, TOOL).take(event).stop is None
    assert answer(ENFORCE, TOOL).take(added).stop is None


@pytest.mark.parametrize(
    ("changes", "action"),
    [
        ({"status": "queued", "background": True}, "cancel"),
        ({"status": "in_progress", "background": True}, "cancel"),
        ({"status": "queued"}, "recorded"),
        ({"status": "completed", "background": True}, "recorded"),
    ],
    ids=str,
)
def test_a_whole_answer_is_never_cut(
    changes: dict[str, Any], action: Literal["cancel", "recorded"]
) -> None:
    """One that only promises can be cancelled."""
    to = answer(ENFORCE, TOOL, streams=False)

    taken = to.take(response(type="response", quality="high", **changes))

    stop = Stop(because=BECAUSE, cut=False, cancel="resp_1")
    assert taken == Taken(
        records=(echo(action, "response"),), stop=stop if action == "cancel" else None
    )


def test_what_is_read_again_is_never_stopped() -> None:
    """It was judged when it was made, perhaps under another policy."""
    to = answer(ENFORCE, replay=True)

    taken = to.take(response(quality="high", background=True))

    assert taken.stop is None
    assert isinstance(taken.records[0], EchoRecord)
    assert (taken.records[0].action, taken.records[0].replay) == ("recorded", True)


def test_an_observed_rule_cuts_nothing() -> None:
    """Its verdict is recorded, and the echo keeps to what is enforced."""
    to = answer(OBSERVE, {**TOOL, "quality": "high"})

    taken = to.take(response(quality="max"))

    assert taken.stop is None
    assert [type(record) for record in taken.records] == [EchoRecord]
    assert isinstance(taken.records[0], EchoRecord)
    assert taken.records[0].action == "recorded"
    assert taken.records[0].contradictions[0].mode == "observe"
    assert totals(to).echo == "verified"


def test_a_contradiction_is_told_once() -> None:
    """The same echo comes with every turn; another value is another matter."""
    to = answer(ENFORCE, TOOL, streams=False)
    turns = [response(turn, quality="high") for turn in ("created", "in_progress")]

    records = told(to, *turns, response("completed", quality="xhigh"))

    assert [record.type for record in records] == [
        "response.created",
        "response.completed",
    ]
    assert totals(to).echo == "contradicted"


def test_a_provider_that_goes_on_and_on_has_made_its_point() -> None:
    """What is remembered, and recorded, has an end."""
    to = answer(ENFORCE, TOOL, streams=False)
    bad = {**TOOL, "quality": "high"}
    many = tuple(EchoedTool(at=f"tools[{n}]", settings=bad) for n in range(100))

    first, second = told(to, response(tools=many)), told(to, response(quality="max"))

    assert (first[0].contradictions_count, second) == (64, [])


def test_tools_that_come_on_the_way_are_held_against_the_rules() -> None:
    """In an item of their own, or in the output of the response."""
    bad = EchoedTool(at="tools[0]", settings={**TOOL, "quality": "high"})

    item_ = answer(ENFORCE, TOOL).take(ToolsAdded(tools=(bad,), sequence_number=3))
    output = answer(ENFORCE, TOOL).take(response("in_progress", output_tools=(bad,)))
    unseen = Answer(BASE).take(ToolsAdded(tools=(bad,)))

    assert item_.stop is not None
    assert isinstance(item_.records[0], EchoRecord)
    assert item_.records[0].sequence_number == 3
    assert output.stop is not None
    assert unseen == Taken()


@pytest.mark.parametrize(
    ("events", "sort", "verified", "unverified", "differs"),
    [
        ([], "absent", (), (), ()),
        ([response(tools=None)], "absent", (), (), ()),
        ([response(tools=())], "verified", (), (), ()),
        ([response()], "verified", ("quality",), (), ()),
        ([response(quality="ultra")], "unverified", (), ("quality",), ()),
        ([response(quality="medium")], "verified", (), (), ("quality",)),
        (
            [response(), response("completed", quality=None)],
            "verified",
            ("quality",),
            (),
            (),
        ),
        (
            [response(), response("completed", quality="medium")],
            "verified",
            (),
            (),
            ("quality",),
        ),
        (
            [
                response(
                    tools=(
                        EchoedTool(
                            at="tools[0]", settings={"quality": "low", "n": 1, "x": 2}
                        ),
                    )
                )
            ],
            "unverified",
            ("quality",),
            ("?", "n"),
            (),
        ),
        (
            [
                response(
                    tools=(
                        EchoedTool(at="tools[0]", settings={"quality": "low", "n": 1}),
                    )
                )
            ],
            "verified",
            ("quality",),
            ("n",),
            (),
        ),
    ],
)
def test_echoes_are_summed_up(
    events: list[ResponseEvent],
    sort: Sort,
    verified: tuple[str, ...],
    unverified: tuple[str, ...],
    differs: tuple[str, ...],
) -> None:
    """What one echo leaves out another may have; the server's own is no doubt."""
    to = answer(ENFORCE, TOOL)

    told(to, *events)

    found = totals(to)
    assert found.echo == sort
    assert found.echo_verified == verified
    assert found.echo_unverified == unverified
    assert found.echo_differs == differs
