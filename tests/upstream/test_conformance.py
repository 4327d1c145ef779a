"""What any client owes the forwarder, whichever library it stands on."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import (
    OK,
    STREAM,
    Call,
    Connect,
    asking,
    deaf,
    keeping,
    pouring,
    provider,
    saying,
    silent,
    until,
    whole,
)

from imagegate.upstream.client import Client, Origin, UpstreamError, UpstreamRequest

pytestmark = pytest.mark.anyio
UNTAKEN = b"x" * 300_000
"""More than is taken by a provider that reads nothing, less than our kernel holds."""


async def failing(client: Client, request: UpstreamRequest) -> UpstreamError:
    """Send a request that gets no whole answer, and return why."""
    with pytest.raises(UpstreamError) as raised:
        await whole(await client.send(request))
    return raised.value


# -- a request ------------------------------------------------------------------


async def test_a_request_is_written_as_it_is_and_nothing_is_added(
    connect: Connect,
) -> None:
    async with provider(keeping) as upstream:
        answer = await connect().send(
            UpstreamRequest(
                method="POST",
                origin=upstream.origin,
                target=b"//a/../b%2e%2e/c?d=%20#",
                headers=[(b"host", b"somewhere"), (b"content-length", b"2")],
                body=b"{}",
            )
        )
        assert await whole(answer) == b"ok"

    assert upstream.received == [
        (
            b"POST //a/../b%2e%2e/c?d=%20# HTTP/1.1\r\n"
            b"host: somewhere\r\ncontent-length: 2\r\n\r\n{}"
        )
    ]


async def test_a_request_without_a_body_ends_with_its_head(connect: Connect) -> None:
    async with provider(keeping) as upstream:
        await whole(await connect().send(asking(upstream, b"", "GET")))

    assert upstream.received[0].endswith(b"\r\n\r\n")


async def test_a_long_body_arrives_whole(connect: Connect) -> None:
    body = random.Random(4).randbytes(3_000_000)  # noqa: S311 - no secret

    async with provider(keeping) as upstream:
        await whole(await connect().send(asking(upstream, body)))

    assert upstream.received[0].endswith(body)


async def test_a_header_that_could_end_the_head_is_not_sent(connect: Connect) -> None:
    async with provider(keeping) as upstream:
        request = asking(upstream)
        split = UpstreamRequest(
            method="POST",
            origin=request.origin,
            target=b"/",
            headers=[*request.headers, (b"x", b"key\r\ny: z")],
        )
        error = await failing(connect(), split)

    assert (error.code, error.status, error.resendable) == (
        "request_malformed",
        400,
        False,
    )
    # Not even in the chain: what is refused may be a key.
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert upstream.received == []


# -- an answer ------------------------------------------------------------------


async def test_status_headers_and_body_come_as_they_are(connect: Connect) -> None:
    said = b"HTTP/1.1 418 Nope\r\nX-One: 1\r\nx-two: a\r\nX-Two: b\r\n\r\nbody"

    async with provider(saying(said)) as upstream:
        answer = await connect().send(asking(upstream))
        body = await whole(answer)

    assert answer.status == 418
    assert [(name.lower(), value) for name, value in answer.headers] == [
        (b"x-one", b"1"),
        (b"x-two", b"a"),
        (b"x-two", b"b"),
    ]
    assert body == b"body"


async def test_an_encoded_body_is_not_decoded(connect: Connect) -> None:
    said = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd"

    async with provider(saying(said)) as upstream:
        assert await whole(await connect().send(asking(upstream))) == b"abcd"


async def test_a_piece_comes_before_the_next_is_made(connect: Connect) -> None:
    taken = asyncio.Event()

    async def script(call: Call) -> None:
        await call.request()
        await call.say(STREAM + b"5\r\nfirst\r\n")
        await taken.wait()
        await call.say(b"6\r\nsecond\r\n0\r\n\r\n")

    async with provider(script) as upstream:
        answer = await connect().send(asking(upstream))
        assert await answer.read() == b"first"
        taken.set()
        assert await whole(answer) == b"second"


async def test_an_answer_has_ended_when_its_end_was_read(connect: Connect) -> None:
    taken = asyncio.Event()

    async def script(call: Call) -> None:
        await call.request()
        await call.say(STREAM + b"5\r\nfirst\r\n")
        await taken.wait()
        await call.say(b"6\r\nsecond\r\n0\r\n\r\n")

    async with provider(script) as upstream:
        answer = await connect().send(asking(upstream))
        assert not answer.ended
        assert await answer.read() == b"first"
        assert not answer.ended
        taken.set()
        assert await whole(answer) == b"second"

    assert answer.ended


@pytest.mark.parametrize("said", [OK, STREAM + b"2\r\nok\r\n0\r\n\r\n"])
async def test_whoever_says_early_that_an_answer_has_ended_is_right(
    connect: Connect, said: bytes
) -> None:
    async with provider(saying(said)) as upstream:
        answer = await connect().send(asking(upstream))
        taken = b""
        while not answer.ended:
            taken += await answer.read()
        rest = await whole(answer)

    assert (taken, rest) == (b"ok", b"")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=300), max_size=6),
    cuts=st.lists(st.integers(1, 400), max_size=12),
    framing=st.sampled_from(["length", "chunked", "close"]),
)
async def test_how_an_answer_was_cut_into_pieces_cannot_be_seen(
    connect: Connect, pieces: list[bytes], cuts: list[int], framing: str
) -> None:
    body = b"".join(pieces)
    chunks = b"".join(b"%x;a=b\r\n%b\r\n" % (len(each), each) for each in pieces)
    said = (
        b"HTTP/1.1 200 OK\r\n"
        + {
            "length": b"content-length: %d\r\n\r\n%b" % (len(body), body),
            "chunked": b"transfer-encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunks,
            "close": b"\r\n" + body,
        }[framing]
    )

    async def script(call: Call) -> None:
        await call.request()
        rest = said
        for cut in cuts:
            await call.say(rest[:cut])
            rest = rest[cut:]
            await asyncio.sleep(0)
        await call.say(rest)

    async with provider(script) as upstream:
        assert await whole(await connect().send(asking(upstream))) == body


async def test_interim_answers_are_passed_over(connect: Connect) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 20

    async with provider(saying(interim + OK)) as upstream:
        answer = await connect().send(asking(upstream))
        assert (answer.status, await whole(answer)) == (200, b"ok")


async def test_an_answer_to_head_has_no_body(connect: Connect) -> None:
    said = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n"

    async with provider(saying(said)) as upstream:
        answer = await connect().send(asking(upstream, b"", "HEAD"))
        assert await whole(answer) == b""


async def test_a_redirect_is_an_answer_like_any_other(connect: Connect) -> None:
    async with provider(keeping) as elsewhere:
        said = b"HTTP/1.1 307 T\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % (
            elsewhere.base.encode()
        )
        async with provider(saying(said)) as upstream:
            answer = await connect().send(asking(upstream))
            await whole(answer)

    assert answer.status == 307
    assert elsewhere.connections == 0


async def test_cookies_are_not_kept(connect: Connect) -> None:
    said = b"HTTP/1.1 200 OK\r\nset-cookie: a=b; Path=/\r\ncontent-length: 0\r\n\r\n"

    async with provider(saying(said, said)) as upstream:
        client = connect()
        await whole(await client.send(asking(upstream)))
        await whole(await client.send(asking(upstream)))

    assert len(upstream.received) == 2
    assert b"cookie" not in upstream.received[1].lower()


# -- answers that are none ------------------------------------------------------

HEAD_FAULTS = {
    "nothing": (b"", "no_answer"),
    "half a head": (b"HTTP/1.1 200 OK\r\nx: y", "no_answer"),
    "an interim answer alone": (b"HTTP/1.1 100 Continue\r\n\r\n", "no_answer"),
    "no HTTP": (b"220 smtp ready\r\n\r\n", "answer_malformed"),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "answer_malformed",
    ),
    "a signed length": (
        b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nab",
        "answer_malformed",
    ),
    "another transfer coding": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "answer_malformed",
    ),
    "a NUL in a header": (b"HTTP/1.1 200 OK\r\nx: a\x00b\r\n\r\n", "answer_malformed"),
    "a huge header": (
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000 + b"\r\n\r\n",
        "answer_malformed",
    ),
    "a flood of interim answers": (
        b"HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\n" * 20_000 + OK,
        "answer_malformed",
    ),
}


@pytest.mark.parametrize("fault", HEAD_FAULTS)
async def test_a_head_that_is_none_is_an_error_and_asked_once(
    connect: Connect, fault: str
) -> None:
    said, code = HEAD_FAULTS[fault]

    async with provider(saying(said)) as upstream:
        error = await failing(connect(), asking(upstream))

    assert (error.code, error.status, error.resendable) == (code, 502, False)
    assert len(upstream.received) == 1


BODY_FAULTS = {
    "a length too short": b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
    "no last chunk": STREAM + b"3\r\nabc\r\n",
    "half a last chunk": STREAM + b"3\r\nabc\r\n0\r\n",
    "a chunk too short": STREAM + b"9\r\nabc",
    "a chunk size that is none": STREAM + b"3\r\nabc\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "an endless chunk size": STREAM + b"3\r\nabc\r\n" + b"0" * 300_000,
}


@pytest.mark.parametrize("fault", BODY_FAULTS)
async def test_a_body_that_is_cut_short_does_not_end_well(
    connect: Connect, fault: str
) -> None:
    async with provider(saying(BODY_FAULTS[fault])) as upstream:
        answer = await connect().send(asking(upstream))
        first = await answer.read()
        with pytest.raises(UpstreamError) as raised:
            await whole(answer)

    assert not answer.ended
    assert b"abc".startswith(first[:3])
    assert (raised.value.code, raised.value.resendable) == ("answer_broken", False)


async def test_a_reset_does_not_end_a_body_even_one_without_a_length(
    connect: Connect,
) -> None:
    taken = asyncio.Event()

    async def script(call: Call) -> None:
        await call.request()
        await call.say(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await taken.wait()
        call.reset()

    async with provider(script) as upstream:
        answer = await connect().send(asking(upstream))
        assert await answer.read() == b"abc"
        taken.set()
        with pytest.raises(UpstreamError) as raised:
            await whole(answer)

    assert raised.value.code == "answer_broken"


# -- connecting and sending -----------------------------------------------------


async def test_nobody_there_means_that_nothing_was_sent(connect: Connect) -> None:
    async with provider(keeping) as upstream:
        pass

    error = await failing(connect(), asking(upstream))

    assert (error.code, error.status, error.resendable) == ("cannot_connect", 502, True)


async def test_an_unknown_host_means_that_nothing_was_sent(connect: Connect) -> None:
    request = UpstreamRequest(
        method="GET",
        origin=Origin("http", "nowhere.invalid", 80),
        target=b"/",
        headers=[(b"host", b"nowhere.invalid")],
    )

    error = await failing(connect(), request)

    assert (error.code, error.resendable) == ("cannot_connect", True)


async def test_a_body_that_is_not_taken_ends_at_its_deadline(connect: Connect) -> None:
    asleep = asyncio.Event()

    async def script(call: Call) -> None:
        await call.reader.readuntil(b"\r\n\r\n")
        await asleep.wait()

    async with provider(script) as upstream:
        client = connect(write_seconds=0.1)
        error = await failing(client, asking(upstream, b"x" * 10_000_000))

    assert (error.code, error.status, error.resendable) == ("write_timeout", 504, False)


async def test_neither_does_one_wait_for_the_answer_to_what_was_not_taken(
    connect: Connect,
) -> None:
    """The kernel has taken it from us, and nobody from the kernel."""
    with deaf() as upstream:
        error = await failing(connect(write_seconds=0.3), asking(upstream, UNTAKEN))

    assert (error.code, error.status, error.resendable) == ("write_timeout", 504, False)


async def test_who_has_taken_all_of_it_has_his_time_to_answer(connect: Connect) -> None:
    async def script(call: Call) -> None:
        await call.request()
        await asyncio.sleep(0.5)
        await call.say(OK)

    async with provider(script) as upstream:
        client = connect(write_seconds=0.1)
        assert await whole(await client.send(asking(upstream, UNTAKEN))) == b"ok"


async def test_what_was_not_taken_when_an_exchange_ends_nobody_gets(
    connect: Connect,
) -> None:
    """A provider that is reached again would make an image that nobody wants."""
    with deaf() as upstream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await connect().send(asking(upstream, UNTAKEN))
        await asyncio.sleep(0.05)  # a loop closes in its next rounds
        got = await upstream.hear()

    assert 0 < got < len(UNTAKEN)


async def test_a_body_that_is_taken_slowly_does_not(connect: Connect) -> None:
    async def script(call: Call) -> None:
        head = await call.reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])
        for _ in range(36):
            await call.reader.readexactly(size // 36)
            await asyncio.sleep(0.09)
        await call.say(OK)

    async with provider(script) as upstream:
        # All of it takes longer than the deadline, no part of it does.
        client = connect(write_seconds=3.0)
        answer = await client.send(asking(upstream, b"x" * 7_200_000))
        assert await whole(answer) == b"ok"


@pytest.mark.parametrize("closes", [False, True])
async def test_an_answer_before_the_whole_body_is_read_counts(
    connect: Connect, *, closes: bool
) -> None:
    said = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno"
    asleep = asyncio.Event()

    async def script(call: Call) -> None:
        await call.reader.readuntil(b"\r\n\r\n")
        await call.say(said)
        if closes:
            call.writer.write_eof()
        await asleep.wait()

    async with provider(script) as upstream:
        client = connect(write_seconds=0.5)
        answer = await client.send(asking(upstream, b"x" * 10_000_000))
        assert (answer.status, await whole(answer)) == (413, b"no")


# -- connections that are kept --------------------------------------------------


async def test_a_connection_is_used_again(connect: Connect) -> None:
    async with provider(keeping) as upstream:
        client = connect()
        for _ in range(5):
            assert await whole(await client.send(asking(upstream))) == b"ok"

    assert upstream.connections == 1


async def test_a_connection_is_not_kept_for_ever(connect: Connect) -> None:
    async with provider(keeping) as upstream:
        client = connect(idle_seconds=0.0)
        for _ in range(2):
            await whole(await client.send(asking(upstream)))
            await asyncio.sleep(0.001)

    assert upstream.connections == 2


async def test_a_connection_is_not_kept_while_the_machine_sleeps(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Timers sleep as well; and of what the provider closes meanwhile, word is lost."""
    async with provider(keeping) as upstream:
        client = connect()
        await whole(await client.send(asking(upstream)))
        morning = time.time() + 8 * 3600
        monkeypatch.setattr(time, "time", lambda: morning)
        for _ in range(2):
            assert await whole(await client.send(asking(upstream))) == b"ok"

    assert upstream.connections == 2


