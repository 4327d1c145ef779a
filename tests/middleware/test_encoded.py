from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
from driving import (
    COMPLETED,
    CREATED,
    GENERATING,
    IMAGE,
    JSON,
    SSE,
    STREAM,
    Call,
    Inner,
    Notebook,
    governed,
    request,
    turn,
)
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from imagegate.engine.records import ImageRecord
from imagegate.middleware import Limits
from imagegate.middleware.relay import BrokenOff
from imagegate.zstd import zstd

pytestmark = pytest.mark.anyio
WHOLE = b"".join(STREAM)
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: brotli.compress(data, quality=4),
    "zstd": zstd.compress,
}


def coding(name: str) -> tuple[bytes, bytes]:
    return (b"Content-Encoding", name.encode())


@pytest.mark.parametrize("name", ENCODERS)
@given(size=st.integers(1, 400))
async def test_an_encoded_answer_is_observed_and_goes_on_unchanged(
    name: str, size: int
) -> None:
    audit = Notebook()
    data = ENCODERS[name](WHOLE)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    inner = Inner(*pieces, headers=[SSE, coding(name)])

    call = await Call(governed(inner, audit)).whole()

    assert [message["body"] for message in call.sent[1:]] == pieces
    assert call.headers["Content-Encoding"] == name
    assert audit.events == [
        "request_forwarded",
        "image_generating",
        "exchange_finished",
    ]
    assert audit.completion.outcome == "completed"
    assert audit.completion.unobserved is None
    assert audit.completion.bytes_out == len(data)


async def test_an_encoded_text_tells_of_its_image(audit: Notebook) -> None:
    data = gzip.compress(IMAGE)
    inner = Inner(data, headers=[JSON, coding("GZIP")])

    await Call(governed(inner, audit)).whole()

    assert audit.completion.images == 1
    assert any(isinstance(record, ImageRecord) for record in audit.records)


async def test_each_event_is_on_record_before_the_piece_that_has_it(
    audit: Notebook,
) -> None:
    """Encoders that stream flush behind each event."""
    encoder = zlib.compressobj(wbits=31)
    pieces = [
        encoder.compress(piece) + encoder.flush(zlib.Z_SYNC_FLUSH) for piece in STREAM
    ]
    seen: list[int] = []

    class Watching(Call):
        async def send(self, message: object) -> None:
            seen.append(len(audit.records))
            await super().send(message)  # type: ignore[arg-type] # as it is

    inner = Inner(*pieces, encoder.flush(), headers=[SSE, coding("gzip")])
    await Watching(governed(inner, audit)).whole()

    assert seen == [1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("compress", WHOLE),
        ("gzip, br", WHOLE),
        ("gzip", WHOLE),
        ("gzip", gzip.compress(CREATED) + gzip.compress(GENERATING)),
        ("zstd", zstd.compress(WHOLE) + b"x"),
        ("br", brotli.compress(WHOLE) + b"x"),
        ("deflate", zlib.compress(WHOLE)[:-4] + b"\0\0\0\0"),
    ],
)
async def test_what_a_coding_hides_is_said(
    name: str, data: bytes, audit: Notebook
) -> None:
    inner = Inner(data, b"", headers=[SSE, coding(name)])

    call = await Call(governed(inner, audit)).whole()

    assert call.body == data
    assert audit.completion.unobserved == "content_encoding"


async def test_what_follows_a_whole_member_in_another_piece_is_said_too(
    audit: Notebook,
) -> None:
    data = gzip.compress(WHOLE)
    inner = Inner(data, data, headers=[SSE, coding("gzip")])

    call = await Call(governed(inner, audit)).whole()

    assert call.body == data * 2
    assert audit.completion.unobserved == "content_encoding"
    assert audit.completion.generating == 1


async def test_an_encoded_answer_that_ends_too_early_is_truncated(
    audit: Notebook,
) -> None:
    inner = Inner(gzip.compress(WHOLE)[:-40], headers=[SSE, coding("gzip")])

    await Call(governed(inner, audit)).whole()

    assert audit.completion.outcome == "truncated"


async def test_an_encoded_page_at_a_door_without_images_is_left_alone(
    audit: Notebook,
) -> None:
    data = gzip.compress(b"{}")
    inner = Inner(data, headers=[JSON, coding("gzip")])

    call = await Call(governed(inner, audit), request("GET", "/v1/models")).whole()

    assert call.body == data
    assert audit.completion.unobserved is None


@pytest.mark.parametrize("name", ["gzip", "br", "zstd"])
async def test_a_bomb_costs_bounded_memory_and_is_said(
    name: str, audit: Notebook
) -> None:
    mega = 1024 * 1024
    data = ENCODERS[name](bytes(64 * mega))
    inner = Inner(data, headers=[JSON, coding(name)])
    app = governed(inner, audit, limits=Limits(answer=16 * mega))

    tracemalloc.start()
    try:
        call = await Call(app).whole()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert call.body == data
    assert audit.completion.unobserved == "content_encoding"
    assert peak < 12 * mega


async def test_a_window_larger_than_http_allows_is_not_paid_for(
    audit: Notebook,
) -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27}
    compressor = zstd.ZstdCompressor(options=options)
    data = compressor.compress(WHOLE) + compressor.flush()
    inner = Inner(data, headers=[SSE, coding("zstd")])

    await Call(governed(inner, audit)).whole()

    assert audit.completion.unobserved == "content_encoding"


@pytest.mark.parametrize("name", ENCODERS)
async def test_an_encoded_stream_that_has_to_end_is_broken_off(
    name: str, audit: Notebook
) -> None:
    """There is no valid end to it without the encoder's state."""
    high = turn("created", status="in_progress", quality="high")
    data = ENCODERS[name](high + GENERATING + COMPLETED)
    inner = Inner(data, b"", headers=[SSE, coding(name)])
    call = Call(governed(inner, audit))

    with pytest.raises(BrokenOff):
        await call.whole()

    assert not call.complete
    assert call.body == b""
    assert audit.completion.outcome == "cut"
    assert audit.completion.generating == 0


async def test_an_application_with_gzip_of_its_own_does_not_use_it(
    audit: Notebook,
) -> None:
    async def create(request: Request) -> Response:
        await request.json()
        return Response(IMAGE + b" " * 1000, media_type="application/json")

    inner = Starlette(
        routes=[Route("/v1/responses", create, methods=["POST"])],
        middleware=[Middleware(GZipMiddleware, minimum_size=1)],
    )
    scope = request(headers=[JSON, (b"accept-encoding", b"gzip")])

    call = await Call(governed(inner, audit), scope).whole()

    assert "content-encoding" not in call.headers
    assert audit.completion.images == 1


async def test_gzip_around_us_is_none_of_our_business(audit: Notebook) -> None:
    app = GZipMiddleware(governed(Inner(IMAGE, headers=[JSON]), audit), minimum_size=1)
    scope = request(headers=[JSON, (b"accept-encoding", b"gzip")])

    call = await Call(app, scope).whole()

    assert gzip.decompress(call.body) == IMAGE
    assert audit.completion.images == 1
