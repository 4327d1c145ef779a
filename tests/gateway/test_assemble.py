from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from imagegate import shipped
from imagegate.engine.errors import PolicyError
from imagegate.gates.watch import News
from imagegate.gateway.assemble import (
    assemble,
    audit_of,
    client_of,
    credential_of,
    limits_of,
    proxy_of,
)
from imagegate.gateway.plan import (
    Live,
    Plan,
    decode_news,
    decode_settings,
    encode,
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


def policy_text(name: str) -> bytes:
    return shipped.find_policy(name).read_bytes()


def planned(said: Settings, **texts: bytes) -> Plan:
    """Plan what is said, with what the files say that are named."""
    texts["policy"] = policy_text(said.policy)
    if said.candidate is not None:
        texts["candidate"] = policy_text(said.candidate)
    return Plan(settings=said, news=News(texts=texts))


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
    news = News(texts={"policy": b"a\nb\xff"}, stale=("candidate",))

    lines = encode(said), encode(news)

    assert not any(b"\n" in line for line in lines)
    assert decode_settings(lines[0]) == said
    assert decode_news(lines[1]) == news


def test_one_place_says_how_large_a_head_may_be() -> None:
    said = settings(head=HeadLimits(count=7, size=700))

    assert (limits_of(said).headers, limits_of(said).head) == (7, 700)


def test_a_plan_becomes_a_gateway() -> None:
    said = settings()

    assert callable(assemble(said, Live(planned(said)), {}))
    assert client_of(said)._connections == 1000


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


def test_a_trail_that_fails_from_the_start_is_told_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sink = audit_of(AuditSettings(directory=Path("/proc/trail")))  # not even root may
    asyncio.run(sink.close())

    [failing] = map(json.loads, capsys.readouterr().err.splitlines())
    assert failing["event"] == "imagegate.audit_failing"
    assert failing["problem"].startswith("/proc/trail: ")


def test_records_get_their_key_and_their_prices(tmp_path: Path) -> None:
    key, table = tmp_path / "key", tmp_path / "prices.toml"
    key.write_text("0123456789abcdef\n")
    text = Path(shipped.__file__).with_name("prices.toml").read_text()
    table.write_text(text.replace('date = "2026-11-21"', 'date = "2027-01-01"'))
    audit = AuditSettings(hash_key=key, prices=table)
    said = settings(audit=audit)

    gate = Live(planned(said, prices=table.read_bytes())).gates.current.gate

    assert gate._hash_key == b"0123456789abcdef"
    assert gate.prices is not None
    assert gate.prices.date == "2027-01-01"
    plain = Live(planned(settings())).gates.current.gate
    assert plain.prices == shipped.prices()


def test_what_is_live_is_replaced_whole_or_not_at_all() -> None:
    live = Live(planned(settings(candidate="regulated")))
    first = live.gates.current
    text, beside = (first.gate, first.candidate)
    assert beside is not None
    assert (text.policy.name, beside.policy.name) == ("standard", "regulated")
    texts = {name: policy_text(name) for name in ("standard", "regulated")}
    swapped = {"policy": texts["regulated"], "candidate": texts["standard"]}

    with pytest.raises(PolicyError):
        live.apply(News(texts={**swapped, "candidate": b"no policy"}))
    assert live.gates.current is first

    assert live.apply(News(texts=swapped, stale=("prices",))) is True
    second = live.gates.current
    assert live.apply(News(texts=swapped)) is False
    assert live.gates.current is second
    assert second.candidate is not None
    assert (second.gate.digest, second.candidate.digest) == (beside.digest, text.digest)
    assert live.gates.stale == ()