async def test_a_connection_that_was_closed_meanwhile_is_noticed(
    connect: Connect,
) -> None:
    async with provider(saying(OK)) as upstream:
        client = connect()
        for number in range(50):
            request = asking(upstream, b'{"number": %d}' % number)
            assert await whole(await client.send(request)) == b"ok"

    numbers = [request.rpartition(b" ")[2] for request in upstream.received]
    assert numbers == [b"%d}" % number for number in range(50)]


async def test_a_connection_closed_while_it_rests_is_noticed(connect: Connect) -> None:
    async with provider(saying(OK)) as upstream:
        client = connect()
        await whole(await client.send(asking(upstream)))
        await until(lambda: upstream.open == 0)
        await asyncio.sleep(0.01)
        assert await whole(await client.send(asking(upstream))) == b"ok"


async def test_a_request_is_never_sent_again(connect: Connect) -> None:
    async def script(call: Call) -> None:
        await call.request()
        if len(call.provider.received) == 1:
            await call.say(OK)
            await call.request()

    async with provider(script) as upstream:
        client = connect()
        await whole(await client.send(asking(upstream)))
        error = await failing(client, asking(upstream))

    assert (error.code, error.status, error.resendable) == ("no_answer", 502, False)
    assert len(upstream.received) == 2
    assert upstream.connections == 1


