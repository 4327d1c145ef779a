"""What goes to the provider, what comes back, and what ends it early."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from scripted import (
    OK,
    PATIENCE,
    STREAM,
    Asked,
    Call,
    Connect,
    Provider,
    keeping,
    pouring,
    provider,
    saying,
    silent,
    until,
)

from imagegate.upstream import outcome
from imagegate.upstream.client import UpstreamError
from imagegate.upstream.credentials import Injected
from imagegate.upstream.fast.client import FastClient
from imagegate.upstream.forwarder import Deadlines, Forwarder, Upstream
from imagegate.upstream.outcome import AGAIN_SECONDS

pytestmark = pytest.mark.anyio


def forwarding(
    connect: Connect, upstream: Provider, path: str = "", **deadlines: float
) -> Forwarder:
    to = Upstream(name="scripted", base=upstream.base + path)
    return Forwarder(connect(), to, deadlines=Deadlines(**deadlines))


def lines(request: bytes) -> list[bytes]:
    """Return the header lines of a request."""
    return request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]


def told(asked: Asked) -> tuple[int | None, str, bytes, str | None]:
    """Return what a client that was answered in the provider's place can act on."""
    error = json.loads(asked.answer)["error"]
    retry = asked.answer_headers[b"x-should-retry"]
    assert asked.answer_headers[b"content-type"] == b"application/json"
    assert asked.answer_headers[b"content-length"] == b"%d" % len(asked.answer)
    assert asked.complete
    return asked.status, error["code"], retry, asked.outcome.get("ended")


# -- the way there --------------------------------------------------------------


async def test_it_says_that_it_takes_views_and_sends_them(connect: Connect) -> None:
    views: dict[str, Any] = {}
    async with provider(keeping) as upstream:
        forwarder = forwarding(connect, upstream)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def viewing() -> Any:
                assert views == {"wanted": True}
                message = await receive()
                if message["type"] == "http.request":
                    message["body"] = memoryview(message["body"])
                return message

            scope["extensions"]["imagegate.views"] = views
            await forwarder(scope, viewing, send)

        large = b"x" * 200_000
        asked = await Asked(method="POST", body=b"<", more=[large, b">"]).of(app)

    assert asked.complete
    [request] = upstream.received
    assert request.endswith(b"\r\n\r\n<" + large + b">")


async def test_a_request_is_forwarded_and_its_answer_relayed(connect: Connect) -> None:
    async with provider(keeping) as upstream:
        asked = Asked(
            headers=[
                (b"host", b"gateway"),
                (b"authorization", b"Bearer k"),
                (b"content-type", b"application/json"),
                (b"content-length", b"99"),
                (b"accept-encoding", b"gzip, br"),
                (b"OpenAI-Beta", b"x=1"),
            ],
            query=b"api-version=2026-01-01",
        )
        await asked.of(forwarding(connect, upstream))

    host = b"host: 127.0.0.1:%d" % upstream.port
    assert upstream.received == [
        b"POST /v1/responses?api-version=2026-01-01 HTTP/1.1\r\n"
        + host
        + b"\r\ncontent-type: application/json\r\nopenai-beta: x=1\r\n"
        b"authorization: Bearer k\r\naccept-encoding: identity\r\n"
        b"content-length: 2\r\n\r\n{}"
    ]
    assert (asked.status, asked.answer, asked.complete) == (200, b"ok", True)
    assert asked.outcome == {}


async def test_a_get_has_no_length_and_an_empty_post_has_one(connect: Connect) -> None:
    async with provider(keeping) as upstream:
        app = forwarding(connect, upstream)
        await Asked(method="GET", body=b"").of(app)
        await Asked(method="POST", body=b"").of(app)

    get, post = upstream.received
    assert b"content-length" not in get
    assert b"content-length: 0" in lines(post)


async def test_a_body_in_pieces_is_sent_as_one(connect: Connect) -> None:
    async with provider(keeping) as upstream:
        app = forwarding(connect, upstream)
        await Asked(body=b'{"a":', more=[b"1", b"}"]).of(app)

    assert upstream.received[0].endswith(b'\r\ncontent-length: 7\r\n\r\n{"a":1}')


