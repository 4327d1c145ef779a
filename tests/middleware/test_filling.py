"""Bodies that the server writes to where they are kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from driving import JSON, Call, Inner, Notebook, asking, governed, request
from starlette.types import Scope

from imagegate.middleware import Limits, collecting, load_of
from imagegate.middleware.load import Load

pytestmark = pytest.mark.anyio

BODY = asking(input="x" * 3_000_000)
FIRST = 100_000


class Server:
    """A server that writes a body to where it is wanted, in pieces of one size.

    Args:
        data: What comes behind the first message.
        load: What is carried, to be looked at whenever there is room for more.
    """

    def __init__(self, data: bytes, size: int, load: Load | None = None) -> None:
        self.data = data
        self.rooms: list[int] = []
        self.held: list[int] = []
        self._size = size
        self._load = load
        self.pause = 0.0

    async def fill(self, room: memoryview, came: Callable[[int], None]) -> int:
        self.rooms.append(len(room))
        self.held.append(self._load.bytes if self._load else 0)
        at = 0
        while at < len(room) and self.data:
            piece = self.data[: min(self._size, len(room) - at)]
            self.data = self.data[len(piece) :]
            room[at : at + len(piece)] = piece
            at += len(piece)
            came(len(piece))
            await asyncio.sleep(self.pause)
        return at

    def request(self, *, length: int = len(BODY)) -> Scope:
        said = (b"content-length", b"%d" % length)
        more: dict[str, Any] = {"extensions": {"imagegate.fill": self.fill}}
        return request(headers=(JSON, said), **more)


def saying(inner: Any, scope: Scope, *bodies: bytes) -> Call:
    """Make a call whose client has more to say."""
    call = Call(inner, scope, None)
    for body in bodies:
        call.say(body, more=True)
    return call


async def test_what_comes_behind_the_first_message_is_filled_in(
    audit: Notebook,
) -> None:
    load = load_of(Limits())
    server, app = Server(BODY[FIRST:], 70_000, load), Inner()

    inner = governed(app, audit, load=load)
    call = await saying(inner, server.request(), BODY[:FIRST]).whole()

    assert call.status == 200
    assert call.asked == 1
    assert [json.loads(body) for body in app.bodies] == [json.loads(BODY)]
    assert load.bytes == 0


async def test_no_more_room_is_made_than_for_twice_as_much(audit: Notebook) -> None:
    load = load_of(Limits())
    server = Server(BODY[9:], 70_000, load)

    await saying(
        governed(Inner(), audit, load=load), server.request(), BODY[:9]
    ).whole()

    come = 9
    for room, held in zip(server.rooms, server.held, strict=True):
        assert room <= max(2 * come, 256 * 1024)
        assert held == come + room
        come += room


async def test_room_has_an_end(
    audit: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_MOST_ROOM", 300_000)
    server = Server(BODY[FIRST:], 70_000)

    await saying(governed(Inner(), audit), server.request(), BODY[:FIRST]).whole()

    assert max(server.rooms) == 300_000


async def test_where_nothing_is_filled_in_it_comes_in_messages(
    audit: Notebook,
) -> None:
    server, app = Server(b"", 1), Inner()
    call = saying(governed(app, audit), server.request(), BODY[:FIRST], BODY[FIRST:-9])
    call.say(BODY[-9:])

    await call.whole()

    assert call.status == 200
    assert [json.loads(body) for body in app.bodies] == [json.loads(BODY)]
    assert len(server.rooms) == 1


async def test_who_leaves_amid_a_body_has_left(audit: Notebook) -> None:
    load = load_of(Limits())
    server = Server(BODY[FIRST:-1], 70_000)
    call = saying(governed(Inner(), audit, load=load), server.request(), BODY[:FIRST])
    call.leave()

    await call.whole()

    assert not call.sent
    assert audit.completion.outcome == "client_left"
    assert load.bytes == 0


async def test_a_body_beyond_what_is_held_is_refused_before_it_comes(
    audit: Notebook,
) -> None:
    limits = Limits(bodies=1_000_000)
    load = load_of(limits)
    server = Server(BODY[FIRST:], 70_000, load)

    inner = governed(Inner(), audit, limits=limits, load=load)
    call = await saying(inner, server.request(), BODY[:FIRST]).whole()

    assert (call.status, call.code) == (503, "too_many_bodies")
    assert max(server.held) <= 1_000_000
    assert load.bytes == 0


@pytest.mark.parametrize(("rate", "status"), [(1_000_000_000, 408), (1_000, 200)])
async def test_what_is_filled_in_wins_time(
    audit: Notebook, monkeypatch: pytest.MonkeyPatch, rate: int, status: int
) -> None:
    monkeypatch.setattr(collecting, "_UNHURRIED", 0.1)
    server = Server(BODY[FIRST:], 300_000)
    server.pause = 0.03

    inner = governed(Inner(), audit, limits=Limits(rate=rate))
    call = await saying(inner, server.request(), BODY[:FIRST]).whole()

    assert call.status == status


@pytest.mark.parametrize("extensions", [None, {}, {"tls": {}}])
async def test_other_servers_have_no_such_thing(
    audit: Notebook, extensions: object
) -> None:
    scope = {**Server(b"", 1).request(), "extensions": extensions}
    call = saying(governed(Inner(), audit), scope, BODY[:FIRST])
    call.say(BODY[FIRST:])

    assert (await call.whole()).status == 200


async def test_a_body_of_unknown_length_comes_in_messages(audit: Notebook) -> None:
    server = Server(b"", 1)
    scope = {**server.request(), "headers": [JSON]}
    call = saying(governed(Inner(), audit), scope, BODY[:FIRST])
    call.say(BODY[FIRST:])

    assert (await call.whole()).status == 200
    assert server.rooms == []
