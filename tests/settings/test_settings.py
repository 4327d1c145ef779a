from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.server.listener import Listener
from imagegate.settings import Reading, UpstreamSettings, read_settings, show
from imagegate.settings.credential import (
    FromEntra,
    FromEnvironment,
    FromFile,
    Pass,
    read_credential,
)
from imagegate.settings.keys import OPTIONS, SHORT, Key, keys
from imagegate.settings.sources import UPSTREAM_KEYS, lines_of
from imagegate.upstream.forwarder import Deadlines

OPENAI = "https://api.openai.com"
ENOUGH: Mapping[str, Any] = {"policy": "standard", "upstreams": [OPENAI]}
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def writing(text: str) -> Path:
        file = tmp_path / "gateway.toml"
        file.write_text(text)
        return file

    return writing


def read(
    options: Mapping[str, Any] = ENOUGH,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> Reading:
    return read_settings(options, environ or {}, config=str(config or ""))


def found(reading: Reading) -> list[tuple[str, str, str]]:
    return [(each.id, each.path, each.origin) for each in reading.problems]


# -- where settings come from ---------------------------------------------------------


def test_a_policy_and_a_provider_are_enough() -> None:
    reading = read()

    assert reading.problems == ()
    assert reading.settings.policy == "standard"
    assert reading.settings.upstreams["default"].url == OPENAI
    assert reading.settings.upstreams["default"].credential == Pass()
    assert reading.settings.listen == Listener()
    assert reading.settings.deadlines == Deadlines()


def test_options_come_before_variables_and_variables_before_the_file(
    write: Write,
) -> None:
    file = write(
        "[listen]\nport = 1001\nworkers = 2\n"
        'host = "127.0.0.1"\n[deadlines]\nidle = 7\n'
    )
    environ = {"IMAGEGATE_LISTEN_PORT": "1002", "IMAGEGATE_LISTEN_WORKERS": "3"}

    reading = read({**ENOUGH, "listen.port": "1003"}, environ, file)

    assert reading.problems == ()
    assert reading.settings.listen.port == 1003
    assert reading.settings.listen.workers == 3
    assert reading.settings.deadlines.idle == 7
    assert reading.origins["listen.port"] == "--port"
    assert reading.origins["listen.workers"] == "IMAGEGATE_LISTEN_WORKERS"
    assert reading.origins["listen.host"] == f"{file}:4"
    assert reading.origins["deadlines.idle"] == f"{file}:6"
    assert reading.origins["deadlines.head"] == "default"


def test_a_file_says_everything(write: Write) -> None:
    file = write(
        'policy = "./mine.yaml"\n'
        "[upstreams.openai]\n"
        f'url = "{OPENAI}"\n'
        'credential = "authorization=env:OPENAI_API_KEY"\n'
        "[upstreams.azure]\n"
        'prefix = "/azure"\n'
        'url = "https://my.openai.azure.com/"\n'
        'credential = "api-key=file:azure.key"\n'
        'project = "client"\n'
        "[upstreams.foundry]\n"
        'prefix = "/foundry"\n'
        'url = "https://my.services.ai.azure.com"\n'
        'credential = "entra"\n'
    )
    key = file.with_name("azure.key")
    key.write_text("k")
    key.chmod(0o600)

    reading = read({}, {"OPENAI_API_KEY": "k", "IMAGEGATE_CONFIG": str(file)})

    assert reading.problems == ()
    projects = [each.project for each in reading.settings.upstreams.values()]
    assert projects == ["own", "client", "own"]
    assert reading.settings.policy == str(file.with_name("mine.yaml"))
    assert {
        name: (each.url, each.prefix, each.credential)
        for name, each in reading.settings.upstreams.items()
    } == {
        "openai": (OPENAI, "", FromEnvironment("authorization", "OPENAI_API_KEY")),
        "azure": (
            "https://my.openai.azure.com",
            "/azure",
            FromFile("api-key", key),
        ),
        "foundry": ("https://my.services.ai.azure.com", "/foundry", FromEntra()),
    }


def test_who_names_providers_names_all_of_them(write: Write) -> None:
    file = write(f'[upstreams.old]\nurl = "{OPENAI}"\n')
    environ = {"IMAGEGATE_UPSTREAM": f"/a={OPENAI} /b/c=https://b.example"}

    reading = read({"policy": "standard"}, environ, file)

    assert reading.problems == ()
    assert {n: u.prefix for n, u in reading.settings.upstreams.items()} == {
        "a": "/a",
        "b-c": "/b/c",
    }
    assert reading.origins["upstreams.a.url"] == "IMAGEGATE_UPSTREAM"


def test_a_credential_in_an_option_is_for_the_only_provider() -> None:
    credential = "authorization=env:KEY"

    reading = read({**ENOUGH, "credential": credential}, {"KEY": "k"})

    expected = FromEnvironment("authorization", "KEY")
    assert reading.settings.upstreams["default"].credential == expected
    assert reading.origins["upstreams.default.credential"] == "--credential"


def test_an_empty_variable_says_nothing() -> None:
    assert read(ENOUGH, {"IMAGEGATE_LISTEN_PORT": ""}).problems == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMAGEGATE_SERVICE_HOST", "10.0.0.1"),
        ("IMAGEGATE_SERVICE_PORT", "80"),
        ("IMAGEGATE_SERVICE_PORT_HTTP", "80"),
        ("IMAGEGATE_PORT", "tcp://10.0.0.1:80"),
        ("IMAGEGATE_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("IMAGEGATE_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("IMAGEGATE_METRICS_SERVICE_HOST", "10.0.0.1"),
    ],
)
def test_what_kubernetes_sets_beside_a_service_of_our_name_is_not_a_setting(
    name: str, value: str
) -> None:
    assert read(ENOUGH, {name: value}).problems == ()


