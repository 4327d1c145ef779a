"""What the doctor finds, on a gateway that is well and on ones that are not."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import errno
import json
import os
import resource
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from inside import imagegate
from stage import Certificates, certify
from tokens import RSA, jwk

from imagegate import shipped
from imagegate.doctor.files import examine_files
from imagegate.doctor.finding import WEIGHTS, Finding, in_order
from imagegate.doctor.listening import examine_listener, lasting
from imagegate.doctor.machine import examine_machine
from imagegate.doctor.matching import examine_matching
from imagegate.doctor.policy import examine_policy
from imagegate.doctor.stores import examine_stores
from imagegate.doctor.trail import examine_trail
from imagegate.identity.options import IdentityOptions, KeyOptions, TokenOptions
from imagegate.policyfile import check_policy
from imagegate.settings import AuditSettings, Settings, UpstreamSettings
from imagegate.settings.credential import FromFile

NOW = datetime.datetime.now(tz=datetime.UTC)
KEY = "sk-canary-of-the-gateway"
MODELS = ["gpt-5", "gpt-image-1-mini", "gpt-image-2"]


class Provider(BaseHTTPRequestHandler):
    """A provider that has a list of models, for whoever has the key."""

    models: ClassVar[Any] = {"data": [{"id": name} for name in MODELS]}
    status = 200
    skew = 0.0

    def do_GET(self) -> None:
        good = self.headers["authorization"] == f"Bearer {KEY}"
        body = json.dumps(self.models).encode()
        self.send_response_only(self.status if good else 401)
        at = time.time() + self.skew
        self.send_header("date", email.utils.formatdate(at, usegmt=True))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        assert self.path == "/v1/models"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(
    kind: type[Provider], certificates: Certificates | None = None
) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), kind)
    scheme, host = "http", "127.0.0.1"
    if certificates is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server, certificates.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that only looks
        scheme, host = "https", "localhost"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"{scheme}://{host}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def doctor(*words: str, **environ: str) -> tuple[int, list[dict[str, str]]]:
    """Run the command; return its exit code and what it found."""
    environ = {"PROVIDER_KEY": KEY, **environ}
    done = imagegate("doctor", "--format", "json", *words, **environ)
    assert KEY not in done.out + done.err
    assert "Traceback" not in done.err, done.err
    return done.code, json.loads(done.out)


CREDENTIAL = ("--credential", "authorization=env:PROVIDER_KEY")


def of(found: list[dict[str, str]], area: str) -> list[dict[str, str]]:
    return [each for each in found if each["area"].startswith(area)]


def test_a_gateway_that_is_well(tmp_path: Path) -> None:
    with serving(Provider) as url:
        code, found = doctor(
            *("-p", "standard", "--upstream", url, "--audit", str(tmp_path / "trail")),
            *CREDENTIAL,
        )

    weights = [each["weight"] for each in found]
    assert weights == [each for heavy in WEIGHTS for each in weights if each == heavy]
    assert {"broken"}.isdisjoint(weights)
    assert code == (1 if "danger" in weights else 0)
    [reached, backstop] = of(found, "provider")
    assert reached["weight"] == "fine"
    assert backstop["weight"] in {"advice", "fine"}
    assert list(tmp_path.iterdir()) == []


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    code, found = doctor(
        *("-p", str(tmp_path / "none.yaml"), "--upstream", "http://127.0.0.1:9"),
        *("--audit", str(tmp_path / "no" / "where")),
        IMAGEGATE_LISTEN_PROT="80",
    )

    assert code == 1
    areas = {each["area"] for each in found if each["weight"] == "broken"}
    assert areas >= {"settings", "records", "provider default"}


def test_a_key_that_is_not_believed() -> None:
    with serving(Provider) as url:
        code, found = doctor(
            *("-p", "standard", "--upstream", url), *CREDENTIAL, PROVIDER_KEY="other"
        )

    [refused] = of(found, "provider")
    assert (code, refused["weight"]) == (1, "broken")
    assert "401" in refused["found"]


def test_clients_that_bring_their_own_keys() -> None:
    with serving(Provider) as url:
        _, found = doctor("-p", "standard", "--upstream", url)

    [reached] = of(found, "provider")
    assert reached["weight"] == "fine"


class Issuer(Provider):
    """A provider of identities, which also answers for another one."""

    keys: ClassVar[Any] = [jwk(RSA)]
    is_one = True

    def do_GET(self) -> None:
        scheme = "https" if isinstance(self.connection, ssl.SSLSocket) else "http"
        issuer = f"{scheme}://{self.headers['host']}"
        pages = {
            "/.well-known/openid-configuration": {
                "issuer": issuer if self.is_one else f"{issuer}/",
                "jwks_uri": f"{issuer}/keys",
            },
            "/keys": {"keys": self.keys},
        }
        page = pages.get(self.path)
        body = json.dumps(page).encode()
        self.send_response(404 if page is None else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.parametrize(
    ("kind", "path", "weight", "words"),
    [
        (Issuer, "", "fine", ["keys for tokens by RS256"]),
        (Issuer, "/realm", "broken", ["document_refused", "identity.jwt.issuer"]),
        (type("Other", (Issuer,), {"is_one": False}), "", "broken", ["`issuer`"]),
        (type("Bare", (Issuer,), {"keys": []}), "", "broken", ["no key for any of"]),
    ],
    ids=["well", "nothing there", "another's", "no keys"],
)
def test_a_provider_of_identities_is_asked_for_its_keys(
    kind: type[Issuer], path: str, weight: str, words: list[str]
) -> None:
    with serving(kind) as url:
        code, found = doctor(
            *("-p", "standard", "--upstream", "http://127.0.0.1:9", *CREDENTIAL),
            IMAGEGATE_IDENTITY_JWT_ISSUER=f"{url}{path}",
            IMAGEGATE_IDENTITY_JWT_AUDIENCE="imagegate",
        )

    [told] = of(found, "issuer")
    assert (told["weight"], code) == (weight, 1)
    assert all(word in told["found"] + told["better"] for word in words), told


def test_a_provider_of_identities_may_need_an_authority_of_ones_own(
    tmp_path: Path,
) -> None:
    certificates = certify(tmp_path)
    with serving(Issuer, certificates) as url:
        said = {
            "IMAGEGATE_IDENTITY_JWT_ISSUER": url,
            "IMAGEGATE_IDENTITY_JWT_AUDIENCE": "imagegate",
        }
        words = "-p", "standard", "--upstream", "http://127.0.0.1:9", *CREDENTIAL
        _, without = doctor(*words, **said)
        named = {"IMAGEGATE_POOL_AUTHORITIES": str(certificates.authority)}
        _, within = doctor(*words, **said, **named)

    [broken], [fine] = of(without, "issuer"), of(within, "issuer")
    assert (broken["weight"], fine["weight"]) == ("broken", "fine")
    assert "pool.authorities" in broken["better"]


def test_what_is_said_wrongly_of_identities_is_not_asked() -> None:
    _, found = doctor(
        *("-p", "standard", "--upstream", "http://127.0.0.1:9", *CREDENTIAL),
        IMAGEGATE_IDENTITY_JWT_ISSUER="http://login.example",
    )

    assert not of(found, "issuer")
    assert any("identity.jwt" in each["found"] for each in of(found, "settings"))


def variant(**members: Any) -> type[Provider]:
    return type("Variant", (Provider,), members)


@pytest.mark.parametrize(
    ("kind", "weight", "word"),
    [
        (variant(status=503), "danger", "503"),
        (variant(status=404), "advice", "404"),
        (variant(status=308), "broken", "308"),
        (variant(models={"data": 5}), "advice", "cannot be read"),
        (variant(models={"data": []}), "fine", "no image model"),
        (variant(skew=-300.0), "danger", "seconds apart"),
        (Provider, "advice", "gpt-image-1.5"),
    ],
)
def test_what_a_provider_answers(kind: type[Provider], weight: str, word: str) -> None:
    if kind is Provider:
        kind = variant(models={"data": [{"id": "gpt-image-1.5"}, {"id": "gpt-5"}]})
    with serving(kind) as url:
        _, found = doctor("-p", "standard", "--upstream", url, *CREDENTIAL)

    told = [each for each in of(found, "provider") if each["weight"] == weight]
    assert any(word in each["found"] for each in told), found


def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    certificates = certify(tmp_path)
    with serving(Provider, certificates) as url:
        _, unknown = doctor("-p", "standard", "--upstream", url)
        _, known = doctor(
            *("-p", "standard", "--upstream", url, *CREDENTIAL),
            IMAGEGATE_POOL_AUTHORITIES=str(certificates.authority),
        )

    [lost] = of(unknown, "provider")
    assert lost["weight"] == "broken"
    assert "pool.authorities" in lost["better"]
    [ending, *_] = of(known, "provider")
    assert (ending["weight"], "1 days" in ending["found"]) == ("danger", False)
    assert "renew" in ending["better"]


def settings(**members: Any) -> Settings:
    upstreams = {"one": UpstreamSettings(url="http://127.0.0.1:9")}
    return Settings(policy="standard", upstreams=upstreams, **members)


def heaviest(findings: Iterator[Finding]) -> Finding:
    return in_order(list(findings))[0]


def told(
    section: str, name: str, value: object, base: Settings | None = None
) -> Settings:
    """Say one thing otherwise."""
    base = base or settings()
    inner = msgspec.structs.replace(getattr(base, section), **{name: value})
    return msgspec.structs.replace(base, **{section: inner})


def test_more_exchanges_than_descriptors() -> None:
    many = told("pool", "connections", 100_000_000)

    found = heaviest(examine_machine(many, {}))

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert found.weight == "danger"
    assert f"{most:,} descriptors" in found.found


def test_fewer_descriptors_than_it_starts_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (64, 64))

    found = heaviest(examine_machine(settings(), {}))

    assert found.weight == "broken"
    assert "64 descriptors" in found.found


def test_stores_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = told("state", "file", tmp_path / "seen.db")
    assert not [*examine_stores(told("listen", "workers", 2, held))]
    assert not [*tmp_path.iterdir()]  # it would be root's, as a rule

    away = told("state", "file", tmp_path / "none" / "seen.db")
    assert not [*examine_stores(away)], "the settings say so"

    (tmp_path / "seen.db").touch()
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: ["/nowhere"])
    monkeypatch.setattr("tempfile.tempdir", None)
    bad = told("quotas", "file", Path("/proc/quotas.db"), held)  # not even root's

    found = [*examine_stores(told("listen", "workers", 2, bad))]

    assert [each.weight for each in found] == ["broken"] * 3
    told_of = [each.found.partition(":")[0] for each in found]
    assert told_of[:2] == ["`state.file`", "`quotas.file`"]
    assert "TMPDIR" in found[2].better


def test_more_workers_than_processors_and_memory() -> None:
    many = told("listen", "workers", 256)

    found = " ".join(each.found for each in examine_machine(many, {}))

    assert "256 workers share" in found
    assert "MB of memory" in found


@pytest.mark.parametrize("grants", [("max\n", "200000000\n"), ("200000000\n", None)])
def test_the_memory_of_a_container(
    grants: tuple[str | None, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / str(number) for number in range(len(grants))]
    for file, grant in zip(files, grants, strict=True):
        if grant is not None:
            file.write_text(grant)
    monkeypatch.setattr("imagegate.doctor.machine._GRANTS", files)

    [found] = [
        each for each in examine_machine(settings(), {}) if "memory" in each.found
    ]

    assert found.weight == "danger"
    assert found.found.startswith("200 MB of memory")


class NoTunnel(Provider):
    """A proxy that asks for a login."""

    def do_CONNECT(self) -> None:
        assert self.path == "provider.invalid:443"
        self.send_response_only(407)
        self.end_headers()


def behind(proxy: str) -> dict[str, str]:
    """Return what the doctor finds of a provider behind a proxy."""
    words = "-p", "standard", "--upstream", "https://provider.invalid", *CREDENTIAL
    _, found = doctor(*words, IMAGEGATE_POOL_PROXY=proxy)
    [told] = of(found, "provider")
    return told


def test_a_provider_is_looked_for_behind_the_proxy() -> None:
    with serving(NoTunnel) as url:
        asks = behind(url)
    gone = behind(url)

    assert "the proxy gives no tunnel: it answers 407" in asks["found"]
    assert "the proxy is not reached: Connection refused" in gone["found"]
    assert asks["weight"] == gone["weight"] == "broken"
    assert "pool.proxy_login" in asks["better"]


def test_what_is_wrong_with_the_way_there_is_said_and_not_tried() -> None:
    wrong = behind("ftp://127.0.0.1")

    assert wrong["weight"] == "advice"


def test_who_speaks_no_tls_is_told_from_who_is_not_there() -> None:
    with serving(Provider) as url:
        secure = url.replace("http:", "https:")
        _, found = doctor("-p", "standard", "--upstream", secure)

    [told] = of(found, "provider")
    assert "no encryption: " in told["found"]
    assert "TLS 1.2" in told["better"]


def test_a_name_without_an_address() -> None:
    _, found = doctor("-p", "standard", "--upstream", "https://provider.invalid")

    [told] = of(found, "provider")
    assert "its name has no address" in told["found"]
    assert "DNS" in told["better"]


def test_a_certificate_for_another_name_is_not_one_of_another_authority(
    tmp_path: Path,
) -> None:
    certificates = certify(tmp_path)
    with serving(Provider, certificates) as url:
        _, found = doctor(
            *("-p", "standard", "--upstream", url.replace("localhost", "127.0.0.1")),
            IMAGEGATE_POOL_AUTHORITIES=str(certificates.authority),
        )

    [told] = of(found, "provider")
    assert "its certificate is not believed: IP address mismatch" in told["found"]
    assert "as its certificate does" in told["better"]


def test_a_proxy_of_the_environment_is_not_followed() -> None:
    found = [each.found for each in examine_machine(settings(), {"https_proxy": "x"})]

    assert any(each.startswith("HTTPS_PROXY is set") for each in found)


def test_core_dumps() -> None:
    script = (
        "import resource\n"
        "from imagegate.doctor.machine import _dumps\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, -1))\n"
        "assert not [*_dumps()]\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (-1, -1))\n"
        "assert [each.weight for each in _dumps()] == ['danger']\n"
    )

    # A process of its own: a limit that was lowered may not be raised again.
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("change", "weight", "word"),
    [
        ({"mode": "batch"}, "open", "batch"),
        ({"stdout": "nothing"}, "advice", "vouches"),
        ({}, "advice", "growth"),
    ],
)
def test_records(
    change: dict[str, Any], weight: str, word: str, tmp_path: Path
) -> None:
    audit = AuditSettings(directory=tmp_path / "trail", **change)

    found = [each for each in examine_trail(audit) if word in each.found]

    assert [each.weight for each in found] == [weight]


@pytest.mark.parametrize("lacking", ["fcntl.flock", "os.fsync"])
def test_a_disk_of_another_machine_may_lack_something(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lacking, lacks)

    found = heaviest(examine_trail(AuditSettings(directory=tmp_path)))

    assert found.weight == "broken"
    assert "No locks available" in found.found


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def usage(_: Path) -> Any:
        return type("Usage", (), {"free": 1_000_000})

    monkeypatch.setattr("shutil.disk_usage", usage)

    found = heaviest(examine_trail(AuditSettings(directory=tmp_path)))

    assert found.weight == "broken"
    assert "1 MB are free" in found.found


def test_files_that_may_outgrow_the_disk(tmp_path: Path) -> None:
    audit = AuditSettings(directory=tmp_path)
    files = msgspec.structs.replace(audit.files, keep_bytes=10**18)

    found = heaviest(examine_trail(msgspec.structs.replace(audit, files=files)))

    assert found.weight == "danger"
    assert "keep_bytes" in found.found


def test_records_that_everybody_may_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    found = examine_trail(AuditSettings(directory=tmp_path))

    assert heaviest(found).better == f"chmod o= {tmp_path}"


def test_root_is_told_whose_the_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root reads everything, so that it was readable says nothing."""
    closed, open_, missing = (tmp_path / name for name in ("closed", "open", "gone"))
    closed.touch(mode=0o640)
    open_.touch(mode=0o644)
    audit = AuditSettings(hash_key=closed, prices=open_)
    upstream = UpstreamSettings(
        url="https://x.example", credential=FromFile("authorization", missing)
    )
    settings = Settings(policy=str(open_), upstreams={"default": upstream}, audit=audit)
    whose = f"{closed.owner()}:{closed.group()}"

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    [told] = examine_files(settings)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    untold = [*examine_files(settings)]

    assert told.weight == "advice"
    assert told.found.endswith(f"is not known: {closed} ({whose}, mode 0640)")
    assert "runuser" in told.better
    assert untold == []