FOREIGN = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nforeign"
FRAMINGS = {
    "with a length": OK,
    "chunked": STREAM + b"2\r\nok\r\n0\r\n\r\n",
    "without a body": b"HTTP/1.1 204 No Content\r\n\r\n",
}
SURPLUS = {
    "an answer": FOREIGN,
    "half a head": FOREIGN[:30],
    "a blank line": b"\r\n",
}


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("surplus", SURPLUS)
async def test_what_follows_an_answer_is_nobodys(
    connect: Connect, framing: str, surplus: str, *, later: bool
) -> None:
    said, more = FRAMINGS[framing], SURPLUS[surplus]
    done, poured = asyncio.Event(), asyncio.Event()

    async def script(call: Call) -> None:
        await call.request()
        if call.provider.connections > 1:
            await call.say(OK)
        elif later:
            await call.say(said)
            await done.wait()
            await call.say(more)
        else:
            await call.say(said + more)
        poured.set()
        await call.gone()

    async with provider(script) as upstream:
        client = connect()
        assert await whole(await client.send(asking(upstream))) in (b"ok", b"")
        done.set()
        await poured.wait()
        assert await whole(await client.send(asking(upstream))) == b"ok"

    assert (len(upstream.received), upstream.connections) == (2, 2)


async def test_an_answer_that_nobody_finished_reading_is_nobodys(
    connect: Connect,
) -> None:
    async def script(call: Call) -> None:
        await call.request()
        await call.say(OK if call.provider.connections > 1 else STREAM + b"2\r\nno")
        await call.gone()

    async with provider(script) as upstream:
        client = connect()
        answer = await client.send(asking(upstream))
        await answer.close()
        assert await whole(await client.send(asking(upstream))) == b"ok"

    assert upstream.connections == 2