# -- what is wrong --------------------------------------------------------------------


def test_every_problem_is_found_at_once_with_its_place(write: Write) -> None:
    file = write(
        "[listen]\n"
        "porrt = 1\n"
        "port = 70000\n"
        "[upstream.a]\n"
        "[deadlines]\n"
        "idle = -1\n"
        "[upstreams.openai]\n"
        'url = "api.openai.com"\n'
        "[upstreams.B]\n"
        "[pool]\n"
        "connections = 1.5\n"
    )
    environ = {"IMAGEGATE_LISTEN_HOTS": "x", "IMAGEGATE_HEAD_COUNT": "many"}

    reading = read({"listen.workers": "0", "listen.host": "10.1.2.3"}, environ, file)

    assert sorted(found(reading)) == sorted(
        [
            ("unknown-setting", "listen.porrt", f"{file}:2"),
            ("bad-value", "listen.port", f"{file}:3"),
            ("unknown-setting", "upstream", f"{file}:4"),
            ("bad-value", "deadlines.idle", f"{file}:6"),
            ("bad-value", "upstreams.openai.url", f"{file}:8"),
            ("bad-name", "upstreams.B", f"{file}:9"),
            ("bad-value", "pool.connections", f"{file}:11"),
            ("unknown-variable", "", "IMAGEGATE_LISTEN_HOTS"),
            ("bad-value", "head.count", "IMAGEGATE_HEAD_COUNT"),
            ("bad-value", "listen.workers", "--workers"),
            ("exposed", "listen.host", "--host"),
            ("missing", "policy", ""),
        ]
    )


def test_problems_say_what_would_be_right(write: Write) -> None:
    file = write("port = 1\n[listen]\nporrt = 1\n[deadline]\nidle = 3\n")
    environ = {"IMAGEGATE_PORT": "80"}

    reading = read({"listen.port": "80a"}, environ, file)

    said = {each.origin: each.message for each in reading.problems if each.origin}
    assert said == {
        f"{file}:1": "there is no such setting; did you mean `listen.port`?",
        f"{file}:3": "there is no such setting; did you mean `listen.port`?",
        f"{file}:4": "there is no such setting; did you mean `deadlines`?",
        "IMAGEGATE_PORT": (
            "no setting has this variable; did you mean `IMAGEGATE_LISTEN_PORT`?"
        ),
        "--port": "expected a whole number from 0 to 65535, not '80a'",
    }
    missing = {each.path: each.message for each in reading.problems if not each.origin}
    assert missing == {
        "policy": (
            "say which policy holds: --policy, IMAGEGATE_POLICY, "
            "`policy` in a configuration file"
        ),
        "upstreams": (
            "say where the provider is: --upstream, IMAGEGATE_UPSTREAM, "
            "[upstreams.NAME] in a configuration file"
        ),
    }


@pytest.mark.parametrize(
    ("text", "ident"),
    [
        ("port = ", "unreadable-file"),
        ("a = 1\na = 2", "unreadable-file"),
        ("listen = 3", "expected-table"),
        ("upstreams = 3", "expected-table"),
        ("[upstreams]\na = 3", "expected-table"),
        ("[listen]\nunauthenticated = 'yes'", "bad-value"),
        ("[listen]\nport = true", "bad-value"),
        ("[listen]\nhost = ''", "bad-value"),
        ("[listen]\nhost = 3", "bad-value"),
        ("[deadlines]\nidle = inf", "bad-value"),
        ("[deadlines]\nidle = nan", "bad-value"),
        ("port = 3", "unknown-setting"),
    ],
)
def test_a_file_is_read_strictly(write: Write, text: str, ident: str) -> None:
    reading = read(ENOUGH, {}, write(text))

    assert [each.id for each in reading.problems] == [ident]


