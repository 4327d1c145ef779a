from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import imagegate
from imagegate.settings import Reading, read_settings

OPENAI = "https://api.openai.com"
ENOUGH: Mapping[str, Any] = {"policy": "standard", "upstreams": [OPENAI]}


def read(environ: Mapping[str, str] | None = None, /, **options: Any) -> Reading:
    said = {path.replace("__", "."): value for path, value in options.items()}
    return read_settings({**ENOUGH, **said}, environ or {})


def found(reading: Reading) -> list[tuple[str, str]]:
    return [(each.id, each.path) for each in reading.problems]


@pytest.fixture
def secret(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str, mode: int = 0o600) -> Path:
        file = tmp_path / "secret"
        file.write_text(text)
        file.chmod(mode)
        return file

    return write


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "tls.crt", folder / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",  # noqa: S607 - the one on PATH
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    key.chmod(0o600)
    return certificate, key


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "10.1.2.3", "gateway.example"],  # noqa: S104 - refused
)
def test_a_listener_that_others_reach_must_be_meant(host: str) -> None:
    assert found(read(listen__host=host)) == [("exposed", "listen.host")]
    assert found(read(listen__host=host, listen__unauthenticated="true")) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_is_nobody_elses(host: str) -> None:
    assert found(read(listen__host=host)) == []


def test_a_certificate_and_its_key_are_loaded(tls: tuple[Path, Path]) -> None:
    certificate, key = tls
    pair = {"listen__tls_certificate": str(certificate), "listen__tls_key": str(key)}

    assert found(read(**pair)) == []


def test_tls_files_that_do_not_work_are_found(
    tls: tuple[Path, Path], tmp_path: Path
) -> None:
    certificate, key = tls
    encrypted = tmp_path / "encrypted.key"
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", key, "-out", encrypted,  # noqa: S607 - the one on PATH
         "-passout", "pass:x"],
        check=True,
    )  # fmt: skip
    encrypted.chmod(0o600)

    def check(**files: Path) -> list[tuple[str, str]]:
        named = {f"listen__tls_{name}": str(file) for name, file in files.items()}
        return found(read(**named))

    wrong = [("tls-files", "listen.tls_certificate")]
    assert check(certificate=certificate) == wrong
    assert check(key=key) == [("tls-files", "listen.tls_key")]
    assert check(certificate=key, key=key) == wrong
    assert check(certificate=tmp_path / "none", key=key) == wrong
    assert check(certificate=certificate, key=encrypted) == wrong
    assert check(certificate=certificate, key=tmp_path / "none") == [
        ("unreadable-file", "listen.tls_key")
    ]


def test_a_key_that_everybody_may_read_is_refused(
    tls: tuple[Path, Path], secret: Callable[..., Path]
) -> None:
    certificate, key = tls
    copy = secret(key.read_text(), 0o644)
    pair = {"listen__tls_certificate": str(certificate), "listen__tls_key": str(copy)}

    assert found(read(**pair)) == [("open-secret", "listen.tls_key")]
    copy.chmod(0o640)
    assert found(read(**pair)) == []


@pytest.mark.parametrize(
    ("one", "other", "fine"),
    [
        ("/a", "/b", True),
        ("/a", "/ab", True),
        ("", "/a", True),
        ("/a", "/a/b", False),
        ("/a/b", "/a", False),
        ("/a", "/a/", False),
    ],
)
def test_prefixes_do_not_overlap(one: str, other: str, *, fine: bool) -> None:
    file = (
        f'[upstreams.one]\nurl = "{OPENAI}"\nprefix = "{one}"\n'
        f'[upstreams.other]\nurl = "{OPENAI}"\nprefix = "{other}"\n'
    )

    assert (_with_file(file) == []) is fine


def _with_file(text: str) -> list[tuple[str, str]]:
    import tempfile  # noqa: PLC0415 - here only

    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        return found(read_settings({"policy": "standard"}, {}, config=file.name))


def test_our_credential_does_not_travel_in_clear() -> None:
    ours = {"credential": "authorization=env:KEY"}
    environ = {"KEY": "k"}
    far, near = ["http://provider.example"], ["http://127.0.0.1:9000"]

    assert found(read(environ, upstreams=far, **ours)) == [
        ("credential-in-clear", "upstreams.default.url")
    ]
    assert found(read(environ, upstreams=near, **ours)) == []
    assert found(read(upstreams=far)) == []


@pytest.mark.parametrize("value", [None, "", "two words", "ключ", "line\nend"])
def test_a_variable_must_hold_a_key(value: str | None) -> None:
    environ = {} if value is None else {"KEY": value}

    reading = read(environ, credential="api-key=env:KEY")

    assert found(reading) == [("no-credential", "upstreams.default.credential")]
    assert not value or value not in repr(reading.problems)


@pytest.mark.parametrize(
    ("text", "mode", "ident"),
    [
        ("sk-1\n", 0o600, None),
        ("sk-1", 0o440, None),
        ("sk-1", 0o604, "open-secret"),
        ("sk-1", 0o602, "open-secret"),
        ("", 0o600, "no-credential"),
        ("two words", 0o600, "no-credential"),
        ("k" * 20_000, 0o600, "no-credential"),
    ],
)
def test_a_file_must_hold_a_key_for_few_eyes(
    secret: Callable[..., Path], text: str, mode: int, ident: str | None
) -> None:
    file = secret(text, mode)

    reading = read(credential=f"authorization=file:{file}")

    expected = [(ident, "upstreams.default.credential")] if ident else []
    assert found(reading) == expected


