"""A WebSocket lives long: who opened it is asked for again at each message."""

from __future__ import annotations

import json

import msgspec
import pytest
from driving import TOOL, Notebook
from keyed import given_out, keys_of
from starlette.types import Scope
from talking import Client, Provider, accepted, connected, socket

from imagegate.engine.errors import Unidentified
from imagegate.engine.policy import Principal
from imagegate.engine.records import DecisionRecord
from imagegate.identity import KeyRing, identify_by

pytestmark = pytest.mark.anyio

TEXT, KEY = given_out("ci", team=("design",))


def opened(audit: Notebook, provider: Provider, ring: KeyRing, text: str) -> Client:
    scope = socket(headers=[(b"authorization", f"Bearer {text}".encode())])
    identify = identify_by(keys=ring)
    return connected(audit, provider, scope=scope, identify=identify)


def decisions(audit: Notebook) -> list[DecisionRecord]:
    return [each for each in audit.records if isinstance(each, DecisionRecord)]


async def test_a_handshake_without_a_key_is_refused() -> None:
    audit, provider = Notebook(), Provider()
    client = opened(audit, provider, KeyRing(keys_of(KEY)), given_out()[0])

    await client.whole()

    head, body = client.sent
    assert (head["type"], head["status"]) == ("websocket.http.response.start", 401)
    assert (b"www-authenticate", b'Bearer realm="imagegate"') in head["headers"]
    assert json.loads(body["body"])["error"]["code"] == "invalid_api_key"
    assert provider.scopes == []
    assert audit.events == ["request_malformed", "exchange_finished"]


async def test_a_key_that_is_revoked_in_between_ends_with_the_next_message() -> None:
    audit, provider, ring = Notebook(), Provider(), KeyRing(keys_of(KEY))

    async with opened(audit, provider, ring, TEXT) as client:
        await accepted(client)
        client.ask(TOOL)
        assert (await provider.hears())["type"] == "response.create"

        ring.swap(keys_of())
        client.ask(TOOL)
        said = await client.hears()
        assert said["status"] == 401
        assert said["error"]["code"] == "invalid_api_key"

        # What was asked before is still answered: it is paid for.
        provider.turn("created")
        provider.turn("completed", status="completed", output=[])
        assert (await client.hears())["type"] == "response.created"
        assert (await client.hears())["type"] == "response.completed"

        ring.swap(keys_of(KEY))
        client.ask(TOOL)
        assert (await provider.hears())["type"] == "response.create"
        client.hang_up()
        await client.done()

    found = decisions(audit)
    assert [each.principal_id for each in found] == ["ci", "ci", "anonymous", "ci"]
    assert [each.principal_source for each in found] == ["key", "key", "none", "key"]


async def test_a_message_is_judged_for_whom_its_sender_is_now() -> None:
    audit, provider, ring = Notebook(), Provider(), KeyRing(keys_of(KEY))

    async with opened(audit, provider, ring, TEXT) as client:
        await accepted(client)
        ring.swap(keys_of(msgspec.structs.replace(KEY, team=("web",))))
        client.ask(TOOL)
        await provider.hears()
        client.hang_up()
        await client.done()

    teams = [each.principal_team for each in decisions(audit)]
    assert teams == [("design",), ("web",)]


async def test_a_connection_does_not_become_somebody_elses() -> None:
    audit, provider = Notebook(), Provider()
    names = iter(["anna", "jo"])

    async def identify(scope: Scope) -> Principal:
        del scope
        return Principal(id=next(names), source="app", verified=True)

    async with connected(audit, provider, identify=identify) as client:
        await accepted(client)
        client.ask(TOOL)
        assert (await client.refused())[0] == "identity_changed"
        client.hang_up()
        await client.done()

    assert decisions(audit)[-1].principal_id == "anonymous"


async def test_whose_key_was_revoked_is_on_record() -> None:
    audit, provider = Notebook(), Provider()
    names: list[str] = []

    async def identify(scope: Scope) -> Principal:
        del scope
        names.append("")
        if len(names) > 1:
            raise Unidentified("revoked_api_key", "revoked", principal_id="ci")
        return KEY.principal

    async with connected(audit, provider, identify=identify) as client:
        await accepted(client)
        client.ask(TOOL)
        assert (await client.refused())[0] == "revoked_api_key"
        client.hang_up()
        await client.done()

    record = decisions(audit)[-1]
    assert (record.principal_id, record.principal_source) == ("ci", "none")