def test_a_file_may_begin_with_a_byte_order_mark_as_policies_may(
    write: Write,
) -> None:
    file = write(f'\ufeffpolicy = "standard"\r\nupstreams.default.url = "{OPENAI}"\r\n')

    reading = read({}, config=file)

    assert reading.problems == ()
    assert reading.settings.policy == "standard"


def test_a_file_that_is_not_there_or_not_text_is_a_problem(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")

    for file in (binary, tmp_path / "none.toml"):
        assert found(read(ENOUGH, {}, file)) == [("unreadable-file", "", str(file))]


def test_an_upstream_without_a_url_is_a_problem(write: Write) -> None:
    reading = read({"policy": "standard"}, {}, write('[upstreams.a]\nprefix = "/a"\n'))

    assert found(reading) == [("missing", "upstreams.a.url", "")]


def test_an_address_that_is_no_text_is_a_problem(write: Write) -> None:
    file = write("[upstreams.a]\nurl = 3\n")

    reading = read({"policy": "standard"}, {}, file)

    assert found(reading) == [("bad-value", "upstreams.a.url", f"{file}:2")]


def test_several_providers_in_an_option_need_prefixes_and_a_file_for_credentials() -> (
    None
):
    twice = {"policy": "standard", "upstreams": [OPENAI, OPENAI]}
    both = {
        "policy": "standard",
        "upstreams": [f"/a={OPENAI}", f"/b={OPENAI}"],
        "credential": "entra",
    }

    assert found(read(twice)) == [("bad-value", "upstreams", "--upstream")]
    assert found(read(both)) == [("whose-credential", "credential", "--credential")]


@pytest.mark.parametrize(
    "url",
    [
        "api.openai.com",
        "ftp://api.openai.com",
        "https://",
        "https://user:password@api.openai.com",
        "https://api.openai.com?x=1",
        "https://api.openai.com#x",
        "https://api.openai.com/v1",
        "https://my.openai.azure.com/openai",
        "https://my.openai.azure.com/a/openai/v1/",
        "https://a.services.ai.azure.com/api/projects/p",
        "https://api.openai.com/../x",
        "https://api.openai.com/a b",
        "https://api.openai.com:x",
        "https://äpi.openai.com",
    ],
)
def test_an_address_is_scheme_and_host(url: str) -> None:
    reading = read({"policy": "standard", "upstreams": [url]})

    assert found(reading) == [
        ("bad-value", "upstreams.default.url", "--upstream"),
    ]


def test_the_path_of_another_gateway_may_be_in_an_address() -> None:
    url = "https://gateway.example:8443/images/"

    reading = read({"policy": "standard", "upstreams": [url]})

    assert reading.problems == ()
    assert reading.settings.upstreams["default"].url == url.rstrip("/")


@pytest.mark.parametrize(
    "prefix", ["/v1", "/openai/x", "/api", "/livez", "/Azure", "/a//b", "/..", "/a?b"]
)
def test_a_prefix_is_plain_and_shadows_nothing(prefix: str) -> None:
    reading = read({"policy": "standard", "upstreams": [f"{prefix}={OPENAI}"]})

    assert [each.id for each in reading.problems] == ["bad-value"]
    assert reading.problems[0].path.endswith(".prefix") or "?" in prefix


# -- secrets --------------------------------------------------------------------------

CANARY = "sk-canary-0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f'credential = "{CANARY}"',
        f'credential = "authorization={CANARY}"',
        f'credential = "authorization=env:{CANARY}"',
        f'credential = "authorization=key:{CANARY}"',
        f'credential = "entra={CANARY}"',
        f'api_key = "{CANARY}"',
        f'url = "https://{CANARY}@api.openai.com"',
        f'url = "{CANARY}"',
        f'prefix = "{CANARY}"',
        f'project = "{CANARY}"',
    ],
)
def test_a_secret_in_a_file_is_refused_and_not_repeated(
    write: Write, text: str
) -> None:
    url = "" if "url" in text else f'url = "{OPENAI}"\n'
    file = write(f"[upstreams.a]\n{url}{text}\n")

    reading = read({"policy": "standard"}, {}, file)

    assert reading.problems
    assert CANARY not in repr(reading.problems)
    assert CANARY not in repr(reading.settings)


def test_a_secret_in_an_option_or_a_variable_is_refused_and_not_repeated() -> None:
    for reading in (
        read({**ENOUGH, "credential": CANARY}),
        read(ENOUGH, {"IMAGEGATE_CREDENTIAL": CANARY}),
        read(ENOUGH, {"IMAGEGATE_API_KEY": CANARY}),
        read({"policy": "standard", "upstreams": [CANARY]}),
    ):
        assert reading.problems
        assert CANARY not in repr(reading)