def test_nobody_is_asked_beyond_loopback() -> None:
    far = told("listen", "host", "10.0.0.1")

    found = list(examine_listener(far, NOW))

    assert in_order(found)[0].weight == "danger"
    assert any("in clear" in each.found for each in found)


def test_a_certificate_of_ours_that_ends(tmp_path: Path) -> None:
    certificates = certify(tmp_path)
    listening = told("listen", "tls_certificate", certificates.server)

    found = heaviest(examine_listener(listening, NOW))

    assert found.weight == "danger"
    assert "lasts until" in found.found


@pytest.mark.parametrize(
    ("days", "weight"), [(-1, "broken"), (20, "danger"), (90, "fine")]
)
def test_how_long_a_certificate_lasts(days: int, weight: str) -> None:
    ends = NOW + datetime.timedelta(days=days)

    assert lasting("listener", "it", ends, NOW).weight == weight


def examined(text: str) -> list[Finding]:
    checked = check_policy(
        text.encode(), catalogue=shipped.catalogue(), today=NOW.date()
    )
    return list(examine_policy(checked, "policy.yaml"))


HEAD = "version: 1\nname: n\nowner: o@example.com\n"


def test_a_policy_that_only_watches() -> None:
    assert in_order(examined(f"{HEAD}mode: observe\n"))[0].weight == "danger"


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("state: { conversation: allow }\n", "state.conversation: allow"),
        ("fields: { unknown: pass }\n", "fields.unknown: pass"),
        ("surface: { batches: pass }\n", "batches"),
        (
            "settings: { quality: { max: low, default: low, mode: observe } }\n",
            "settings.quality.max",
        ),
    ],
)
def test_what_was_left_open_on_purpose(said: str, word: str) -> None:
    found = [
        each
        for each in examined(f"{HEAD}mode: enforce\n{said}")
        if each.weight == "open"
    ]

    assert any(word in each.found for each in found)