async def test_the_key_of_the_organisation_takes_the_place_of_the_clients(
    connect: Connect,
) -> None:
    async with provider(keeping) as upstream:
        app = Forwarder(
            connect(),
            Upstream(
                name="azure",
                base=upstream.base,
                credential=Injected("api-key", "ours"),
            ),
        )
        theirs = [(b"Authorization", b"Bearer theirs"), (b"api-key", b"theirs")]
        await Asked(headers=theirs).of(app)

    assert b"api-key: ours" in lines(upstream.received[0])
    assert b"theirs" not in upstream.received[0]


@pytest.mark.parametrize(
    ("said", "goes_on"),
    [
        ({"credential": Injected("api-key", "ours")}, False),
        ({"credential": Injected("api-key", "ours"), "project": "client"}, True),
        ({}, True),
    ],
)
async def test_a_client_chooses_no_project_of_the_organisations_key(
    connect: Connect, said: dict[str, Any], *, goes_on: bool
) -> None:
    named = [(b"OpenAI-Project", b"proj-1"), (b"openai-organization", b"org-1")]
    async with provider(keeping) as upstream:
        to = Upstream(name="scripted", base=upstream.base, **said)
        await Asked(headers=named).of(Forwarder(connect(), to))

    sent = upstream.received[0].lower()
    assert [b"proj-1" in sent, b"org-1" in sent] == [goes_on, goes_on]


HOSTILE = {
    "two slashes": (b"//evil/v1", b"//evil/v1"),
    "a user": (b"/@evil/v1", b"/@evil/v1"),
    "an encoded slash": (b"/v1%2Fresponses", b"/v1%2Fresponses"),
    "an encoded letter": (b"/v1/r%65sponses", b"/v1/r%65sponses"),
    "an encoded percent": (b"/v1/%2565", b"/v1/%2565"),
    "a URL in the path": (b"/http://evil/", b"/http://evil/"),
    "a name with dots": (b"/v1/..a/.b/c..", b"/v1/..a/.b/c.."),
    "absolute form": (b"http://evil/v1", None),
    "an authority": (b"evil:443", None),
    "a user alone": (b"@evil/v1", None),
    "an asterisk": (b"*", None),
    "nothing": (b"", None),
    "two dots": (b"/v1/../admin", None),
    "two dots at the end": (b"/v1/..", None),
    "one dot": (b"/./v1", None),
    "encoded dots": (b"/v1/%2e%2E/admin", None),
    "dots half encoded": (b"/v1/.%2e/admin", None),
    "dots encoded twice": (b"/v1/%252e%252e/admin", None),
    "dots between encoded slashes": (b"/v1/a%2F..%2F..%2Fadmin", None),
    "dots with a parameter": (b"/v1/..;a=b/admin", None),
    "dots after a backslash": (b"/v1/a%5c..%5cadmin", None),
    "a backslash": (b"/v1\\admin", None),
    "a fragment": (b"/v1#/x", None),
    "a line end": (b"/v1 HTTP/1.1\r\nx: y", None),
    "a space": (b"/v1 x", None),
    "a letter beyond ASCII": ("/v1/é".encode(), None),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_path_leads_to_another_host_or_out_of_the_folder(
    connect: Connect, name: str
) -> None:
    raw, kept = HOSTILE[name]

    async with provider(keeping) as upstream:
        asked = Asked(path="/v1/responses", raw_path=raw)
        await asked.of(forwarding(connect, upstream, "/api/projects/p/"))

    if kept is None:
        assert told(asked) == (400, "bad_target", b"false", "upstream_error")
        assert upstream.connections == 0
    else:
        line = upstream.received[0].split(b"\r\n")[0]
        assert line == b"POST /api/projects/p" + kept + b" HTTP/1.1"
        assert b"host: 127.0.0.1:%d" % upstream.port in lines(upstream.received[0])


@pytest.mark.parametrize("query", [b"a=b#c", b"a=\r\nx: y", b"a b", b"a=\xff"])
async def test_a_query_that_could_end_the_line_is_refused(
    connect: Connect, query: bytes
) -> None:
    async with provider(keeping) as upstream:
        asked = await Asked(query=query).of(forwarding(connect, upstream))

    assert told(asked) == (400, "bad_target", b"false", "upstream_error")
    assert upstream.received == []


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        (b"api-key=sk-client", b""),
        (b"api-version=v1&api%2Dkey=sk-client", b"?api-version=v1"),
        (b"Subscription-Key=sk-client&a=%20&a", b"?a=%20&a"),
        (b"access_token=sk-client&limit=1", b"?limit=1"),
        (b"keys=1", b"?keys=1"),
    ],
)
async def test_a_key_in_the_query_does_not_go_on_beside_the_gateways_own(
    connect: Connect, query: bytes, kept: bytes
) -> None:
    async with provider(keeping) as upstream:
        to = Upstream(
            name="scripted",
            base=upstream.base,
            credential=Injected("api-key", "sk-gateway"),
        )
        await Asked(query=query).of(Forwarder(connect(), to))
        await Asked(query=query).of(forwarding(connect, upstream))

    ours, its_own = (each.split(b" ")[1] for each in upstream.received)
    assert ours == b"/v1/responses" + kept
    assert its_own == b"/v1/responses?" + query


