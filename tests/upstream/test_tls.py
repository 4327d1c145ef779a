"""Whom the gateway believes, and that nothing else changes when it is encrypted."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from scripted import (
    OK,
    STREAM,
    Call,
    Connect,
    asking,
    keeping,
    pouring,
    provider,
    saying,
    until,
    whole,
)

from imagegate.upstream.client import Origin, UpstreamError, UpstreamRequest

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Authority:
    """A certificate authority of our own, in a file."""

    file: Path
    name: x509.Name
    key: ec.EllipticCurvePrivateKey

    def server(self, folder: Path, address: str = "127.0.0.1") -> ssl.SSLContext:
        """Return what a server with a certificate for an address needs."""
        key = ec.generate_private_key(ec.SECP256R1())
        san = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address(address))]
        )
        named = _signed(_name("provider"), key.public_key(), self.name, self.key, san)
        file = folder / "server.pem"
        file.write_bytes(_pem(key) + named.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _signed(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    by: ec.EllipticCurvePrivateKey,
    *extensions: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.datetime.now(tz=datetime.UTC)
    hour = datetime.timedelta(hours=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - hour)
        .not_valid_after(now + hour)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(by, hashes.SHA256())


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("our own authority")
    own = _signed(
        name, key.public_key(), name, key, x509.BasicConstraints(ca=True, path_length=0)
    )
    file = tmp_path_factory.mktemp("tls") / "authority.pem"
    file.write_bytes(own.public_bytes(serialization.Encoding.PEM))
    return Authority(file, name, key)


async def test_an_authority_from_a_file_is_believed_and_the_connection_kept(
    connect: Connect, authority: Authority, tmp_path: Path
) -> None:
    body = b"x" * 3_000_000

    async with provider(keeping, tls=authority.server(tmp_path)) as upstream:
        client = connect(authorities=authority.file)
        for _ in range(3):
            assert await whole(await client.send(asking(upstream, body))) == b"ok"

    assert [len(request) > len(body) for request in upstream.received] == [True] * 3
    assert upstream.connections == 1


async def test_an_authority_that_is_not_known_is_not_believed(
    connect: Connect,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    monkeypatch.setenv("SSL_CERT_DIR", str(authority.file.parent))

    async with provider(keeping, tls=authority.server(tmp_path)) as upstream:
        with pytest.raises(UpstreamError) as raised:
            await connect().send(asking(upstream))

    error = raised.value
    assert (error.code, error.status, error.resendable) == (
        "untrusted_certificate",
        502,
        True,
    )
    assert upstream.received == []


async def test_a_certificate_for_another_host_is_not_believed(
    connect: Connect, authority: Authority, tmp_path: Path
) -> None:
    async with provider(
        keeping, tls=authority.server(tmp_path, "127.0.0.2")
    ) as upstream:
        with pytest.raises(UpstreamError, match="untrusted_certificate"):
            await connect(authorities=authority.file).send(asking(upstream))

    assert upstream.received == []


def test_a_file_that_is_missing_is_found_at_once(
    connect: Connect, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        connect(authorities=tmp_path / "missing.pem")


async def test_a_server_that_does_not_encrypt_gets_nothing(connect: Connect) -> None:
    async def script(call: Call) -> None:
        await call.say(OK)
        call.provider.received.append(await call.reader.read(65536))

    async with provider(script) as upstream:
        upstream.scheme = "https"
        with pytest.raises(UpstreamError) as raised:
            await connect().send(asking(upstream, b"canary"))

    assert (raised.value.code, raised.value.resendable) == ("cannot_connect", True)
    assert b"canary" not in b"".join(upstream.received)


async def test_a_server_that_wants_a_certificate_of_ours_says_so(
    connect: Connect, authority: Authority, tmp_path: Path
) -> None:
    """With TLS 1.3 a client is connected before it hears of that."""
    tls = authority.server(tmp_path)
    tls.load_verify_locations(authority.file)
    tls.verify_mode = ssl.CERT_REQUIRED
    told = threading.Event()

    def refuse() -> None:
        plain, _ = listening.accept()
        with tls.wrap_socket(
            plain, server_side=True, do_handshake_on_connect=False
        ) as wire:
            with contextlib.suppress(ssl.SSLError):
                wire.do_handshake()
            told.wait(30)  # what is closed on unread bytes takes its words along

    with socket.create_server(("127.0.0.1", 0)) as listening:
        refusing = threading.Thread(target=refuse)
        refusing.start()
        request = UpstreamRequest(
            method="GET",
            origin=Origin("https", "127.0.0.1", listening.getsockname()[1]),
            target=b"/",
            headers=[(b"host", b"127.0.0.1")],
        )
        client = connect(authorities=authority.file)
        try:
            with pytest.raises(UpstreamError, match="no_answer") as raised:
                await client.send(request)
        finally:
            told.set()
            refusing.join()

    assert raised.value.cause == "no encryption: tlsv13 alert certificate required"


async def test_a_server_that_ends_the_connection_is_told_of(
    connect: Connect, authority: Authority, tmp_path: Path
) -> None:
    async def leave(call: Call) -> None:
        await call.reader.readuntil(b"\r\n\r\n")

    async with provider(leave, tls=authority.server(tmp_path)) as upstream:
        with pytest.raises(UpstreamError, match="no_answer") as raised:
            await connect(authorities=authority.file).send(asking(upstream))

    assert raised.value.cause == "it ends the connection"


async def test_who_leaves_amid_a_handshake_leaves_nothing_behind(
    connect: Connect,
) -> None:
    async def deaf(call: Call) -> None:
        await call.reader.read(1)
        await call.gone()

    async with provider(deaf) as upstream:
        upstream.scheme = "https"
        sending = asyncio.create_task(connect().send(asking(upstream)))
        await until(lambda: upstream.open)
        await asyncio.sleep(0.01)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await until(lambda: upstream.open == 0)


async def test_who_leaves_amid_a_stream_ends_it(
    connect: Connect, authority: Authority, tmp_path: Path
) -> None:
    async with provider(pouring(), tls=authority.server(tmp_path)) as upstream:
        answer = await connect(authorities=authority.file).send(asking(upstream))
        assert await answer.read()
        await answer.close()
        await until(lambda: upstream.open == 0)


async def test_a_body_cut_short_is_noticed(
    connect: Connect, authority: Authority, tmp_path: Path
) -> None:
    script = saying(STREAM + b"3\r\nabc\r\n")

    async with provider(script, tls=authority.server(tmp_path)) as upstream:
        answer = await connect(authorities=authority.file).send(asking(upstream))
        with pytest.raises(UpstreamError, match="answer_broken"):
            await whole(answer)


@pytest.mark.parametrize("later", [False, True])
async def test_what_follows_an_answer_is_nobodys(
    connect: Connect, authority: Authority, tmp_path: Path, *, later: bool
) -> None:
    foreign = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nforeign"
    done, poured = asyncio.Event(), asyncio.Event()

    async def script(call: Call) -> None:
        await call.request()
        if call.provider.connections > 1:
            await call.say(OK)
        elif later:
            await call.say(OK)
            await done.wait()
            await call.say(foreign)
        else:
            await call.say(OK + foreign)
        poured.set()
        await call.gone()

    async with provider(script, tls=authority.server(tmp_path)) as upstream:
        client = connect(authorities=authority.file)
        assert await whole(await client.send(asking(upstream))) == b"ok"
        done.set()
        await poured.wait()
        assert await whole(await client.send(asking(upstream))) == b"ok"

    assert upstream.connections == 2


async def test_a_body_that_is_not_taken_ends_at_its_deadline(
    connect: Connect, authority: Authority, tmp_path: Path
) -> None:
    asleep = asyncio.Event()

    async def script(call: Call) -> None:
        await call.reader.readuntil(b"\r\n\r\n")
        await asleep.wait()

    async with provider(script, tls=authority.server(tmp_path)) as upstream:
        client = connect(authorities=authority.file, write_seconds=0.1)
        with pytest.raises(UpstreamError, match="write_timeout"):
            await client.send(asking(upstream, b"x" * 10_000_000))
