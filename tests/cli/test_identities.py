"""`imagegate serve` asks who is there: with the real SDKs, in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from inside import imagegate
from running import Gateway, gateways, run, until
from stage import serving
from starlette.types import Receive, Scope, Send
from tokens import RSA, jwk, published, signed

from imagegate.server.listener import Listener
from imagegate.server.run import server_for
from imagegate.simulator import Simulator

IMAGE: Any = {"type": "image_generation"}
Start = Callable[..., Gateway]
PROVIDERS = "sk-provider-canary"


@pytest.fixture
def start(provider: str, tmp_path: Path) -> Iterator[Start]:
    """Start a gateway in front of the simulator; it ends with the test."""
    said = ("--policy", "standard", "--upstream", provider)
    key = ("--credential", "authorization=env:KEY")
    with gateways(tmp_path) as begin:
        yield partial(begin, *said, *key, KEY=PROVIDERS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


@pytest.fixture
def keys(file: Path) -> Callable[..., str]:
    """Run `imagegate keys`, and return what it prints."""

    def call(*words: str) -> str:
        ran = imagegate("keys", *words, "--file", file)
        assert ran.code == 0, ran.err
        return ran.out.strip()

    return call


def ask(gateway: Gateway, key: str, **options: Any) -> Any:
    with gateway.client(api_key=key) as client:
        return client.responses.create(
            model="gpt-5", input="a cat", tools=[IMAGE], **options
        )


def is_refused(gateway: Gateway, key: str) -> bool:
    try:
        ask(gateway, key)
    except openai.AuthenticationError:
        return True
    return False


def test_an_sdk_shows_its_key_and_the_provider_gets_ours(
    start: Start, file: Path, keys: Callable[..., str], simulator: Simulator
) -> None:
    key = keys("add", "--name", "ci", "--team", "design")
    gateway = start("--keys", file)

    assert ask(gateway, key).output[0].type == "image_generation_call"

    received = simulator.received[-1]
    assert received.header("authorization") == f"Bearer {PROVIDERS}"
    assert received.header("api-key") is None
    [record] = gateway.records("request_rewritten")
    assert record["principal_id"] == "ci"
    assert record["principal_team"] == ["design"]
    assert (record["principal_source"], record["principal_verified"]) == ("key", True)
    assert record["principal_proof"] == f"key {key.split('_')[1]}"


def test_azures_sdk_shows_its_key_in_a_header_of_its_own(
    start: Start, file: Path, keys: Callable[..., str], simulator: Simulator
) -> None:
    key = keys("add", "--name", "ci")
    gateway = start("--keys", file)

    with openai.AzureOpenAI(
        base_url=f"{gateway.url}/openai/v1",
        api_key=key,
        api_version="preview",
        max_retries=0,
    ) as client:
        client.responses.create(model="gpt-5", input="a cat")

    received = simulator.received[-1]
    assert received.header("authorization") == f"Bearer {PROVIDERS}"
    assert received.header("api-key") is None
    until(lambda: bool(gateway.records("exchange_finished")))


def test_who_shows_another_key_gets_the_sdks_own_error_at_once(
    start: Start, file: Path, keys: Callable[..., str], simulator: Simulator
) -> None:
    keys("add", "--name", "ci")
    gateway = start("--keys", file)
    before = len(simulator.received)

    with (
        gateway.client(api_key="sk-other-canary", max_retries=5) as client,
        pytest.raises(openai.AuthenticationError) as raised,
    ):
        client.responses.create(model="gpt-5", input="a cat")

    assert raised.value.code == "invalid_api_key"
    assert raised.value.type == "invalid_request_error"
    assert len(simulator.received) == before
    [record] = gateway.records("request_malformed")
    assert record["violations"][0]["code"] == "invalid_api_key"
    until(lambda: len(gateway.records("exchange_finished")) == 1)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_keys_are_changed_while_it_runs(
    start: Start, file: Path, keys: Callable[..., str], workers: str
) -> None:
    first = keys("add", "--name", "ci")
    gateway = start("--keys", file, "--workers", workers)
    assert ask(gateway, first).output

    second = keys("rotate", "ci", "--overlap", "1h")
    until(lambda: not any(is_refused(gateway, second) for _ in range(4)))
    assert ask(gateway, first).output

    keys("revoke", first.split("_")[1])
    until(lambda: all(is_refused(gateway, first) for _ in range(4)))
    assert ask(gateway, second).output


def test_a_key_of_ours_stands_beside_a_provider_key_that_goes_on(
    start: Start, file: Path, keys: Callable[..., str], simulator: Simulator
) -> None:
    key = keys("add", "--name", "ci")
    gateway = start(
        "--keys", file, "--credential", "pass",
        IMAGEGATE_IDENTITY_HEADER="x-imagegate-key",
    )  # fmt: skip

    ask(gateway, "sk-client", extra_headers={"x-imagegate-key": key})
    assert is_refused(gateway, key)

    received = simulator.received[-1]
    assert received.header("authorization") == "Bearer sk-client"
    assert received.header("x-imagegate-key") is None


def test_a_front_on_a_listed_peer_says_who_asks_and_the_provider_never_hears_it(
    start: Start, simulator: Simulator
) -> None:
    named = {"x-our-user": "anna", "x-teams": "design"}
    gateway = start(
        IMAGEGATE_IDENTITY_HEADERS_PEERS="127.0.0.1/32",
        IMAGEGATE_IDENTITY_HEADERS_USER="x-our-user",
        IMAGEGATE_IDENTITY_HEADERS_TEAM="x-teams",
    )

    ask(gateway, "client", extra_headers=named)

    [record] = gateway.records("request_rewritten")
    assert (record["principal_id"], record["principal_source"]) == ("anna", "header")
    assert record["principal_team"] == ["design"]
    assert record["principal_proof"] == "front 127.0.0.1"
    received = simulator.received[-1]
    assert [received.header(name) for name in named] == [None, None]
    assert is_refused(gateway, "client")


def test_from_a_peer_that_is_not_listed_the_same_headers_say_nothing(
    start: Start, simulator: Simulator
) -> None:
    gateway = start(
        IMAGEGATE_IDENTITY_HEADERS_PEERS="10.0.0.7/32",
        IMAGEGATE_IDENTITY_HEADERS_USER="x-our-user",
        IMAGEGATE_IDENTITY_REQUIRED="false",
    )

    ask(gateway, "client", extra_headers={"x-our-user": "anna"})

    [record] = gateway.records("request_rewritten")
    assert (record["principal_id"], record["principal_source"]) == ("anonymous", "none")
    assert simulator.received[-1].header("x-our-user") is None


class Realm:
    """An identity provider over a socket: it rotates, it dies, it holds its tongue."""

    def __init__(self) -> None:
        self.keys = [jwk(RSA)]
        self.status = 200
        self.asked: list[str] = []
        self.url = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            return
        self.asked.append(scope["path"])
        said = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        body = published(*self.keys) if scope["path"] == "/keys" else dumped(said)
        start = {"type": "http.response.start", "status": self.status, "headers": []}
        await send(start)
        await send({"type": "http.response.body", "body": body})


def dumped(said: object) -> bytes:
    return json.dumps(said).encode()


@pytest.fixture
def realm() -> Iterator[Realm]:
    found = Realm()
    with serving(server_for(found, Listener(grace=1))) as url:
        found.url = url
        yield found


def trusting(realm: Realm) -> dict[str, str]:
    return {
        "IMAGEGATE_IDENTITY_JWT_ISSUER": realm.url,
        "IMAGEGATE_IDENTITY_JWT_AUDIENCE": "imagegate",
        "IMAGEGATE_IDENTITY_JWT_ATTRIBUTES": "region",
    }


def test_a_token_of_a_provider_says_who_asks(
    start: Start, realm: Realm, simulator: Simulator
) -> None:
    gateway = start(**trusting(realm))
    token = signed(iss=realm.url, groups=["design"], region="eu")

    assert ask(gateway, token).output
    assert ask(gateway, token).output

    record = gateway.records("request_rewritten")[-1]
    assert (record["principal_id"], record["principal_source"]) == ("anna", "jwt")
    assert record["principal_team"] == ["design"]
    assert record["principal_proof"] == f"issuer {realm.url}"
    assert realm.asked == ["/.well-known/openid-configuration", "/keys"]
    received = simulator.received[-1]
    assert received.header("authorization") == f"Bearer {PROVIDERS}"
    with pytest.raises(openai.AuthenticationError) as raised:
        ask(gateway, signed(iss=realm.url, exp=1))
    assert raised.value.code == "expired_token"
    assert gateway.end() == 0
    assert token not in gateway.log()
    assert token.rpartition(".")[2] not in gateway._out.read_text()


def test_keys_that_cannot_be_had_are_nobodys_fault(start: Start, realm: Realm) -> None:
    realm.status = 500
    gateway = start(**trusting(realm))

    with pytest.raises(openai.InternalServerError) as raised:
        ask(gateway, signed(iss=realm.url))

    assert raised.value.status_code == 503
    assert raised.value.code == "identity_unavailable"
    assert raised.value.response.headers["x-should-retry"] == "true"
    assert len(gateway.said("jwks_not_fetched")) == 1


def test_health_is_nobodys_secret(
    start: Start, file: Path, keys: Callable[..., str]
) -> None:
    keys("add", "--name", "ci")
    gateway = start("--keys", file)

    for path in ("livez", "readyz"):
        assert httpx2.get(f"{gateway.url}/{path}").status_code == 200
    assert httpx2.get(f"{gateway.url}/v1/models").status_code == 401


def test_keys_let_it_listen_to_everybody(
    start: Start, file: Path, keys: Callable[..., str]
) -> None:
    keys("add", "--name", "ci")

    gateway = start("--keys", file, "--host", "0.0.0.0")  # noqa: S104 - what keys are for

    assert gateway.said("unauthenticated") == []
    assert gateway.end() == 0


def test_no_key_is_in_any_output(
    start: Start, file: Path, keys: Callable[..., str], provider: str, tmp_path: Path
) -> None:
    key, gone = keys("add", "--name", "ci"), keys("add", "--name", "gone")
    keys("revoke", "gone")
    gateway = start(
        "--keys", file, "--metrics-port", "0", "--audit", tmp_path / "trail"
    )
    [metrics] = gateway.said("metrics")

    ask(gateway, key)
    wrong = f"{key[:-1]}{'a' if key[-1] != 'a' else 'b'}"
    answers = [
        httpx2.post(f"{gateway.url}/v1/responses", headers=headers, content=b"{}")
        for shown in (key, gone, wrong, f"{key} {key}", f"{key}\x7f")
        for headers in (
            {"authorization": f"Bearer {shown}"},
            {"api-key": shown},
            {"x-imagegate-key": shown},
            {"authorization": f"Bearer {shown}", "api-key": "other"},
        )
    ]
    page = httpx2.get(metrics["url"]).text
    printed = run(
        "-p", "standard", "--upstream", provider, "--keys", file, "--print-config",
        "--credential", "authorization=env:KEY", KEY="k",
    )  # fmt: skip
    assert gateway.end() == 0

    assert {answer.status_code for answer in answers} <= {400, 401, 415}
    trail = b"".join(each.read_bytes() for each in (tmp_path / "trail").glob("*"))
    told = [page, printed.stdout, gateway.log(), gateway._out.read_text()]
    told += [trail.decode("latin-1"), *(answer.text for answer in answers)]
    told += [str(answer.headers) for answer in answers]
    assert printed.returncode == 0
    assert b"revoked_api_key" in trail
    for secret in (key, gone, PROVIDERS):
        body = secret.rpartition("_")[2][:-4]
        assert not any(body in text for text in told)