async def test_the_prefix_of_a_mount_stays_behind(connect: Connect) -> None:
    async with provider(keeping) as upstream:
        asked = Asked(path="/azure/openai/v1/responses", root_path="/azure")
        await asked.of(forwarding(connect, upstream))

    assert upstream.received[0].startswith(b"POST /openai/v1/responses HTTP/1.1\r\n")


async def test_a_server_without_raw_paths_will_do(connect: Connect) -> None:
    async with provider(keeping) as upstream:
        forwarder = forwarding(connect, upstream)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            del scope["raw_path"], scope["extensions"]
            await forwarder(scope, receive, send)

        await Asked(path="/v1/responses/ä").of(app)

    assert upstream.received[0].startswith(b"POST /v1/responses/%C3%A4 HTTP/1.1\r\n")


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
async def test_methods_that_are_about_the_connection_are_refused(
    connect: Connect, method: str
) -> None:
    async with provider(keeping) as upstream:
        asked = await Asked(method=method).of(forwarding(connect, upstream))

    assert told(asked) == (400, "bad_method", b"false", "upstream_error")
    assert upstream.received == []


async def test_a_body_that_is_too_long_is_refused(connect: Connect) -> None:
    async with provider(keeping) as upstream:
        to = Upstream(name="scripted", base=upstream.base)
        app = Forwarder(connect(), to, body_limit=10)
        asked = await Asked(body=b"12345", more=[b"67890", b"1"]).of(app)

    assert told(asked) == (413, "request_too_large", b"false", "upstream_error")
    assert upstream.connections == 0


async def test_only_what_comes_from_clients_is_forwarded(connect: Connect) -> None:
    async with provider(keeping) as upstream:
        app = forwarding(connect, upstream)

        with pytest.raises(ValueError, match="lifespan"):
            await app({"type": "lifespan"}, None, None)  # type: ignore[arg-type] # never called


# -- the environment ------------------------------------------------------------


async def test_the_environment_has_no_say(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login canary password canary\n")
    netrc.chmod(0o600)

    async with provider(keeping) as elsewhere, provider(keeping) as upstream:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, elsewhere.base)
            monkeypatch.setenv(name.lower(), elsewhere.base)
        monkeypatch.setenv("NETRC", str(netrc))
        asked = await Asked().of(forwarding(connect, upstream))

    assert asked.answer == b"ok"
    assert elsewhere.connections == 0
    assert b"canary" not in upstream.received[0]
    assert b"uthorization" not in upstream.received[0]


# -- the way back ---------------------------------------------------------------


async def test_a_piece_is_relayed_before_the_next_is_made(connect: Connect) -> None:
    taken = asyncio.Event()

    async def script(call: Call) -> None:
        await call.request()
        await call.say(STREAM + b"5\r\nfirst\r\n")
        await taken.wait()
        await call.say(b"6\r\nsecond\r\n0\r\n\r\n")

    async with provider(script) as upstream:
        asked = Asked()
        exchange = asyncio.create_task(asked.of(forwarding(connect, upstream)))
        await until(lambda: asked.pieces == [b"first"])
        taken.set()
        await exchange

    # The end comes with the last piece, or behind it in a message of its own.
    assert [piece for piece in asked.pieces if piece] == [b"first", b"second"]
    assert asked.pieces[2:] in ([], [b""])


