"""What was judged by one's rules of yesterday is judged again by those of today."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from driving import TOOL, Call, Inner, Notebook, asking, gate, governed, request
from starlette.types import Scope

from imagegate.engine.gate import Gate
from imagegate.engine.policy import Principal
from imagegate.engine.records import MAX_ENTRIES
from imagegate.seen import MemorySeen, Seen, Sight

pytestmark = pytest.mark.anyio
RULES = """
state: { conversation: seen, previous_response: seen }
teams:
  art:
    match: { team: art }
    settings: { quality: { max: high, loosens: true } }
"""
BY, OPEN = gate(RULES), gate(f"{RULES}\nsurface: {{ conversations: pass }}")
PLANTED = {"type": "additional_tools", "tools": [{**TOOL, "quality": "high"}]}


class Member:
    """Somebody whose teams change, of whose requests one store knows."""

    def __init__(self, seen: Seen | None = None) -> None:
        self.teams: tuple[str, ...] = ("art",)
        self._seen, self._audit = seen or MemorySeen(), Notebook()

    async def post(
        self, made: str, body: bytes, path: str = "/v1/responses", *, by: Gate = BY
    ) -> Call:
        """Send something of which is made what has this name."""

        async def who(scope: Scope) -> Principal:
            del scope
            said = {"team": self.teams}
            return Principal(id="ann", source="test", verified=True, attributes=said)

        answer = Inner(json.dumps({"id": made, "object": "response"}).encode())
        kept: dict[str, Any] = {"by": by, "identify": who, "seen": self._seen}
        app = governed(answer, self._audit, **kept)
        return await Call(app, request(path=path), (body,)).whole()


@pytest.mark.parametrize("then", [(), ("design",)])
async def test_who_has_left_a_team_has_left_its_conversations_too(
    then: tuple[str, ...],
) -> None:
    """Its tools are still in there, and the policy is the same."""
    ann, in_it = Member(), asking(conversation="conv_1")
    await ann.post("conv_1", b"{}", "/v1/conversations")
    planted = await ann.post("resp_1", asking(conversation="conv_1", input=[PLANTED]))
    assert (planted.status, (await ann.post("resp_2", in_it)).status) == (200, 200)

    ann.teams = then

    refused = await ann.post("resp_3", in_it)
    assert refused.status == 403
    assert "would not pass as it is today" in refused.body.decode()
    earlier = asking(previous_response_id="resp_1")
    assert (await ann.post("resp_4", earlier)).status == 403


@pytest.mark.parametrize("opened", [False, True])
async def test_who_adds_to_a_conversation_makes_it_no_better(*, opened: bool) -> None:
    """What is in there is by the rules of yesterday, or was judged by nobody."""
    ann, in_it = Member(), asking(conversation="conv_1")
    more = b'{"items":[{"type":"message","role":"user","content":"x"}]}'
    items = json.dumps({"items": [PLANTED]}).encode()
    await ann.post("conv_1", b"{}", "/v1/conversations")
    path, by = "/v1/conversations/conv_1/items", OPEN if opened else BY
    await ann.post("msg_1", items, path, by=by)

    ann.teams = ()
    assert (await ann.post("resp_1", in_it)).status == 403
    assert (await ann.post("msg_2", more, path)).status == 200

    assert (await ann.post("resp_2", in_it)).status == 403


UNSEEN = gate(f"""{RULES}
    state:
      conversation: {{ do: allow, loosens: true }}
      previous_response: {{ do: allow, loosens: true }}
