"""What the tests of the whole gateway stand on: gates, servers, and a log to watch."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from imagegate import shipped
from imagegate.engine.gate import Gate
from imagegate.policyfile import load_policy

PrivateKey = ec.EllipticCurvePrivateKey
BOUND = 10.0
"""Seconds in which what is waited for must have happened."""


def gate_of(name: str) -> Gate:
    file = shipped.find_policy(name)
    catalogue = shipped.catalogue()
    policy = load_policy(
        file.read_bytes(),
        file=name,
        catalogue=catalogue,
        today=datetime.date(2026, 11, 21),
    )
    return Gate(policy, catalogue)


class Log(io.BytesIO):
    """The stream that records go to, and whoever waits for them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[bytes] = []
        self._grown = threading.Condition()

    def write(self, data: Any, /) -> int:
        with self._grown:
            self.lines += bytes(data).splitlines()
            self._grown.notify_all()
        return len(data)

    def wait_until(self, done: Callable[[], bool]) -> None:
        with self._grown:
            assert self._grown.wait_for(done, BOUND)

    def since(self, start: int) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines[start:]]

    def open_since(self, start: int) -> set[str]:
        """Name the exchanges that have not been completed."""
        found = self.since(start)
        finished = {
            record["decision_id"]
            for record in found
            if record["event"] == "imagegate.exchange_finished"
        }
        return {record["decision_id"] for record in found} - finished


@contextlib.contextmanager
def serving(server: uvicorn.Server, scheme: str = "http") -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextlib.contextmanager
def plainly(app: Any) -> Iterator[str]:
    """Serve an application as uvicorn does by itself, with no guard of ours."""
    config = uvicorn.Config(
        app,
        interface="asgi3",
        ws="websockets-sansio",
        ws_max_size=1 << 26,
        lifespan="off",
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
    with serving(uvicorn.Server(config)) as url:
        yield url


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority made up for one run, and a server it vouches for."""

    authority: Path
    server: Path
    key: Path


def certify(folder: Path) -> Certificates:
    """Make an authority and a certificate for `localhost`, good for a day."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _certificate("a test authority", ca_key, "a test authority", ca_key)
    server = _certificate("localhost", key, "a test authority", ca_key)
    found = Certificates(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    found.authority.write_bytes(authority.public_bytes(Encoding.PEM))
    found.server.write_bytes(server.public_bytes(Encoding.PEM))
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    found.key.touch(mode=0o600)
    found.key.write_bytes(secret)
    return found


def _certificate(
    name: str, key: PrivateKey, issuer: str, issuer_key: PrivateKey
) -> x509.Certificate:
    now = datetime.datetime.now(tz=datetime.UTC)
    day = datetime.timedelta(days=1)
    host = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    authority = x509.BasicConstraints(ca=key is issuer_key, path_length=None)
    # Since 3.13 Python asks for it, as RFC 5280 does.
    use = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key is issuer_key,
        crl_sign=key is issuer_key,
        encipher_only=False,
        decipher_only=False,
    )
    known_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(
        issuer_key.public_key()
    )
    return (
        x509.CertificateBuilder(_named(issuer), _named(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(host, critical=False)
        .add_extension(authority, critical=True)
        .add_extension(use, critical=True)
        .add_extension(known_by, critical=False)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        .sign(issuer_key, SHA256())
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def without(reason: str) -> NoReturn:
    """Do without a client that is not here; where all are required, fail."""
    if os.environ.get("REQUIRED_CLIENTS"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(frozen=True)
class Process:
    """A gateway in a process of its own, as an operator starts it."""

    url: str
    running: subprocess.Popen[bytes]
    log: Path
    records: Path

    def reset_peak(self) -> None:
        """Forget how much memory was held at most."""
        Path(f"/proc/{self.running.pid}/clear_refs").write_text("5")

    def memory(self, name: str = "VmHWM") -> int:
        """Return how many bytes it holds (`VmRSS`), or held at most (`VmHWM`)."""
        status = Path(f"/proc/{self.running.pid}/status").read_text()
        line = next(row for row in status.splitlines() if row.startswith(name))
        return int(line.split()[1]) * 1024


@contextlib.contextmanager
def process(provider: str, folder: Path, **environment: str) -> Iterator[Process]:
    """Run `imagegate serve`, with its records and its log in files."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log, records = folder / "log", folder / "records"
    command = [sys.executable, "-m", "imagegate", "serve", "--policy", "standard"]
    command += ["--upstream", provider, "--port", str(port), "--grace", "1"]
    with log.open("wb") as errors, records.open("wb") as out:
        running = subprocess.Popen(
            command, stdout=out, stderr=errors, env={**os.environ, **environment}
        )
    try:
        _wait_for(port, running)
        url = f"http://127.0.0.1:{port}"
        yield Process(url=url, running=running, log=log, records=records)
    finally:
        running.terminate()
        running.wait(BOUND)


def _wait_for(port: int, running: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 2 * BOUND
    while time.monotonic() < deadline and running.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise AssertionError("the gateway did not start")
