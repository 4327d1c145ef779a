"""State at the provider may be referred to by those whose requests made it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any

import pytest
from driving import (
    JSON,
    SSE,
    TOOL,
    Call,
    Inner,
    Notebook,
    asking,
    event,
    gate,
    governed,
    request,
)
from starlette.types import ASGIApp, Scope

from imagegate.engine.policy import Principal
from imagegate.seen import MemorySeen, Seen, Sight, SightLost

pytestmark = pytest.mark.anyio
RULES = "state: { conversation: seen, previous_response: seen, item_reference: seen }"
GATE = gate(RULES)
STRICT = gate(RULES + "\nlimits: { tools: 1 }\ntool: block")
LOOSE = gate(RULES + "\nfields: { deprecated: strip }")


async def who(scope: Scope) -> Principal:
    name = dict(scope["headers"]).get(b"x-who", b"ann").decode()
    return Principal(id=name, source="test", verified=True)


def response(name: str, **members: Any) -> bytes:
    return json.dumps(
        {"id": name, "object": "response", "output": [], **members}
    ).encode()


def stream(name: str) -> tuple[bytes, ...]:
    return (
        event("response.created", response={"id": name}),
        event("response.completed", response={"id": name, "output": []}),
    )


class Provider:
    """Answers with what it is told to, one after the other."""

    def __init__(self, *answers: Inner) -> None:
        self.answers = list(answers)
        self.bodies: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        answer = self.answers.pop(0)
        await answer(scope, receive, send)
        self.bodies += [json.loads(body) for body in answer.bodies if body]


class Client:
    """Asks a gateway that keeps what it saw in one store."""

    def __init__(self, provider: ASGIApp, seen: Seen | None = None) -> None:
        self.provider = provider
        self.seen = seen or MemorySeen()
        self.audit = Notebook()

    async def post(
        self,
        body: bytes,
        path: str = "/v1/responses",
        *,
        name: str = "ann",
        by: Any = GATE,
    ) -> Call:
        app = governed(self.provider, self.audit, by=by, identify=who, seen=self.seen)
        scope = request(path=path, headers=[JSON, (b"x-who", name.encode())])
        return await Call(app, scope, (body,)).whole()

    async def get(self, path: str) -> Call:
        app = governed(self.provider, self.audit, by=GATE, identify=who, seen=self.seen)
        scope = request("GET", path, headers=(), raw_path=path.encode())
        return await Call(app, scope, ()).whole()


AGAIN = asking(previous_response_id="resp_1")


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_response_may_be_gone_on_with(*, streamed: bool) -> None:
    first = (
        Inner(*stream("resp_1"), headers=[SSE])
        if streamed
        else Inner(response("resp_1"))
    )
    client = Client(Provider(first, Inner(response("resp_2")), Inner()))

    assert (await client.post(asking(TOOL))).status == 200
    assert (await client.post(AGAIN)).status == 200
    assert (await client.post(asking(previous_response_id="resp_2"))).status == 200


@pytest.mark.parametrize("name", ["resp_bGl0ZWxsbTo=", f"resp_{'A' * 546}=="])
async def test_a_proxys_name_for_it_is_as_good_as_a_providers(name: str) -> None:
    """LiteLLM puts its own around it, and who asked; the path has to take it too."""
    client = Client(Provider(Inner(response(name)), Inner(), Inner()))

    assert (await client.post(asking(TOOL))).status == 200
    assert (await client.post(asking(previous_response_id=name))).status == 200
    assert (await client.get(f"/v1/responses/{name}")).status == 200


async def test_it_may_be_gone_on_with_while_it_still_streams() -> None:
    """The next request may come as soon as the client knows the name."""
    client = Client(Provider(Inner(response("resp_2"))))
    asked: list[int | None] = []

    async def slow(scope: Scope, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            await send(message)
            if b"resp_1" in message.get("body", b"") and not asked:
                asked.append((await client.post(AGAIN)).status)

        await Inner(*stream("resp_1"), headers=[SSE])(scope, receive, sending)

    await Client(slow, client.seen).post(asking(TOOL))

    assert asked == [200]


async def test_nobody_goes_on_with_what_another_made() -> None:
    client = Client(Provider(Inner(response("resp_1"))))
    await client.post(asking(TOOL), name="ben")

    refused = await client.post(AGAIN)

    assert (refused.status, refused.code) == (403, "image_policy_violation")
    assert "was not made through this gateway" in refused.body.decode()


@pytest.mark.parametrize("name", ["resp_1", "/a\nresp_1", "\nresp_1"])
async def test_what_one_provider_made_is_not_known_at_another(name: str) -> None:
    """Some let their clients choose what a response is called."""
    kept: dict[str, Any] = {"by": GATE, "identify": who, "seen": MemorySeen()}

    async def post(realm: str, body: bytes) -> int | None:
        inner = Provider(Inner(response(name)))
        app = governed(inner, Notebook(), realm=realm, **kept)
        return (await Call(app, request(), (body,)).whole()).status

    again = asking(previous_response_id=name)
    for here, others in ("", ("/a", "/a\n", "/b")), ("/b", ("/a",)):
        assert await post(here, asking()) == 200
        assert await post(here, again) == 200
        assert [await post(other, again) for other in others] == [403] * len(others)
    assert await post("", AGAIN) == (200 if name == "resp_1" else 403)


async def test_what_was_only_read_or_refused_is_not_seen() -> None:
    client = Client(Provider(Inner(response("resp_1")), Inner(response("resp_1"))))

    assert (await client.get("/v1/responses/resp_1")).status == 200
    assert (await client.post(asking({**TOOL, "quality": "ultra"}))).status == 403
    assert (await client.post(AGAIN)).status == 403


async def test_a_stricter_policy_judges_the_tools_that_are_there_again() -> None:
    provider = Provider(Inner(response("resp_1")), Inner(response("resp_2")), Inner())
    client = Client(provider)
    await client.post(asking(TOOL))
    text = asking()
    await client.post(text)

    assert (await client.post(AGAIN, by=STRICT)).status == 403
    assert (await client.post(AGAIN, by=LOOSE)).status == 200


async def test_tools_are_handed_down() -> None:
    """The second response has none of its own; what it inherits counts."""
    provider = Provider(Inner(response("resp_1")), Inner(response("resp_2")), Inner())
    client = Client(provider)
    await client.post(asking(TOOL))
    await client.post(AGAIN)
    next_one = asking(previous_response_id="resp_2")

    assert (await client.post(next_one, by=STRICT)).status == 403
    assert (await client.post(next_one)).status == 200


# -- items --------------------------------------------------------------------------

MADE = [{"type": "reasoning", "id": "rs_1"}, {"type": "message", "id": "msg_1"}]
OF_ITEMS = asking(input=[{"type": "item_reference", "id": m["id"]} for m in MADE])


@pytest.mark.parametrize(
    "first",
    [
        Inner(response("resp_1", output=MADE)),
        Inner(
            event("response.created", response={"id": "resp_1", "output": []}),
            event("response.completed", response={"id": "resp_1", "output": MADE}),
            headers=[SSE],
        ),
        Inner(
            gzip.compress(response("resp_1", output=MADE)),
            headers=[JSON, (b"content-encoding", b"gzip")],
        ),
    ],
    ids=["whole", "streamed", "encoded"],
)
async def test_what_a_response_is_made_of_may_be_referred_to(first: Inner) -> None:
    """Vercel's AI SDK sends the items of earlier steps as references."""
    client = Client(Provider(first, Inner(response("resp_2"))))

    assert (await client.post(OF_ITEMS)).status == 403
    assert (await client.post(asking(TOOL))).status == 200
    assert (await client.post(OF_ITEMS, name="ben")).status == 403
    assert (await client.post(OF_ITEMS, by=STRICT)).status == 403
    assert (await client.post(OF_ITEMS)).status == 200