""")


@pytest.mark.parametrize("state", ["conversation", "previous_response_id"])
async def test_what_one_could_go_on_from_unseen_is_not_known_for_that(
    state: str,
) -> None:
    """Where nobody looks, tools go in and out that nobody knows of."""
    ann, earlier = Member(), asking(previous_response_id="resp_2")
    in_it = asking(conversation="conv_1")
    on = {"conversation": "conv_1", "previous_response_id": "resp_1"}
    await ann.post("conv_1", b"{}", "/v1/conversations", by=UNSEEN)
    into: dict[str, Any] = {"conversation": "conv_1"} if state in in_it.decode() else {}
    for name, body in (
        ("resp_1", asking(input=[PLANTED], **into)),
        ("resp_2", asking(**{state: on[state]})),
        ("resp_3", earlier),
    ):
        assert (await ann.post(name, body, by=UNSEEN)).status == 200

    ann.teams = ()

    assert (await ann.post("resp_4", earlier, by=UNSEEN)).status == 403
    if into:
        assert (await ann.post("resp_5", in_it, by=UNSEEN)).status == 403


class Forgetful(MemorySeen):
    """One that forgets what it was asked about, as soon as it has answered."""

    forgets = False

    async def find(self, who: Principal, ids: Iterable[str]) -> Mapping[str, Sight]:
        found = await super().find(who, ids)
        if self.forgets:
            self._kept.clear()
        return found


async def test_what_is_forgotten_meanwhile_is_not_known_by_what_is_added() -> None:
    """Its time may be over, or a server has no room."""
    seen = Forgetful()
    ann, in_it = Member(seen), asking(conversation="conv_1")
    items = json.dumps({"items": [PLANTED]}).encode()
    await ann.post("conv_1", items, "/v1/conversations")

    ann.teams = ()
    seen.forgets = True
    await ann.post("msg_1", b'{"items":[]}', "/v1/conversations/conv_1/items")
    seen.forgets = False

    assert (await ann.post("resp_1", in_it)).status == 403


async def test_what_others_may_have_too_goes_on_without_the_team() -> None:
    ann = Member()
    await ann.post("resp_1", asking({**TOOL, "quality": "low"}))

    ann.teams = ()

    earlier = asking(previous_response_id="resp_1")
    assert (await ann.post("resp_2", earlier)).status == 200


class Slow(MemorySeen):
    """Somebody who asks first, and goes on last."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.going = asyncio.Event(), asyncio.Event()

    async def find(self, who: Principal, ids: Iterable[str]) -> Mapping[str, Sight]:
        found = await super().find(who, ids)
        if found and not self.asked.is_set():
            self.asked.set()
            await self.going.wait()
        return found


async def test_two_at_once_in_a_conversation_do_not_hide_what_the_other_left() -> None:
    """The one without tools was judged before the other one was, and noted behind."""
    seen = Slow()
    ann, in_it = Member(seen), asking(conversation="conv_1")
    await ann.post("conv_1", b"{}", "/v1/conversations")

    plain = asyncio.ensure_future(ann.post("resp_1", in_it))
    async with asyncio.timeout(10):
        await seen.asked.wait()
    await ann.post("resp_2", asking(conversation="conv_1", input=[PLANTED]))
    seen.going.set()
    assert (await plain).status == 200

    ann.teams = ()
    assert (await ann.post("resp_3", in_it)).status == 403


async def test_a_conversation_with_more_tools_than_are_kept_goes_on_by_its_rules() -> (
    None
):
    """The one too many is not known, and must not be taken for none."""
    ann, in_it = Member(), asking(conversation="conv_1")
    await ann.post("conv_1", b"{}", "/v1/conversations")
    sizes = [f"{1024 + 16 * number}x1024" for number in range(MAX_ENTRIES)]
    low = [{**TOOL, "quality": "low", "size": size} for size in sizes]
    for tools in (low, PLANTED["tools"]):
        put = {"type": "additional_tools", "tools": tools}
        asked = asking(conversation="conv_1", input=[put])
        assert (await ann.post("resp_1", asked)).status == 200
    assert (await ann.post("resp_2", in_it)).status == 200

    ann.teams = ()
    assert (await ann.post("resp_3", in_it)).status == 403


async def test_a_door_that_is_opened_is_not_where_conversations_are_judged() -> None:
    """Neither those that are begun through it, nor what is put into others."""
    ann, in_it = Member(), asking(conversation="conv_1")
    other = asking(conversation="conv_2")
    items = json.dumps({"items": [PLANTED]}).encode()
    await ann.post("conv_1", items, "/v1/conversations", by=OPEN)
    await ann.post("conv_2", b"{}", "/v1/conversations")

    assert (await ann.post("resp_1", in_it, by=OPEN)).status == 403
    assert (await ann.post("resp_2", other, by=OPEN)).status == 200
    await ann.post("msg_1", items, "/v1/conversations/conv_2/items", by=OPEN)
    assert (await ann.post("resp_3", other, by=OPEN)).status == 403