def test_a_key_file_that_is_not_there_is_found(tmp_path: Path) -> None:
    reading = read(credential=f"authorization=file:{tmp_path / 'none'}")

    assert found(reading) == [("unreadable-file", "upstreams.default.credential")]


def test_authorities_are_certificates(
    tls: tuple[Path, Path], secret: Callable[..., Path]
) -> None:
    environ = {"IMAGEGATE_POOL_AUTHORITIES": str(tls[0])}
    assert found(read(environ)) == []

    environ["IMAGEGATE_POOL_AUTHORITIES"] = str(secret("nothing"))
    assert found(read(environ)) == [("tls-files", "pool.authorities")]


def test_a_proxy_is_checked_and_never_repeated(secret: Callable[..., Path]) -> None:
    environ = {"IMAGEGATE_POOL_PROXY": "http://proxy.test:3128"}
    assert found(read(environ)) == []

    environ["IMAGEGATE_POOL_PROXY_LOGIN"] = str(secret("user:canary"))
    assert found(read(environ)) == []

    environ["IMAGEGATE_POOL_PROXY_LOGIN"] = str(secret("canary"))
    environ["IMAGEGATE_POOL_PROXY"] = "http://user:canary@proxy.test"
    reading = read(environ)
    assert found(reading) == [
        ("bad-proxy", "pool.proxy"),
        ("no-credential", "pool.proxy_login"),
    ]
    assert not any("canary" in problem.message for problem in reading.problems)

    del environ["IMAGEGATE_POOL_PROXY"]
    assert found(read(environ)) == [("no-proxy", "pool.proxy_login")]


def test_entra_id_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(read(credential="entra")) == []

    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("imagegate.upstream.entra.find_spec", lambda _: None)
    reading = read(credential="entra")

    assert found(reading) == [("missing-extra", "upstreams.default.credential")]
    assert "imagegate[entra]" in reading.problems[0].message


# -- the audit trail and the metrics ----------------------------------------------


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ({"audit__mode": "blocking-strict"}, "audit.mode"),
        ({"audit__directory": "/nowhere/at/all"}, "audit.directory"),
        ({"audit__directory": "/etc/hostname"}, "audit.directory"),
    ],
)
def test_records_have_somewhere_to_go(said: dict[str, str], path: str) -> None:
    assert found(read(**said)) == [("no-audit", path)]


def test_it_is_said_who_cannot_keep_records() -> None:
    reading = read(audit__directory="/etc/hostname")

    [problem] = reading.problems
    assert problem.message == f"user {os.getuid()} can make no files in /etc/hostname"


def test_a_read_only_root_is_told_from_a_folder_of_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mounted:
        f_flag = os.ST_RDONLY

    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("os.statvfs", lambda _: Mounted)

    [problem] = read(audit__directory=str(tmp_path / "trail")).problems

    assert problem.message == (
        f"user {os.getuid()} can make no files in {tmp_path}/trail: it is mounted "
        "read-only, so mount a volume there"
    )


def test_records_may_not_go_nowhere() -> None:
    reading = read({"IMAGEGATE_AUDIT_STDOUT": "nothing"})

    assert found(reading) == [("no-audit", "audit.stdout")]


@pytest.mark.parametrize("mode", ["blocking", "blocking-strict", "batch"])
def test_a_directory_that_is_there_or_can_be_made_is_fine(
    mode: str, tmp_path: Path
) -> None:
    for directory in (tmp_path, tmp_path / "new"):
        said = {"audit__directory": str(directory), "audit__mode": mode}
        assert found(read({"IMAGEGATE_AUDIT_STDOUT": "nothing"}, **said)) == []


def test_metrics_have_a_port_of_their_own() -> None:
    assert found(read(metrics__port="8080")) == [("same-port", "metrics.port")]
    assert found(read(metrics__port="8080", listen__port="8081")) == []
    assert found(read(metrics__port="0", listen__port="0")) == []


def test_a_key_for_hashes_is_long_and_secret(secret: Callable[..., Path]) -> None:
    def check(file: Path) -> list[tuple[str, str]]:
        return found(read({"IMAGEGATE_AUDIT_HASH_KEY": str(file)}))

    assert check(secret("k" * 16)) == []
    assert check(secret(" " * 40 + "short\n")) == [("no-key", "audit.hash_key")]
    assert check(secret("k" * 16, 0o644)) == [("open-secret", "audit.hash_key")]
    assert check(Path("/nowhere")) == [("unreadable-file", "audit.hash_key")]


def test_everything_wrong_with_a_price_table_is_said(tmp_path: Path) -> None:
    table = tmp_path / "prices.toml"
    shipped = Path(imagegate.__file__).with_name("prices.toml").read_text()

    def check(text: str) -> list[tuple[str, str]]:
        table.write_text(text)
        return found(read({"IMAGEGATE_AUDIT_PRICES": str(table)}))

    assert check(shipped) == []
    assert check("date = 3") != []
    assert {path for _, path in check("date = 3")} == {"audit.prices"}
    table.unlink()
    missing = read({"IMAGEGATE_AUDIT_PRICES": str(table)})
    assert found(missing) == [("unreadable-file", "audit.prices")]


def test_a_file_for_what_was_judged_has_a_directory(tmp_path: Path) -> None:
    def check(file: Path) -> list[tuple[str, str]]:
        return found(read({"IMAGEGATE_STATE_FILE": str(file)}))

    assert check(tmp_path / "seen.db") == []
    assert check(tmp_path / "none" / "seen.db") == [("no-directory", "state.file")]