NAMED = f"""{HEAD}mode: enforce
teams:
  design: {{ match: {{ team: [design, print] }}, tool: block }}
  two: {{ match: {{ principal: a.adler }}, tool: block }}
exceptions:
  - id: E
    for: {{ key: a.adler }}
    set: {{ tool: allow }}
    until: 2099-01-31
    approved_by: x
  - id: OLD
    for: {{ nothing: x }}
    set: {{ tool: allow }}
    until: 2020-01-31
    approved_by: x
"""


def matched(identity: IdentityOptions) -> list[tuple[str, str]]:
    checked = check_policy(
        NAMED.encode(), catalogue=shipped.catalogue(), today=NOW.date()
    )
    assert checked.policy is not None
    found = examine_matching(checked.policy, identity, NOW)
    return [(each.weight, each.found.partition(":")[0]) for each in found]


def keys_of(tmp_path: Path, *said: str) -> IdentityOptions:
    file = tmp_path / "keys.jsonl"
    imagegate("keys", "add", "--file", str(file), *said)
    return IdentityOptions(keys=KeyOptions(file=file))


def test_who_is_meant_and_cannot_come(tmp_path: Path) -> None:
    identity = keys_of(tmp_path, "--name", "a.adler", "--team", "design-eu")

    assert matched(identity) == [
        ("advice", "`teams.design` holds for nobody yet"),
        ("danger", "`teams.two` holds for nobody"),
    ]


