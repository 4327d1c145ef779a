"""Where the gateway listens, and what can be wrong with that."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import ssl
from pathlib import Path
from typing import Final

import msgspec

BACKLOG = 2048
"""Connections that wait to be taken; the kernel has a limit of its own."""

_BETTER: Final = {
    errno.EACCES: "a port below 1024 takes CAP_NET_BIND_SERVICE; choose another "
    "`listen.port`, or have a front listen there",
    errno.EADDRINUSE: "choose another `listen.host` or `listen.port`, or end what has "
    "it",
}
"""What is better, by the system's number; else what is for most of them."""


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """Where the gateway listens, and with how many processes.

    Attributes:
        host: An address, or a name that has one.
        port: 0 takes any that is free.
        tls_certificate: A PEM file; with `tls_key`, the listener speaks TLS, which
            azure-core demands before it shows a token.
        tls_key: Its key, unencrypted, and readable by nobody else.
        grace: Seconds that open streams get when the server stops.
        workers: Processes that share the port.
        connections: How many there may be at once, of each worker.
        connections_each: How many from one address; as many as there can be if None.
        unauthenticated: Whoever reaches the port may use the gateway.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    grace: int = 30
    workers: int = 1
    connections: int = 10_000
    connections_each: int | None = None
    unauthenticated: bool = False


class CannotListenError(Exception):
    """The address cannot be had; one line says why."""


def is_loopback(host: str) -> bool:
    """Tell whether nobody on another machine reaches a host."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(listener: Listener) -> socket.socket:
    """Take the address.

    Raises:
        CannotListenError: When it cannot be had.
    """
    try:
        found = socket.getaddrinfo(
            listener.host, listener.port, type=socket.SOCK_STREAM
        )
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        # What Python adds to the kernel's words repeats the address.
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror
        better = _BETTER.get(number, _BETTER[errno.EADDRINUSE])
        where = f"{in_url(listener.host)}:{listener.port}"
        raise CannotListenError(f"cannot listen on {where}: {why}; {better}") from None


def url_of(listener: Listener, port: int) -> str:
    """Return the address as clients write it."""
    scheme = "https" if listener.tls_certificate else "http"
    return f"{scheme}://{in_url(listener.host)}:{port}"


def in_url(host: str) -> str:
    """Return a host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def check_tls(certificate: Path, key: Path) -> None:
    """Load a certificate and its key, as the server will.

    Raises:
        OSError: When a file cannot be read, or the two do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # An encrypted key fails; OpenSSL would ask the terminal for the password.
    context.load_cert_chain(certificate, key, password=lambda: b"")


def in_words(error: OSError) -> str:
    """Name what is wrong with a file of TLS, without OpenSSL's file and line."""
    said = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return (said or "no PEM").lower()
