from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from imagegate import shipped
from imagegate.gateway.assemble import (
    Plan,
    assemble,
    client_of,
    credential_of,
    gate_of,
    limits_of,
    proxy_of,
)
from imagegate.server.guard import HeadLimits
from imagegate.settings import (
    AuditSettings,
    Pool,
    Settings,
    UpstreamSettings,
    read_settings,
)
from imagegate.settings.credential import read_credential
from imagegate.upstream.credentials import Injected, InjectedFile, PassThrough
from imagegate.upstream.entra import EntraId
from imagegate.upstream.fast.client import FastClient
from imagegate.upstream.httpx2_client import Httpx2Client

ENOUGH: Mapping[str, Any] = {
    "policy": "standard",
    "upstreams": ["/openai-de=https://api.openai.com"],
}


def settings(**changes: Any) -> Settings:
    read = read_settings(ENOUGH, {}).settings
    return msgspec.structs.replace(read, **changes)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("pass", PassThrough),
        ("authorization=env:KEY", Injected),
        ("api-key=file:/run/key", InjectedFile),
        ("entra", EntraId),
    ],
)
def test_each_source_becomes_its_credential(text: str, kind: type) -> None:
    upstream = UpstreamSettings(url="https://x.test", credential=read_credential(text))

    assert type(credential_of(upstream, {"KEY": "k"})) is kind


@pytest.mark.parametrize(
    ("url", "text", "scope"),
    [
        (
            "https://r.openai.azure.com",
            "entra",
            "https://cognitiveservices.azure.com/.default",
        ),
        (
            "https://r.services.ai.azure.com",
            "entra",
            "https://ai.azure.com/.default",
        ),
        (
            "https://services.ai.azure.com.evil.test",
            "entra",
            "https://cognitiveservices.azure.com/.default",
        ),
        (
            "https://r.openai.azure.com",
            "entra=https://ai.azure.com/.default",
            "https://ai.azure.com/.default",
        ),
    ],
)
def test_a_token_is_asked_for_what_the_host_is(url: str, text: str, scope: str) -> None:
    upstream = UpstreamSettings(url=url, credential=read_credential(text))

    assert repr(credential_of(upstream, {})) == f"EntraId(scope={scope!r})"


def test_a_plan_reaches_a_worker_as_it_was() -> None:
    file = shipped.find_policy("standard")
    upstreams = {
        str(number): UpstreamSettings(
            url="https://x.test", prefix=f"/{number}", credential=read_credential(text)
        )
        for number, text in enumerate(
            ["pass", "api-key=env:K", "api-key=file:/k", "entra=https://a/.default"]
        )
    }
    pool = Pool(authorities=Path("/etc/ssl/ours.pem"))
    said = settings(upstreams=upstreams, pool=pool)
    plan = Plan(settings=said, file=str(file), policy=file.read_bytes())

    line = plan.encode()

    assert b"\n" not in line
    assert Plan.decode(line) == plan


def test_one_place_says_how_large_a_head_may_be() -> None:
    said = settings(head=HeadLimits(count=7, size=700))

    assert (limits_of(said).headers, limits_of(said).head) == (7, 700)


def test_a_plan_becomes_a_gateway() -> None:
    file = shipped.find_policy("standard")
    plan = Plan(settings=settings(), file=str(file), policy=file.read_bytes())

    assert callable(assemble(plan, {}))
    assert client_of(plan.settings)._connections == 1000


@pytest.mark.parametrize(
    ("said", "kind"),
    [("auto", FastClient), ("fast", FastClient), ("httpx2", Httpx2Client)],
)
def test_each_client_has_its_name(said: Any, kind: type) -> None:
    assert type(client_of(settings(pool=Pool(client=said)))) is kind


def test_a_proxy_has_its_login_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "login"
    file.write_text("user:canary\n")

    proxy = proxy_of(Pool(proxy="socks5://proxy.test", proxy_login=file))

    assert proxy is not None
    assert (proxy.login, proxy.port) == (b"user:canary", 1080)
    assert "canary" not in repr(proxy)
    assert proxy_of(Pool()) is None


def test_records_get_their_key_and_their_prices(tmp_path: Path) -> None:
    key, table = tmp_path / "key", tmp_path / "prices.toml"
    key.write_text("0123456789abcdef\n")
    text = Path(shipped.__file__).with_name("prices.toml").read_text()
    table.write_text(text.replace('date = "2026-11-21"', 'date = "2027-01-01"'))
    file = shipped.find_policy("standard")
    audit = AuditSettings(hash_key=key, prices=table)
    plan = Plan(
        settings=settings(audit=audit), file="standard", policy=file.read_bytes()
    )

    gate = gate_of(plan)

    assert gate._hash_key == b"0123456789abcdef"
    assert gate.prices is not None
    assert gate.prices.date == "2027-01-01"
    plain = msgspec.structs.replace(plan, settings=settings())
    assert gate_of(plain).prices == shipped.prices()
