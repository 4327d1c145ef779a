"""What can be wrong with where the counters of quotas are kept."""

from __future__ import annotations

from collections.abc import Iterator

from imagegate.quotas.options import QuotaOptions
from imagegate.quotas.redis import check_url, is_installed, read_password

Found = Iterator[tuple[str, str, str]]


def check_quotas(options: QuotaOptions, *, readable: bool) -> Found:
    """Find what cannot work.

    Args:
        options: Where the counters are.
        readable: The file of the password is one that may be read.
    """
    file, redis, password = options.file, options.redis, options.password
    if file is not None and redis is not None:
        message = "counters are kept in one place: name a file or a server"
        yield "two-places", "quotas.redis", message
    if file is not None and not file.parent.is_dir():
        message = f"there is no directory {file.parent} for {file.name}"
        yield "no-directory", "quotas.file", message
    if redis is not None:
        yield from _check_server(redis)
    if password is not None and redis is None:
        message = "a password of no server: name `quotas.redis` as well"
        yield "no-server", "quotas.password", message
    elif password is not None and readable:
        try:
            read_password(password)
        except ValueError as error:
            message = f"{password} holds no password: {error}"
            yield "no-credential", "quotas.password", message


def _check_server(url: str) -> Found:
    try:
        check_url(url)
    except ValueError as error:
        yield "bad-value", "quotas.redis", str(error)
        return
    if not is_installed():
        message = "counters in Redis need imagegate[redis]"
        yield "missing-extra", "quotas.redis", message