# -- the pool -------------------------------------------------------------------


async def test_one_provider_gets_so_many_connections_and_then_one_waits_in_vain(
    connect: Connect,
) -> None:
    async with provider(silent) as upstream:
        client = connect(connections=3, pool_seconds=0.05)
        held = [asyncio.create_task(client.send(asking(upstream))) for _ in range(3)]
        await until(lambda: len(upstream.received) == 3)
        error = await failing(client, asking(upstream))
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)

    assert (error.code, error.status, error.resendable) == ("upstream_busy", 503, True)
    assert upstream.most == 3


async def test_a_provider_that_is_busy_does_not_keep_another_waiting(
    connect: Connect,
) -> None:
    async with provider(silent) as busy, provider(keeping) as free:
        client = connect(connections=1, pool_seconds=0.05)
        held = asyncio.create_task(client.send(asking(busy)))
        await until(lambda: busy.received)
        assert await whole(await client.send(asking(free))) == b"ok"
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)


async def test_one_who_waits_gets_the_connection_that_comes_free(
    connect: Connect,
) -> None:
    async with provider(pouring()) as upstream:
        client = connect(connections=1)
        first = await client.send(asking(upstream))
        second = asyncio.create_task(client.send(asking(upstream)))
        await asyncio.sleep(0)
        await first.close()
        answer = await second
        assert answer.status == 200
        await answer.close()

    assert upstream.most <= 2  # the first may not be seen closed yet


