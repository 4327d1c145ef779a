"""`imagegate serve`: the reverse proxy."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import typer

from imagegate import shipped
from imagegate.app import create_app
from imagegate.audit import StreamAudit
from imagegate.cli.exits import Exit
from imagegate.cli.policies import usable_policy
from imagegate.cli.screen import complain
from imagegate.engine.gate import Gate
from imagegate.server.run import Listener, server_for
from imagegate.upstream.forwarder import Upstream
from imagegate.upstream.httpx2_client import Httpx2Client


def run(policy_name: str, spelled: Sequence[str], listener: Listener) -> Exit:
    """Serve until stopped, and return the exit code."""
    policy = usable_policy(policy_name)
    upstreams = read_upstreams(spelled)
    gate = Gate(policy, shipped.catalogue())
    app = create_app(gate, upstreams, client=Httpx2Client(), audit=StreamAudit())
    scheme = "https" if listener.certificate else "http"
    sys.stderr.write(
        f"imagegate: {policy.name} ({policy.mode}, sha256 {gate.digest[:12]}) on "
        f"{scheme}://{listener.host}:{listener.port}\n"
    )
    for prefix, upstream in upstreams.items():
        sys.stderr.write(f"imagegate: {prefix or '/'} goes to {upstream.base}\n")
    server_for(app, listener).run()
    return Exit.FINE


def read_upstreams(spelled: Sequence[str]) -> Mapping[str, Upstream]:
    """Read `URL`, or `/prefix=URL` for one of several.

    Raises:
        typer.Exit: When one is not an upstream.
    """
    found: dict[str, Upstream] = {}
    for each in spelled:
        prefix, _, url = (
            each.rpartition("=") if each.startswith("/") else ("", "", each)
        )
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname
        if not good or parts.query or parts.fragment or parts.username:
            complain(
                f"{each!r} is not an upstream; say https://api.openai.com, or "
                "/azure=https://my.openai.azure.com for one of several"
            )
            raise typer.Exit(Exit.USAGE)
        found[prefix.rstrip("/")] = Upstream(
            name=prefix.strip("/") or "default", base=url
        )
    return found