def test_what_is_shown_names_where_a_secret_is_and_not_the_secret() -> None:
    options = {**ENOUGH, "credential": "authorization=env:KEY"}

    reading = read(options, {"KEY": CANARY})
    shown = show(reading.settings, reading.origins)

    assert reading.problems == ()
    assert 'credential = "authorization=env:KEY"' in shown
    assert CANARY not in shown


# -- showing --------------------------------------------------------------------------

NAMES = st.text("abcdefghij-0123", min_size=1, max_size=9).filter(
    lambda name: name[0] != "-"
)
CREDENTIALS = st.sampled_from(
    [
        "pass",
        "authorization=env:KEY",
        "api-key=env:KEY",
        "entra",
        "entra=https://ai.azure.com/.default",
    ]
)


def values_of(key: Key) -> st.SearchStrategy[Any]:
    if key.path == "metrics.port":
        return st.integers(300, 400)  # never the gateway's own
    if get_origin(key.kind) is Literal:
        return st.sampled_from(get_args(key.kind))
    if key.kind is bool:
        return st.booleans()
    if key.kind is int:
        return st.integers(1, 256)
    if key.kind is float:
        return st.floats(0.001, 1e6)
    return st.text("abcxyz./-_é\"\\'😀#=", min_size=1, max_size=9).map(
        lambda text: str(Path("/nowhere", text))
    )


DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        key.path: values_of(key)
        for key in keys().values()
        if key.path not in ("listen.tls_certificate", "listen.tls_key")
        and key.path not in ("listen.host", "pool.authorities")
        and key.path not in ("pool.proxy", "pool.proxy_login")
        and key.path not in ("audit.directory", "audit.mode", "audit.stdout")
        and key.path not in ("audit.hash_key", "audit.prices", "state.file")
        and key.path not in ("state.redis", "state.password")
        and key.path not in ("quotas.file", "quotas.redis", "quotas.password")
        and not key.path.startswith("identity.")  # they belong together
    },
)


def changed(section: Any, path: list[str], value: object) -> Any:
    name, *below = path
    if below:
        value = changed(getattr(section, name), below, value)
    return msgspec.structs.replace(section, **{name: value})


@given(DOCUMENTS, st.dictionaries(NAMES, CREDENTIALS, min_size=1, max_size=3))
def test_what_is_shown_reads_back_as_the_same_settings(
    tmp_path_factory: pytest.TempPathFactory,
    document: dict[str, Any],
    upstreams: dict[str, str],
) -> None:
    folder = tmp_path_factory.mktemp("shown")
    settings = msgspec.structs.replace(
        read(ENOUGH).settings,
        policy=document.pop("policy", "standard"),
        upstreams={
            name: UpstreamSettings(
                url=OPENAI, prefix=f"/{number}", credential=read_credential(text)
            )
            for number, (name, text) in enumerate(upstreams.items())
        },
    )
    for path, value in document.items():
        settings = changed(settings, path.split("."), value)
    origins = dict.fromkeys(keys(), "default") | {
        f"upstreams.{name}.{key}": "default"
        for name in upstreams
        for key in UPSTREAM_KEYS
    }
    file = folder / "shown.toml"

    file.write_text(show(settings, origins))
    again = read({}, {"KEY": "k"}, file)

    assert again.problems == ()
    assert again.settings == settings


def test_every_setting_is_shown_with_its_origin(write: Write) -> None:
    file = write("[head]\ncount = 50\n")

    reading = read(ENOUGH, {"IMAGEGATE_POOL_CONNECTIONS": "5"}, file)
    lines = show(reading.settings, reading.origins).splitlines()

    settings = [line for line in lines if line and not line.startswith("[")]
    assert len(settings) == len(keys()) + len(UPSTREAM_KEYS)
    origins = {line.split()[0]: line.rpartition("  # ")[2] for line in settings}
    assert origins["policy"] == "--policy"
    assert origins["url"] == "--upstream"
    assert origins["connections"] == "IMAGEGATE_POOL_CONNECTIONS"
    assert origins["count"] == f"{file}:1" or origins["count"] == f"{file}:2"
    assert origins["target"] == "default"
    tomllib.loads("\n".join(lines))


# -- the table ------------------------------------------------------------------------


def test_each_key_has_a_name_of_its_own_everywhere() -> None:
    variables = [key.variable for key in keys().values()] + list(SHORT.values())

    assert len(set(variables)) == len(variables)
    assert set(OPTIONS) - set(SHORT) <= set(keys())


def test_the_line_of_a_key_is_found_however_it_is_spelled() -> None:
    text = 'a = 1\n[ b . c ] # x\n"d" = 2\n[e]\nf.g = "[h]"\n  i=3\n'

    assert lines_of(text) == {
        "a": 1,
        "b.c": 2,
        "b.c.d": 3,
        "e": 4,
        "e.f.g": 5,
        "e.i": 6,
    }