async def test_closing_an_answer_waits_for_nothing(connect: Connect) -> None:
    async with provider(pouring()) as upstream:
        answer = await connect().send(asking(upstream))
        await answer.read()
        closing = answer.close().__await__()

        with pytest.raises(StopIteration):
            next(iter(closing))


async def test_three_hundred_streams_end_at_random_and_the_pool_is_whole(
    connect: Connect,
) -> None:
    chance = random.Random(300)  # noqa: S311 - no secret
    limit = 10

    async def stream(client: Client) -> None:
        answer = await client.send(asking(upstream))
        try:
            for _ in range(chance.randrange(20)):
                await answer.read()
        finally:
            await answer.close()

    async with provider(pouring()) as upstream:
        client = connect(connections=limit, pool_seconds=60.0)
        streams = [asyncio.create_task(stream(client)) for _ in range(300)]
        while pending := [task for task in streams if not task.done()]:
            for task in chance.sample(pending, min(len(pending), chance.randrange(9))):
                task.cancel()
            await asyncio.sleep(chance.random() / 500)
        await asyncio.gather(*streams, return_exceptions=True)
        assert {type(t.exception()) for t in streams if not t.cancelled()} <= {
            type(None)
        }

        answers = await asyncio.gather(
            *[client.send(asking(upstream)) for _ in range(limit)]
        )
        assert [answer.status for answer in answers] == [200] * limit
        for answer in answers:
            await answer.close()
        await until(lambda: upstream.open == 0)


async def test_closing_the_client_ends_what_is_under_way(connect: Connect) -> None:
    async with provider(silent) as upstream:
        client = connect()
        under_way = asyncio.create_task(client.send(asking(upstream)))
        await until(lambda: upstream.received)
        await client.close()
        with pytest.raises(UpstreamError):
            await under_way
        await until(lambda: upstream.open == 0)


# -- backpressure ---------------------------------------------------------------


async def test_what_nobody_reads_is_not_fetched(connect: Connect) -> None:
    piece = b"x" * 65536
    poured = 0

    async def script(call: Call) -> None:
        nonlocal poured
        await call.request()
        await call.say(STREAM)
        for _ in range(1000):
            await call.say(b"10000\r\n" + piece + b"\r\n")
            poured += len(piece)
        await call.say(b"0\r\n\r\n")

    async with provider(script) as upstream:
        answer = await connect().send(asking(upstream))
        before = -1
        while before != poured:
            before = poured
            await asyncio.sleep(0.05)
        stood_at = poured
        body = await whole(answer)

    assert len(body) == 1000 * len(piece)
    # What the kernel and the parser hold, out of 64 MB.
    assert stood_at < 16_000_000