async def test_the_last_piece_ends_the_answer_where_it_is_known_to_be(
    connect: Connect,
) -> None:
    async def script(call: Call) -> None:
        await call.request()
        await call.say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with provider(script) as upstream:
        asked = Asked()
        await asked.of(forwarding(connect, upstream))

    fast = isinstance(connect(), FastClient)
    known = [b"ok"] if fast else [b"ok", b""]
    assert asked.pieces == known


UNREADABLE = {
    "both framings": STREAM.replace(b"\r\n\r\n", b"\r\ncontent-length: 2\r\n\r\n2\r\n"),
    "another protocol": b"HTTP/1.1 101 S\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "no status there is": b"HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n",
    "a control character": b"HTTP/1.1 200 OK\r\nx: a\x01b\r\ncontent-length: 0\r\n\r\n",
    "no HTTP": b"hello\r\n\r\n",
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_an_answer_that_can_be_read_in_two_ways_is_none(
    connect: Connect, name: str
) -> None:
    async with provider(saying(UNREADABLE[name])) as upstream:
        asked = await Asked().of(forwarding(connect, upstream))

    assert told(asked) == (502, "answer_malformed", b"false", "upstream_error")
    assert len(upstream.received) == 1


async def test_a_redirect_is_relayed_without_its_target(connect: Connect) -> None:
    said = b"HTTP/1.1 307 T\r\nlocation: http://evil/\r\ncontent-length: 0\r\n\r\n"

    async with provider(saying(said)) as upstream:
        asked = await Asked().of(forwarding(connect, upstream))

    assert asked.status == 307
    assert b"location" not in asked.answer_headers


async def test_a_body_cut_short_is_never_ended(connect: Connect) -> None:
    async with provider(saying(STREAM + b"3\r\nabc\r\n")) as upstream:
        asked = Asked()
        with pytest.raises(UpstreamError) as raised:
            await asked.of(forwarding(connect, upstream))

    assert raised.value.code == "answer_broken"
    assert (asked.answer, asked.complete) == (b"abc", False)
    assert asked.outcome == {"ended": "upstream_error"}


async def test_who_closes_on_a_request_gets_it_once(connect: Connect) -> None:
    async with provider(saying(b"")) as upstream:
        asked = await Asked().of(forwarding(connect, upstream))

    assert told(asked) == (502, "no_answer", b"false", "upstream_error")
    assert len(upstream.received) == 1


async def test_nobody_there_may_be_tried_again(
    connect: Connect, capsys: pytest.CaptureFixture[str]
) -> None:
    async with provider(keeping) as upstream:
        pass

    asked = await Asked().of(forwarding(connect, upstream))

    assert told(asked) == (502, "cannot_connect", b"true", "upstream_error")
    line = json.loads(capsys.readouterr().err)
    assert line.pop("timestamp")
    assert line == {
        "level": "warning",
        "event": "imagegate.provider_failed",
        "upstream": "scripted",
        "code": "cannot_connect",
        "cause": "Connection refused",
    }


async def test_what_befalls_each_request_is_told_once_in_a_while(
    connect: Connect,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with provider(keeping) as upstream:
        pass
    app = forwarding(connect, upstream)

    for _ in range(3):
        assert (await Asked().of(app)).status == 502
    assert len(capsys.readouterr().err.splitlines()) == 1
    later = time.monotonic() + AGAIN_SECONDS
    monkeypatch.setattr(outcome, "time", SimpleNamespace(monotonic=lambda: later))
    assert (await Asked().of(app)).status == 502
    assert len(capsys.readouterr().err.splitlines()) == 1


async def test_what_is_the_clients_fault_is_no_line_of_the_log(
    connect: Connect, capsys: pytest.CaptureFixture[str]
) -> None:
    async with provider(keeping) as upstream:
        asked = await Asked(path="/v1/../x").of(forwarding(connect, upstream))

    assert asked.status == 400
    assert capsys.readouterr().err == ""


async def test_a_full_pool_says_when_to_come_back(connect: Connect) -> None:
    async with provider(silent) as upstream:
        client = connect(connections=1, pool_seconds=0.05)
        app = Forwarder(client, Upstream(name="scripted", base=upstream.base))
        first = Asked()
        holding = asyncio.create_task(first.of(app))
        await until(lambda: upstream.received)
        asked = await Asked().of(app)
        first.left.set()
        await holding

    assert told(asked) == (503, "upstream_busy", b"true", "upstream_error")
    assert asked.answer_headers[b"retry-after"] == b"1"
    assert len(upstream.received) == 1


# -- deadlines ------------------------------------------------------------------


async def test_connecting_has_an_end(connect: Connect) -> None:
    async def deaf(call: Call) -> None:
        await call.gone()  # never shakes hands

    async with provider(deaf) as upstream:
        upstream.scheme = "https"
        to = Upstream(name="scripted", base=upstream.base)
        asked = await Asked().of(Forwarder(connect(connect_seconds=0.1), to))
        await until(lambda: upstream.open == 0)

    assert told(asked) == (504, "connect_timeout", b"true", "timeout")


async def test_waiting_for_a_head_has_an_end(connect: Connect) -> None:
    async with provider(silent) as upstream:
        asked = await Asked().of(forwarding(connect, upstream, head=0.1))
        await until(lambda: upstream.open == 0)

    assert told(asked) == (504, "head_timeout", b"false", "timeout")


async def test_a_head_that_drips_has_an_end(connect: Connect) -> None:
    async def script(call: Call) -> None:
        await call.request()
        for byte in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10_000:
            await call.say(bytes([byte]))
            await asyncio.sleep(0.01)

    async with provider(script) as upstream:
        asked = await Asked().of(forwarding(connect, upstream, head=0.2))
        await until(lambda: upstream.open == 0)

    assert told(asked) == (504, "head_timeout", b"false", "timeout")


async def test_a_pause_in_an_answer_has_an_end(connect: Connect) -> None:
    async def script(call: Call) -> None:
        await call.request()
        await call.say(STREAM + b"3\r\nabc\r\n")
        # A drip that is no piece of the body is a pause.
        while True:
            await call.say(b"0")
            await asyncio.sleep(0.01)

    async with provider(script) as upstream:
        asked = Asked()
        with pytest.raises(UpstreamError) as raised:
            await asked.of(forwarding(connect, upstream, idle=0.5))
        await until(lambda: upstream.open == 0)

    assert (raised.value.code, raised.value.status) == ("idle_timeout", 504)
    assert (asked.answer, asked.complete) == (b"abc", False)
    assert asked.outcome == {"ended": "timeout"}


async def test_a_drip_that_never_pauses_has_an_end(connect: Connect) -> None:
    async def script(call: Call) -> None:
        await call.request()
        await call.say(STREAM)
        while True:
            await call.say(b"1\r\nx\r\n")
            await asyncio.sleep(0.01)

    async with provider(script) as upstream:
        asked = Asked()
        with pytest.raises(UpstreamError) as raised:
            await asked.of(forwarding(connect, upstream, idle=5.0, total=0.6))
        await until(lambda: upstream.open == 0)

    assert raised.value.code == "total_timeout"
    assert len(asked.pieces) > 1
    assert not asked.complete
    assert asked.outcome == {"ended": "timeout"}


async def test_a_short_total_ends_the_wait_for_a_head_too(connect: Connect) -> None:
    async with provider(silent) as upstream:
        asked = await Asked().of(forwarding(connect, upstream, total=0.1))

    assert told(asked) == (504, "total_timeout", b"false", "timeout")


async def test_a_client_that_sends_no_more_of_its_body_has_an_end(
    connect: Connect,
) -> None:
    async with provider(keeping) as upstream:
        asked = await Asked(body=None).of(forwarding(connect, upstream, body=0.1))

    assert told(asked) == (408, "body_timeout", b"false", "timeout")
    assert upstream.connections == 0


async def test_a_provider_that_takes_no_more_of_a_body_has_an_end(
    connect: Connect,
) -> None:
    async def script(call: Call) -> None:
        await call.reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(PATIENCE)

    async with provider(script) as upstream:
        to = Upstream(name="scripted", base=upstream.base)
        app = Forwarder(connect(write_seconds=0.1), to)
        asked = await Asked(body=b"x" * 10_000_000).of(app)

    assert told(asked) == (504, "write_timeout", b"false", "timeout")


async def test_a_client_that_stops_reading_has_an_end(connect: Connect) -> None:
    async with provider(pouring()) as upstream:
        asked = Asked()
        exchange = asyncio.create_task(
            asked.of(forwarding(connect, upstream, stall=0.1))
        )
        await until(lambda: asked.pieces)
        asked.reading.clear()
        with pytest.raises(UpstreamError) as raised:
            await exchange
        await until(lambda: upstream.open == 0)

    assert raised.value.code == "client_stalled"
    assert not asked.complete
    assert asked.outcome == {"ended": "client_left"}


async def test_a_client_that_does_not_even_read_an_error_has_an_end(
    connect: Connect,
) -> None:
    asked = Asked(method="TRACE")
    asked.reading.clear()

    async with provider(keeping) as upstream:
        await asked.of(forwarding(connect, upstream, stall=0.05))

    assert asked.status is None


# -- the client leaves ----------------------------------------------------------


async def test_who_leaves_while_sending_is_not_forwarded(connect: Connect) -> None:
    asked = Asked(body=None)
    asked.left.set()

    async with provider(keeping) as upstream:
        await asked.of(forwarding(connect, upstream))

    assert upstream.connections == 0
    assert (asked.status, asked.outcome) == (None, {"ended": "client_left"})


async def test_who_leaves_before_the_head_ends_the_call(connect: Connect) -> None:
    async with provider(silent) as upstream:
        asked = Asked()
        exchange = asyncio.create_task(asked.of(forwarding(connect, upstream)))
        await until(lambda: upstream.received)
        asked.left.set()
        await exchange
        await until(lambda: upstream.open == 0)

    assert (asked.status, asked.outcome) == (None, {"ended": "client_left"})


async def test_who_leaves_amid_a_stream_ends_the_call(connect: Connect) -> None:
    async with provider(pouring()) as upstream:
        asked = Asked()
        exchange = asyncio.create_task(asked.of(forwarding(connect, upstream)))
        await until(lambda: asked.pieces)
        asked.left.set()
        await exchange
        await until(lambda: upstream.open == 0)

    assert (asked.complete, asked.outcome) == (False, {"ended": "client_left"})


async def test_who_leaves_while_its_server_stands_still_ends_the_call(
    connect: Connect,
) -> None:
    async with provider(pouring()) as upstream:
        asked = Asked()
        exchange = asyncio.create_task(asked.of(forwarding(connect, upstream)))
        await until(lambda: asked.pieces)
        asked.reading.clear()
        await asyncio.sleep(0.01)
        asked.left.set()
        await exchange
        await until(lambda: upstream.open == 0)


async def test_who_leaves_while_waiting_for_a_connection_asks_nothing(
    connect: Connect,
) -> None:
    async with provider(silent) as upstream:
        client = connect(connections=1, pool_seconds=PATIENCE)
        app = Forwarder(client, Upstream(name="scripted", base=upstream.base))
        first, second = Asked(), Asked()
        exchanges = [asyncio.create_task(first.of(app))]
        await until(lambda: upstream.received)
        exchanges.append(asyncio.create_task(second.of(app)))
        await asyncio.sleep(0.02)
        second.left.set()
        await exchanges[1]
        assert second.outcome == {"ended": "client_left"}
        assert not exchanges[0].done()
        first.left.set()
        await exchanges[0]
        await asyncio.sleep(0.02)

    assert len(upstream.received) == 1


async def test_who_leaves_while_a_body_is_sent_ends_the_call(connect: Connect) -> None:
    async def script(call: Call) -> None:
        await call.reader.readuntil(b"\r\n\r\n")
        left.set()
        await call.gone()

    left = asyncio.Event()
    async with provider(script) as upstream:
        asked = Asked(body=b"x" * 10_000_000, left=left)
        await asked.of(forwarding(connect, upstream))
        await until(lambda: upstream.open == 0)

    assert asked.outcome == {"ended": "client_left"}


async def test_a_server_that_cannot_say_who_is_there_ends_the_call(
    connect: Connect,
) -> None:
    async with provider(silent) as upstream:
        forwarder = forwarding(connect, upstream)
        asked = Asked()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def receiving() -> Any:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RuntimeError("nothing more to receive")
                return message

            await forwarder(scope, receiving, send)

        exchange = asyncio.create_task(asked.of(app))
        await until(lambda: upstream.received)
        asked.left.set()
        await exchange
        await until(lambda: upstream.open == 0)

    assert asked.outcome == {"ended": "client_left"}


async def test_nobody_listens_for_a_client_that_was_answered(connect: Connect) -> None:
    async with provider(keeping) as upstream:
        app = forwarding(connect, upstream)
        before = len(asyncio.all_tasks())
        await asyncio.gather(*[Asked().of(app) for _ in range(10)])
        await until(lambda: len(asyncio.all_tasks()) <= before + upstream.open)


async def test_other_things_that_a_server_says_end_nothing(connect: Connect) -> None:
    async with provider(pouring()) as upstream:
        forwarder = forwarding(connect, upstream)
        asked = Asked()
        calls = 0

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def receiving() -> Any:
                nonlocal calls
                calls += 1
                if calls == 2:
                    return {"type": "http.request", "body": b"", "more_body": False}
                return await receive()

            # Nobody wants to know how it ended, either.
            del scope["extensions"]
            await forwarder(scope, receiving, send)

        exchange = asyncio.create_task(asked.of(app))
        await until(lambda: calls == 3 and len(asked.pieces) > 5)
        asked.left.set()
        await exchange

    assert asked.outcome == {}


async def test_an_exchange_that_is_cancelled_ends_the_call_and_stays_cancelled(
    connect: Connect,
) -> None:
    async with provider(pouring()) as upstream:
        asked = Asked()
        exchange = asyncio.create_task(asked.of(forwarding(connect, upstream)))
        await until(lambda: asked.pieces)
        exchange.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange
        await until(lambda: upstream.open == 0)

    assert asked.outcome == {}


async def test_an_error_around_the_forwarder_ends_the_call(connect: Connect) -> None:
    async with provider(pouring()) as upstream:
        forwarder = forwarding(connect, upstream)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def sending(message: Any) -> None:
                if message.get("body"):
                    raise LookupError
                await send(message)

            await forwarder(scope, receive, sending)

        with pytest.raises(LookupError):
            await Asked().of(app)
        await until(lambda: upstream.open == 0)


# -- a slow reader --------------------------------------------------------------


async def test_a_reader_that_stands_still_stops_the_reading(connect: Connect) -> None:
    piece = b"x" * 65536
    poured = 0

    async def script(call: Call) -> None:
        nonlocal poured
        await call.request()
        await call.say(STREAM)
        for _ in range(600):
            await call.say(b"10000\r\n" + piece + b"\r\n")
            poured += len(piece)
        await call.say(b"0\r\n\r\n")

    async with provider(script) as upstream:
        asked = Asked()
        exchange = asyncio.create_task(asked.of(forwarding(connect, upstream)))
        await until(lambda: asked.pieces)
        asked.reading.clear()
        before = -1
        while before != poured:
            before = poured
            await asyncio.sleep(0.05)
        stood_at = poured
        asked.reading.set()
        await exchange

    assert stood_at < 16_000_000
    assert len(asked.answer) == 600 * len(piece)
    assert asked.complete


async def test_a_reader_that_is_back_in_time_misses_nothing(connect: Connect) -> None:
    async with provider(saying(OK)) as upstream:
        asked = Asked()
        asked.reading.clear()
        exchange = asyncio.create_task(asked.of(forwarding(connect, upstream)))
        await until(lambda: upstream.received)
        await asyncio.sleep(0.02)
        asked.reading.set()
        await exchange

    assert (asked.answer, asked.complete) == (b"ok", True)
