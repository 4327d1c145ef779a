"""What can be wrong with where judgements and counters are kept."""

from __future__ import annotations

from imagegate.redis_server import check_url, is_installed, read_password
from imagegate.settings.model import StoreSettings
from imagegate.settings.problems import Found
from imagegate.settings.secret import check_secret


def check_store(section: str, store: StoreSettings) -> Found:
    """Find what cannot work; the section is the settings' name: `quotas`."""
    file, redis, password = store.file, store.redis, store.password
    if file is not None and redis is not None:
        message = "this is kept in one place: name a file or a server"
        yield "two-places", f"{section}.redis", message
    if file is not None and not file.parent.is_dir():
        message = f"there is no directory {file.parent} for {file.name}"
        yield "no-directory", f"{section}.file", message
    if redis is not None:
        yield from _check_server(section, redis)
    if password is not None:
        path = f"{section}.password"
        yield from check_secret(password, path, read_password, "password")
        if redis is None:
            message = f"a password of no server: name `{section}.redis` as well"
            yield "no-server", path, message


def _check_server(section: str, url: str) -> Found:
    try:
        check_url(url)
    except ValueError as error:
        yield "bad-value", f"{section}.redis", str(error)
        return
    if not is_installed():
        message = "keeping it in Redis needs imagegate[redis]"
        yield "missing-extra", f"{section}.redis", message
