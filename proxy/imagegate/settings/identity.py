"""What can be wrong with how it is found out who asks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imagegate.identity import KeysError
from imagegate.identity.issuer import MissingExtraError
from imagegate.identity.keyfile import read_keys
from imagegate.identity.options import TokenOptions, front_of, issuer_of
from imagegate.named_file import read_lasting
from imagegate.settings.credential import Pass
from imagegate.settings.model import Settings
from imagegate.settings.problems import Found


def check_identity(settings: Settings) -> Found:
    """Find what is unsafe, or could not identify anybody."""
    yield from _check_keys(settings)
    yield from _check_front(settings)
    yield from _check_tokens(settings.identity.jwt)
    yield from _check_passing(settings)
    identity = settings.identity
    if identity.header != "authorization" and not identity.by_credential:
        message = "nobody is asked for anything: name `identity.keys.file` as well"
        yield "no-identity", "identity.header", message


def _check_keys(settings: Settings) -> Found:
    file = settings.identity.keys.file
    if file is None:
        return
    try:
        read_keys(file)
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}"
        if isinstance(error, FileNotFoundError):
            message += f"; make it with `imagegate keys add --file {file} --name …`"
        yield "unreadable-file", "identity.keys.file", message
    except KeysError as error:
        for problem in error.problems:
            yield "bad-keys", "identity.keys.file", f"{file}: {problem}"


def _check_front(settings: Settings) -> Found:
    try:
        front_of(settings.identity.headers)
    except ValueError as error:
        yield "bad-front", "identity.headers.peers", str(error)


def _check_tokens(options: TokenOptions) -> Found:
    try:
        issuer_of(options, _never)
        if options.issuer is not None and options.jwks_file is not None:
            _read_jwks(options.jwks_file, options.algorithms)
    except MissingExtraError as error:
        yield "missing-extra", "identity.jwt.issuer", str(error)
    except OSError as error:
        message = f"{options.jwks_file} cannot be read: {error.strerror}"
        yield "unreadable-file", "identity.jwt.jwks_file", message
    except ValueError as error:
        yield "bad-issuer", "identity.jwt.issuer", str(error)


async def _never(url: str) -> tuple[bytes, float | None]:
    """Stand for what fetches: here nothing is fetched."""
    raise OSError(url)


def _read_jwks(file: Path, algorithms: Sequence[str]) -> None:
    from imagegate.identity.jwks import (  # noqa: PLC0415 - an extra
        JwksError,
        read_jwks,
    )

    try:
        read_jwks(read_lasting(file), algorithms)
    except JwksError as error:
        raise ValueError(f"{file}: {error}") from None


def _check_passing(settings: Settings) -> Found:
    """Check that what is meant for this gateway does not go to a provider."""
    identity = settings.identity
    if not identity.by_credential or identity.header != "authorization":
        return
    for name, upstream in settings.upstreams.items():
        if isinstance(upstream.credential, Pass):
            yield (
                "credential-goes-on",
                f"upstreams.{name}.credential",
                (
                    "the clients' credentials for this gateway would go on to the "
                    "provider: give the provider's own (`authorization=env:NAME`), or "
                    'say `identity.header = "x-imagegate-key"`, where clients then '
                    "show theirs next to a key of the provider's"
                ),
            )
