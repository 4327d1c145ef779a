from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from imagegate.upstream.client import Headers, UpstreamError
from imagegate.upstream.credentials import Injected, InjectedFile, PassThrough, read_key
from imagegate.upstream.forwarder import Forwarder, Upstream

pytestmark = pytest.mark.anyio

CLIENT: Headers = [
    (b"Authorization", b"Bearer client-canary"),
    (b"api-key", b"client-canary"),
    (b"content-type", b"application/json"),
]


class Recorder:
    """A client that keeps what it is to send, and answers nothing."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []

    async def send(self, request: Any) -> Any:
        self.headers = list(request.headers)
        raise UpstreamError("nobody", status=502)

    async def close(self) -> None:
        raise NotImplementedError


async def forward(credential: Any) -> list[tuple[bytes, bytes]]:
    """Forward a request of `CLIENT`, and return the headers that would be sent."""
    client = Recorder()
    upstream = Upstream(
        name="x", base="https://provider.example", credential=credential
    )
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/models",
        "raw_path": b"/v1/models",
        "query_string": b"",
        "headers": CLIENT,
    }
    messages = [{"type": "http.request", "body": b""}]

    async def receive() -> Any:
        if not messages:
            await asyncio.Event().wait()  # the client stays
        return messages.pop()

    async def send(message: Any) -> None:
        del message

    await Forwarder(client, upstream)(scope, receive, send)
    return client.headers


async def test_the_clients_own_credential_goes_on() -> None:
    sent = await forward(PassThrough())

    assert (b"authorization", b"Bearer client-canary") in sent
    assert (b"api-key", b"client-canary") in sent


async def test_the_clients_credential_never_goes_on_beside_ours(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("ours\n")
    expected: dict[str, Any] = {
        "authorization": (b"authorization", b"Bearer ours"),
        "api-key": (b"api-key", b"ours"),
    }

    for header, ours in expected.items():
        for credential in (Injected(header, "ours"), InjectedFile(header, file)):  # type: ignore[arg-type] # the two there are
            sent = await forward(credential)

            assert ours in sent
            assert b"client-canary" not in b"".join(value for _, value in sent)


async def test_a_rotated_key_is_used_at_once(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("one")
    credential = InjectedFile("api-key", file)

    seen = [await credential.headers(())]
    file.write_text("two")  # of the same length, in the same moment
    seen.append(await credential.headers(()))
    other = tmp_path / "other"
    other.write_text("three")
    other.replace(file)
    seen.append(await credential.headers(()))

    assert seen == [[(b"api-key", key)] for key in (b"one", b"two", b"three")]


async def test_a_file_that_stays_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text("one")
    reads: list[Path] = []

    def reading(path: Path) -> str:
        reads.append(path)
        return read_key(path)

    monkeypatch.setattr("imagegate.upstream.credentials.read_key", reading)
    monkeypatch.setattr("imagegate.named_file.SETTLED", -(2**62))
    credential = InjectedFile("api-key", file)

    for _ in range(5):
        await credential.headers(())
    assert reads == [file]

    os.utime(file, (1, 1))
    await credential.headers(())
    assert reads == [file, file]


async def test_where_no_thread_can_be_had_nothing_goes_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text("one")
    credential = InjectedFile("api-key", file)

    async def none(*_: Any) -> Any:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "to_thread", none)
        with pytest.raises(UpstreamError, match="credential_unavailable") as raised:
            await credential.headers(())

    assert raised.value.resendable
    assert await credential.headers(()) == [(b"api-key", b"one")]


@pytest.mark.parametrize("text", ["", "two words", "line\nend", "ключ", "k" * 20_000])
async def test_a_file_without_a_key_lets_nothing_through(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "key"
    file.write_text("good")
    credential = InjectedFile("api-key", file)
    await credential.headers(())

    file.write_text(text)
    with pytest.raises(UpstreamError) as raised:
        await credential.headers(())
    assert raised.value.code == "credential_unavailable"
    assert raised.value.resendable

    file.write_text("good again"[:4])
    assert await credential.headers(()) == [(b"api-key", b"good")]


async def test_a_file_that_is_gone_lets_nothing_through(tmp_path: Path) -> None:
    credential = InjectedFile("api-key", tmp_path / "none")

    with pytest.raises(UpstreamError):
        await credential.headers(())
    await credential.close()


def test_a_key_is_in_no_representation(tmp_path: Path) -> None:
    credential = Injected("authorization", "canary")

    assert "canary" not in repr(credential) + str(
        vars(InjectedFile("api-key", tmp_path))
    )
    assert "authorization" in repr(credential)
    assert str(tmp_path) in repr(InjectedFile("api-key", tmp_path))


@pytest.mark.parametrize("key", ["", "two words", "line\r\nx: y", "\x00", "ключ"])
def test_what_cannot_stand_in_a_header_is_no_key(key: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a header") as raised:
        Injected("authorization", key)

    assert not key or key not in str(raised.value)
