"""What is unsafe, or cannot work on this machine: found before the first request."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from urllib.parse import urlsplit

from imagegate import shipped
from imagegate.engine.errors import PricesError
from imagegate.engine.prices import read_prices
from imagegate.named_file import read_lasting
from imagegate.server.listener import check_tls, in_words, is_loopback
from imagegate.settings.credential import (
    CredentialSource,
    FromEntra,
    FromEnvironment,
    FromFile,
    Pass,
)
from imagegate.settings.identity import check_identity
from imagegate.settings.model import Settings
from imagegate.settings.problems import Found, SettingsProblem
from imagegate.settings.secret import check_closed, check_secret
from imagegate.settings.stores import check_store
from imagegate.upstream.credentials import Injected, read_key
from imagegate.upstream.entra import MissingExtraError, check_installed
from imagegate.upstream.tunnel import Proxy, read_login

SHORTEST_KEY = 16


def check_settings(
    settings: Settings, origins: Mapping[str, str], environ: Mapping[str, str]
) -> list[SettingsProblem]:
    """Find what is unsafe or cannot work; the settings as such are read."""
    checks = (
        _check_listener(settings),
        _check_tls(settings),
        _check_authorities(settings),
        _check_proxy(settings),
        _check_prefixes(settings),
        _check_credentials(settings, environ),
        _check_audit(settings),
        _check_records(settings),
        _check_metrics(settings),
        check_store("state", settings.state),
        check_store("quotas", settings.quotas),
        check_identity(settings),
    )
    return [
        SettingsProblem(
            id=ident, path=path, origin=_said(origins.get(path, "")), message=message
        )
        for check in checks
        for ident, path, message in check
    ]


def _said(origin: str) -> str:
    return "" if origin == "default" else origin


def _check_listener(settings: Settings) -> Found:
    listen = settings.listen
    asked = settings.identity.closed or listen.unauthenticated
    if not is_loopback(listen.host) and not asked:
        yield (
            "exposed",
            "listen.host",
            (
                f"{listen.host} can be reached from other machines, and nobody is "
                "asked who they are: give out keys (--keys, `imagegate keys add`), "
                "listen on 127.0.0.1, behind a front that asks, or say "
                "--unauthenticated (`listen.unauthenticated = true`) if you mean it"
            ),
        )


def _check_tls(settings: Settings) -> Found:
    certificate, key = settings.listen.tls_certificate, settings.listen.tls_key
    if certificate is None or key is None:
        if certificate is not key:
            there, missing = "tls_certificate", "tls_key"
            if certificate is None:
                there, missing = missing, there
            message = f"TLS needs `listen.{missing}` as well"
            yield "tls-files", f"listen.{there}", message
        return
    found = list(check_closed(key, "listen.tls_key"))
    yield from found
    try:
        if not found:
            read_lasting(certificate, 1)
            check_tls(certificate, key)
    except OSError as error:
        why = "cannot be read" if error.filename or error.strerror else ""
        yield (
            "tls-files",
            "listen.tls_certificate",
            (
                f"the certificate {certificate} and its key {key} "
                f"{why or 'do not work'}: expected two PEM files that belong "
                f"together, the key unencrypted ({in_words(error)})"
            ),
        )


def _check_authorities(settings: Settings) -> Found:
    file = settings.pool.authorities
    try:
        if file is not None:
            read_lasting(file, 1)
            ssl.create_default_context().load_verify_locations(file)
    except OSError as error:
        message = f"expected a PEM file of certificates: {file} ({in_words(error)})"
        yield "tls-files", "pool.authorities", message


def _check_proxy(settings: Settings) -> Found:
    url, login = settings.pool.proxy, settings.pool.proxy_login
    if url is None:
        if login is not None:
            yield "no-proxy", "pool.proxy_login", "name the proxy, as `pool.proxy`"
        return
    try:
        Proxy.read(url)
    except ValueError as error:
        yield "bad-proxy", "pool.proxy", str(error)
    if login is not None:
        yield from check_secret(login, "pool.proxy_login", read_login, "login")


def _check_prefixes(settings: Settings) -> Found:
    for (one, first), (other, second) in combinations(settings.upstreams.items(), 2):
        short, long = sorted((first.prefix, second.prefix), key=len)
        if short == long or (short and long.startswith(f"{short}/")):
            yield (
                "overlapping-prefixes",
                f"upstreams.{other}.prefix",
                (
                    f"{second.prefix or 'no prefix'} overlaps with "
                    f"{first.prefix or 'no prefix'} of `upstreams.{one}`: give each "
                    "provider a prefix that begins no other"
                ),
            )


def read_hash_key(file: Path) -> bytes:
    """Read the key of the hashes in records; white space around it does not count.

    Raises:
        OSError: When it cannot be read.
        ValueError: When it is too short to keep anything.
    """
    key = read_lasting(file).strip()
    if len(key) < SHORTEST_KEY:
        raise ValueError(f"{file} holds no key of at least {SHORTEST_KEY} bytes")
    return key


def _check_records(settings: Settings) -> Found:
    file = settings.audit.hash_key
    if file is not None:
        found = list(check_closed(file, "audit.hash_key"))
        yield from found
        try:
            if not found:
                read_hash_key(file)
        except ValueError as error:
            yield "no-key", "audit.hash_key", str(error)
    table = settings.audit.prices
    try:
        if table is not None:
            read_prices(read_lasting(table), catalogue=shipped.catalogue())
    except OSError as error:
        message = f"{table} cannot be read: {error.strerror}"
        yield "unreadable-file", "audit.prices", message
    except PricesError as error:
        for problem in error.problems:
            yield "bad-prices", "audit.prices", f"{table}: {problem}"


def _check_audit(settings: Settings) -> Found:
    directory = settings.audit.directory
    if directory is None:
        if settings.audit.stdout == "nothing":
            message = "then nothing would be recorded: name `audit.directory` as well"
            yield "no-audit", "audit.stdout", message
        if settings.audit.mode == "blocking-strict":
            message = (
                "standard output cannot be synced to a disk: name `audit.directory`, "
                "or say `blocking`"
            )
            yield "no-audit", "audit.mode", message
        return
    near = directory if directory.exists() else directory.parent
    if not near.is_dir() or not os.access(near, os.W_OK | os.X_OK):
        message = f"user {os.getuid()} can make no files in {directory}"
        if near.is_dir() and os.statvfs(near).f_flag & os.ST_RDONLY:
            message += ": it is mounted read-only, so mount a volume there"
        yield "no-audit", "audit.directory", message


def _check_metrics(settings: Settings) -> Found:
    metrics, listen = settings.metrics, settings.listen
    if metrics.port and (metrics.host, metrics.port) == (listen.host, listen.port):
        message = "metrics have a port of their own: this one is the gateway's"
        yield "same-port", "metrics.port", message


def _check_credentials(settings: Settings, environ: Mapping[str, str]) -> Found:
    for name, upstream in settings.upstreams.items():
        path = f"upstreams.{name}.credential"
        source = upstream.credential
        yield from _check_source(source, path, environ)
        parts = urlsplit(upstream.url)
        far = not is_loopback(parts.hostname or "")
        if not isinstance(source, Pass) and parts.scheme == "http" and far:
            yield (
                "credential-in-clear",
                f"upstreams.{name}.url",
                (
                    f"the credential would go to {parts.hostname} unencrypted: "
                    "use https, or a TLS sidecar on loopback"
                ),
            )


def _check_source(
    source: CredentialSource, path: str, environ: Mapping[str, str]
) -> Found:
    match source:
        case FromEnvironment(header, name):
            if not environ.get(name):
                yield "no-credential", path, f"the variable {name} is not set"
                return
            try:
                Injected(header, environ[name])
            except ValueError as error:
                message = f"the variable {name} holds no key: {error}"
                yield "no-credential", path, message
        case FromFile(_, file):
            yield from check_secret(file, path, read_key, "key")
        case FromEntra():
            try:
                check_installed()
            except MissingExtraError as error:
                yield "missing-extra", path, str(error)
        case _:
            return