async def test_items_may_be_referred_to_before_the_client_can_know_them() -> None:
    client = Client(Provider(Inner(response("resp_2"))))
    asked: list[int | None] = []

    async def slow(scope: Scope, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            await send(message)
            if b"rs_1" in message.get("body", b""):
                asked.append((await client.post(OF_ITEMS)).status)

        last = event("response.completed", response={"id": "resp_1", "output": MADE})
        await Inner(*stream("resp_1")[:1], last, headers=[SSE])(scope, receive, sending)

    await Client(slow, client.seen).post(asking())

    assert asked == [200]


async def test_items_of_a_background_response_are_known_once_it_is_asked_for() -> None:
    provider = Provider(
        Inner(response("resp_1", status="queued", background=True)),
        Inner(response("resp_1", status="completed", output=MADE)),
        Inner(response("resp_2")),
    )
    client = Client(provider)
    await client.post(asking(TOOL, background=True))
    assert (await client.post(OF_ITEMS)).status == 403

    assert (await client.get("/v1/responses/resp_1")).status == 200
    assert (await client.post(OF_ITEMS, by=STRICT)).status == 403
    assert (await client.post(OF_ITEMS)).status == 200


async def test_items_of_what_was_not_made_here_are_not_seen_by_reading_it() -> None:
    client = Client(Provider(Inner(response("resp_1", output=MADE))))

    assert (await client.get("/v1/responses/resp_1")).status == 200
    assert (await client.post(OF_ITEMS)).status == 403


async def test_items_are_remembered_only_where_a_policy_asks_for_it() -> None:
    store = MemorySeen()
    client = Client(Provider(Inner(response("resp_1", output=MADE))), store)

    await client.post(asking(), by=gate("state: { previous_response: seen }"))

    ann = Principal(id="ann", source="test", verified=True)
    assert [*await store.find(ann, ("resp_1", "rs_1", "msg_1"))] == ["resp_1"]


# -- conversations ------------------------------------------------------------------

CONVERSATION = b'{"id":"conv_1","object":"conversation"}'
IN_IT = asking(conversation="conv_1")
ITEMS = json.dumps({"items": [{"type": "additional_tools", "tools": [TOOL]}]}).encode()


async def test_a_conversation_that_was_begun_here_may_be_gone_on_with() -> None:
    pieces = CONVERSATION[:9], CONVERSATION[9:]
    client = Client(Provider(Inner(*pieces), Inner(response("resp_1"))))

    assert (await client.post(IN_IT)).status == 403
    assert (await client.post(b"{}", "/v1/conversations")).status == 200
    assert (await client.post(IN_IT)).status == 200


async def test_what_is_put_into_a_conversation_counts() -> None:
    provider = Provider(Inner(CONVERSATION), Inner(), Inner(response("resp_1")))
    client = Client(provider)
    await client.post(b"{}", "/v1/conversations")
    assert (await client.post(ITEMS, "/v1/conversations/conv_1/items")).status == 200

    assert (await client.post(IN_IT, by=STRICT)).status == 403
    assert (await client.post(IN_IT)).status == 200


async def test_tools_of_a_request_stay_in_its_conversation() -> None:
    provider = Provider(Inner(CONVERSATION), Inner(response("resp_1")), Inner())
    client = Client(provider)
    await client.post(b"{}", "/v1/conversations")
    tools = [{"type": "additional_tools", "tools": [TOOL]}]
    assert (await client.post(asking(input=tools, conversation="conv_1"))).status == 200

    assert (await client.post(IN_IT, by=STRICT)).status == 403


async def test_putting_something_into_a_foreign_conversation_makes_it_no_ones() -> None:
    client = Client(Provider(Inner()))
    await client.post(ITEMS, "/v1/conversations/conv_1/items")

    assert (await client.post(IN_IT)).status == 403


@pytest.mark.parametrize(
    "answer",
    [b"{}", b"no json", b'{"id":1}', b'{"id":"conv_1","x":"%s"}' % (b"x" * 70_000)],
)
async def test_an_answer_that_names_no_conversation_is_relayed(answer: bytes) -> None:
    client = Client(Provider(Inner(answer)))

    assert (await client.post(b"{}", "/v1/conversations")).body == answer
    assert (await client.post(IN_IT)).status == 403


# -- the store ----------------------------------------------------------------------


class Broken:
    """A store that is not there."""

    async def note(self, *_: object) -> None:
        raise SightLost("gone")

    async def find(self, *_: object) -> Mapping[str, Sight]:
        raise SightLost("gone")

    async def close(self) -> None: ...


async def test_without_a_store_nothing_is_seen_and_the_rest_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = Client(Provider(Inner(response("resp_1"))), Broken())

    assert (await client.post(asking(TOOL))).status == 200
    assert (await client.post(AGAIN)).status == 403
    said = capsys.readouterr().err
    assert "imagegate.seen_not_kept" in said
    assert "imagegate.seen_not_asked" in said