def test_who_is_meant_and_can_come(tmp_path: Path) -> None:
    said = ("--team", "print", "--attribute", "principal=a.adler")
    token = TokenOptions(issuer="https://id.example", attributes=("principal=upn",))

    assert matched(keys_of(tmp_path, "--name", "a.adler", *said)) == []
    assert matched(IdentityOptions(jwt=token)) == [
        ("danger", "`exceptions.E` holds for nobody")
    ]


def test_who_is_meant_is_told_with_the_rest(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(NAMED)

    _, found = doctor("-p", str(tmp_path), "--upstream", "http://127.0.0.1:9")

    said = [each["found"] for each in of(found, "policy")]
    assert "`teams.two` holds for nobody: nobody has `principal`" in said


def test_the_keys_may_be_an_option_as_they_are_of_the_gateway(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(NAMED)
    identity = keys_of(tmp_path, "--name", "a.adler", "--team", "print")

    _, found = doctor(
        *("-p", str(tmp_path), "--upstream", "http://127.0.0.1:9"),
        *("--keys", str(identity.keys.file), *CREDENTIAL),
    )

    said = [each["found"] for each in of(found, "policy")]
    assert [each for each in said if "nobody" in each] == [
        "`teams.two` holds for nobody: nobody has `principal`"
    ]


def test_where_nobody_is_asked_no_team_holds(tmp_path: Path) -> None:
    everything = ["`teams.design`", "`teams.two`", "`exceptions.E`"]
    expected = [("danger", f"{name} holds for nobody") for name in everything]

    assert matched(IdentityOptions()) == expected
    unreadable = KeyOptions(file=tmp_path / "none.jsonl")
    assert matched(IdentityOptions(keys=unreadable)) == []


def test_a_policy_that_is_wrong() -> None:
    [found] = examined(f"{HEAD}mode: maybe\n")

    assert found.weight == "broken"
    assert found.found.startswith("policy.yaml:4: mode:")


def test_it_is_told_to_people_too(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "imagegate", "doctor", "-p", "standard"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    first = done.stdout.splitlines()[0]
    assert first.startswith("broken settings: upstreams")
    assert done.returncode == 1


def test_a_quota_of_cost_is_held_against_the_prices_of_the_settings(
    tmp_path: Path,
) -> None:
    policy, table = tmp_path / "policy.yaml", tmp_path / "prices.toml"
    policy.write_text(
        "version: 1\nname: p\nowner: o\nmode: enforce\n"
        "models: { gpt-image-1.5: {}, default: gpt-image-1.5 }\n"
        "quotas: { cost: { team: { month: 200 } } }\n"
    )
    table.write_text(
        'date = "2026-11-21"\ncurrency = "EUR"\nsources = { own = "the contract" }\n'
        '[providers.openai."gpt-image-1.5"]\nsource = "own"\nas_of = "2026-11-21"\n'
        "images = { high = { 1024x1024 = 0.2 } }\n"
    )

    def warned(**environ: str) -> bool:
        _, found = doctor("-p", str(policy), **environ)
        return "the price table has no price" in str(found)

    assert warned()
    assert not warned(IMAGEGATE_AUDIT_PRICES=str(table))
    assert warned(IMAGEGATE_AUDIT_PRICES=str(tmp_path / "none.toml"))
