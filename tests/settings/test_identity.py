from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from keyed import given_out, write_keys
from tokens import published

from imagegate.settings import Reading, read_settings
from imagegate.settings.identity import _never

ENOUGH: Mapping[str, Any] = {
    "policy": "standard",
    "upstreams": ["https://api.openai.com"],
    "credential": "authorization=env:KEY",
}
APART = {"IMAGEGATE_IDENTITY_HEADER": "x-imagegate-key"}


def read(environ: Mapping[str, str] | None = None, /, **options: Any) -> Reading:
    said = {path.replace("__", "."): str(value) for path, value in options.items()}
    return read_settings({**ENOUGH, **said}, {"KEY": "k", **(environ or {})})


def found(reading: Reading) -> list[tuple[str, str]]:
    return [(each.id, each.path) for each in reading.problems]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "keys", given_out()[1])


def test_who_asks_for_keys_may_listen_to_everybody(keys: Path) -> None:
    host = "0.0.0.0"  # noqa: S104 - what keys are for

    assert found(read(identity__keys__file=keys, listen__host=host)) == []
    assert found(read(listen__host=host)) == [("exposed", "listen.host")]


def test_who_need_not_show_a_key_is_anybody(keys: Path) -> None:
    relaxed = {"IMAGEGATE_IDENTITY_REQUIRED": "false"}

    reading = read(relaxed, identity__keys__file=keys, listen__host="::")

    assert found(reading) == [("exposed", "listen.host")]


def test_a_file_of_keys_must_be_there_closed_and_whole(tmp_path: Path) -> None:
    def check(file: Path) -> list[tuple[str, str]]:
        return found(read(identity__keys__file=file))

    (tmp_path / "text").write_text("text")
    (tmp_path / "text").chmod(0o600)
    opened = write_keys(tmp_path / "opened", mode=0o644)
    where = "identity.keys.file"
    assert check(tmp_path / "none") == [("unreadable-file", where)]
    assert check(tmp_path / "text") == [("bad-keys", where)]
    assert check(opened) == [("bad-keys", where)]
    assert check(tmp_path) == [("unreadable-file", where)]


def test_a_missing_file_is_said_with_the_command_that_makes_it(tmp_path: Path) -> None:
    [problem] = read(identity__keys__file=tmp_path / "none").problems

    assert f"imagegate keys add --file {tmp_path / 'none'}" in problem.message


def test_a_key_of_ours_never_goes_to_a_provider(keys: Path) -> None:
    passing = {"credential": "pass", "identity__keys__file": keys}

    [problem] = read(**passing).problems
    apart = read(APART, **passing)

    assert problem.id == "credential-goes-on"
    assert problem.path == "upstreams.default.credential"
    assert "x-imagegate-key" in problem.message
    assert found(apart) == []


def test_a_header_for_nobody_is_a_mistake() -> None:
    assert found(read(APART)) == [("no-identity", "identity.header")]


def headers(**said: str) -> dict[str, str]:
    return {f"IMAGEGATE_IDENTITY_HEADERS_{k.upper()}": v for k, v in said.items()}


def test_a_front_is_believed_by_its_addresses() -> None:
    said = headers(peers="10.0.0.7/32, 10.0.0.8", attributes="region=x-region")

    reading = read(said, listen__host="::")

    assert found(reading) == []
    front = reading.settings.identity.headers
    assert front.peers == ("10.0.0.7/32", "10.0.0.8")
    assert front.attributes == ("region=x-region",)


def test_a_front_needs_no_credential_of_the_clients_and_so_it_may_go_on() -> None:
    assert found(read(headers(peers="10.0.0.7"), credential="pass")) == []


@pytest.mark.parametrize(
    "said",
    [
        {"peers": "0.0.0.0/0"},
        {"peers": "front.example"},
        {"peers": "10.0.0.7", "user": "authorization"},
        {"peers": "10.0.0.7", "attributes": "a=x a=y"},
        {"peers": "10.0.0.7", "attributes": "=x"},
    ],
)
def test_a_front_that_could_be_anybody_is_refused(said: dict[str, str]) -> None:
    assert found(read(headers(**said))) == [("bad-front", "identity.headers.peers")]


def test_lists_are_lists_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"

    def check(value: str) -> Reading:
        file.write_text(f"[identity.headers]\npeers = {value}\n")
        return read_settings(ENOUGH, {"KEY": "k"}, config=str(file))

    fine = check('["10.0.0.7/32"]')
    assert found(fine) == []
    assert fine.settings.identity.headers.peers == ("10.0.0.7/32",)
    for value in ("7", "[7]", '[""]', '["a\\u0000"]', "{}"):
        assert found(check(value)) == [("bad-value", "identity.headers.peers")]


def tokens(**said: str) -> dict[str, str]:
    given = {"issuer": "https://login.example", "audience": "imagegate", **said}
    return {f"IMAGEGATE_IDENTITY_JWT_{k.upper()}": v for k, v in given.items() if v}


def test_tokens_are_taken_of_whom_is_named() -> None:
    reading = read(tokens(algorithms="ES256,EdDSA"), listen__host="::")

    assert found(reading) == []
    assert reading.settings.identity.jwt.algorithms == ("ES256", "EdDSA")


def test_a_token_does_not_go_to_a_provider_either() -> None:
    wrong = [("credential-goes-on", "upstreams.default.credential")]

    assert found(read(tokens(), credential="pass")) == wrong
    assert found(read({**tokens(), **APART}, credential="pass")) == []


@pytest.mark.parametrize(
    "said",
    [
        {"audience": ""},
        {"issuer": ""},
        {"issuer": "http://login.example"},
        {"issuer": "login.example"},
        {"algorithms": "HS256"},
        {"algorithms": "none"},
        {"jwks_url": "http://login.example/keys"},
        {"jwks_url": "https://login.example/keys", "jwks_file": "/dev/null"},
        {"attributes": "team=roles"},
    ],
)
def test_tokens_that_could_not_be_verified_are_refused(said: dict[str, str]) -> None:
    assert found(read(tokens(**said))) == [("bad-issuer", "identity.jwt.issuer")]


def test_a_file_that_holds_no_key_set_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.touch()

    wrong = found(read(tokens(jwks_file=str(file))))

    assert wrong == [("bad-issuer", "identity.jwt.issuer")]


def test_keys_in_a_file_are_read_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    missing = found(read(tokens(jwks_file=str(file))))

    file.write_bytes(published())

    assert missing == [("unreadable-file", "identity.jwt.jwks_file")]
    assert found(read(tokens(jwks_file=str(file)))) == []


def test_nothing_is_fetched_to_check_settings() -> None:
    with pytest.raises(OSError, match="keys"):
        asyncio.run(_never("https://login.example/keys"))


def test_a_leeway_is_no_licence() -> None:
    reading = read(tokens(leeway_seconds="3600"))

    assert found(reading) == [("bad-value", "identity.jwt.leeway_seconds")]


def test_a_missing_extra_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagegate.identity.issuer.find_spec", lambda _: None)

    assert found(read(tokens())) == [("missing-extra", "identity.jwt.issuer")]
