"""`imagegate serve` as a process of its own, with real clients, before a simulator."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from inside import imagegate
from running import Gateway, command, environment, gateways, gone, run, until

from imagegate import shipped
from imagegate.simulator import Simulator

IMAGE: Any = {"type": "image_generation"}
EVERYBODY = "0.0.0.0"  # noqa: S104 - what has to be meant


def refuses(gateway: Gateway) -> bool:
    """Tell whether nobody listens any more."""
    try:
        httpx2.get(f"{gateway.url}/livez", timeout=5)
    except httpx2.ConnectError:
        return True
    except httpx2.TransportError:
        return False  # taken by the kernel, and by nobody else
    return False


Start = Callable[..., Gateway]


@pytest.fixture
def start(provider: str, tmp_path: Path) -> Iterator[Start]:
    """Start a gateway in front of the simulator; it ends with the test."""
    with gateways(tmp_path) as begin:
        yield partial(begin, "--policy", "standard", "--upstream", provider)


def ask(gateway: Gateway, **options: Any) -> Any:
    with gateway.client() as client:
        return client.responses.create(
            model="gpt-5", input="a cat", tools=[IMAGE], **options
        )


# -- serving --------------------------------------------------------------------------


def test_a_request_goes_through_and_is_recorded_and_the_end_is_good(
    start: Start, simulator: Simulator
) -> None:
    gateway = start()

    answer = ask(gateway)

    assert answer.output[0].type == "image_generation_call"
    assert simulator.received[-1].header("authorization") == "Bearer client-canary"
    [rewritten] = gateway.records("request_rewritten")
    [listening] = gateway.said("listening")
    assert rewritten["policy_digest"] == listening["digest"]
    assert listening["policy"] == "standard"
    assert httpx2.get(f"{gateway.url}/readyz").json()["digest"] == listening["digest"]
    assert gateway.end() == 0
    assert len(gateway.records("exchange_finished")) == 1
    assert len(gateway.said("stopped")) == 1
    assert "canary" not in gateway.log()


def test_ctrl_c_ends_it_well_too(start: Start) -> None:
    assert start().end(signal.SIGINT) == 0


def terminate(gateway: Gateway) -> None:
    gateway.process.send_signal(signal.SIGTERM)


def press_ctrl_c(gateway: Gateway) -> None:
    """Do what a terminal does: it tells all processes of the job."""
    os.killpg(gateway.process.pid, signal.SIGINT)


@pytest.mark.parametrize("end", [terminate, press_ctrl_c])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stream_that_is_open_gets_its_time(
    start: Start, workers: str, end: Callable[[Gateway], None]
) -> None:
    gateway = start("--workers", workers)
    with gateway.client() as client:
        stream = client.responses.create(
            model="gpt-5",
            input="a cat",
            tools=[IMAGE],
            stream=True,
            metadata={"simulator": "delay_ms=40 deltas=20"},
        )
        seen = [next(stream)]

        end(gateway)
        until(lambda: refuses(gateway))
        seen += stream

    assert seen[-1].type == "response.completed"
    assert gateway.process.wait(30) == 0
    [finished] = gateway.records("exchange_finished")
    assert finished["outcome"] == "completed"


def test_a_stream_beyond_its_grace_is_cut_and_its_end_is_recorded(
    start: Start,
) -> None:
    gateway = start("--grace", "1")
    with gateway.client() as client:
        stream = client.responses.create(
            model="gpt-5",
            input="a cat",
            tools=[IMAGE],
            stream=True,
            metadata={"simulator": "hang=2000"},
        )
        next(stream)

        began = time.monotonic()
        assert gateway.end() == 0
        assert time.monotonic() - began < 10

    assert len(gateway.records("exchange_finished")) == 1
    assert "Traceback" not in gateway.log()


def test_a_provider_that_breaks_off_is_one_line_in_the_log(start: Start) -> None:
    gateway = start()

    with gateway.client() as client, pytest.raises(Exception, match=r"."):
        list(
            client.responses.create(
                model="gpt-5",
                input="a cat",
                tools=[IMAGE],
                stream=True,
                metadata={"simulator": "truncate=3000"},
            )
        )
    until(lambda: bool(gateway.said("answer_broken")))

    [line] = gateway.said("answer_broken")
    [finished] = gateway.records("exchange_finished")
    assert line["decision_id"] == finished["decision_id"]
    assert "Traceback" not in gateway.log()


# -- credentials ----------------------------------------------------------------------


def test_our_key_goes_on_and_the_clients_does_not(
    start: Start, simulator: Simulator, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("first\n")
    key.chmod(0o600)
    gateway = start("--credential", f"authorization=file:{key}")

    ask(gateway)
    seen = [simulator.received[-1].header("authorization")]
    key.write_text("other\n")
    ask(gateway)
    seen.append(simulator.received[-1].header("authorization"))

    assert seen == ["Bearer first", "Bearer other"]
    assert simulator.received[-1].header("api-key") is None


def test_a_key_in_a_variable_is_in_no_output(
    start: Start, simulator: Simulator
) -> None:
    gateway = start(
        "--credential", "api-key=env:AZURE_KEY", "--workers", "2", AZURE_KEY="k-canary"
    )

    httpx2.get(f"{gateway.url}/openai/v1/models", headers={"api-key": "client"})

    assert simulator.received[-1].header("api-key") == "k-canary"
    assert simulator.received[-1].header("authorization") is None
    assert gateway.end() == 0
    assert "canary" not in gateway.log()
    assert "canary" not in gateway._out.read_text()


# -- TLS ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    public, key = folder / "tls.crt", folder / "tls.key"
    make_certificate(public, key)
    return public, key


def make_certificate(public: Path, key: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",  # noqa: S607 - the one on PATH
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", public],
        check=True,
        capture_output=True,
    )  # fmt: skip
    key.chmod(0o600)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_sdk_speaks_tls_with_it(
    start: Start, certificate: tuple[Path, Path], workers: str
) -> None:
    public, key = certificate
    gateway = start("--tls-certificate", public, "--tls-key", key, "--workers", workers)
    trust = ssl.create_default_context(cafile=str(public))

    with (
        httpx2.Client(verify=trust) as transport,
        gateway.client(http_client=transport) as client,
    ):
        answer = client.responses.create(model="gpt-5", input="a cat", tools=[IMAGE])

    assert gateway.url.startswith("https://")
    assert answer.output[0].type == "image_generation_call"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_tls_is_1_2_or_newer(start: Start, certificate: tuple[Path, Path]) -> None:
    public, key = certificate
    gateway = start("--tls-certificate", public, "--tls-key", key)
    port = int(gateway.url.rpartition(":")[2])

    def version(newest: ssl.TLSVersion) -> str | None:
        context = ssl.create_default_context(cafile=str(public))
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = newest
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            return secured.version()

    assert version(ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert version(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        version(ssl.TLSVersion.TLSv1_1)


# -- workers --------------------------------------------------------------------------


def test_two_workers_answer_and_one_that_is_killed_is_survived(start: Start) -> None:
    gateway = start("--workers", "2")
    before = gateway.workers()
    assert len(before) == 2

    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    until(lambda: bool(gateway.said("worker_died")))
    until(lambda: len(gateway.workers()) == 2)

    for _ in range(10):
        assert ask(gateway).output
    assert victim not in gateway.workers()
    assert gateway.said("worker_died")[0]["signal"] == "SIGKILL"
    workers = gateway.workers()
    assert gateway.end() == 0
    assert all(map(gone, workers))


HANGING = str(Path(__file__).parents[1] / "support" / "hanging.py")


def test_a_worker_that_hangs_is_replaced_and_its_records_are_closed(
    start: Start, tmp_path: Path
) -> None:
    trail = tmp_path / "trail"
    given = ("--workers", "2", "--audit", trail, "--metrics-port", "0")
    gateway = start(*given, program=(HANGING,))
    before = gateway.workers()
    with gateway.client() as client:
        stream = client.responses.create(
            model="gpt-5",
            input="a cat",
            tools=[IMAGE],
            stream=True,
            metadata={"simulator": "hang=2000"},
        )
        next(stream)
        # Who serves it has two connections more.
        victim = max(before, key=lambda pid: len([*Path(f"/proc/{pid}/fd").iterdir()]))
        os.kill(victim, signal.SIGUSR1)
        with pytest.raises(openai.APIConnectionError):
            next(stream)
    until(lambda: len(gateway.said("audit")) == 3)

    assert ask(gateway).output
    assert [line["pid"] for line in gateway.said("worker_hung")] == [victim]
    [here] = gateway.said("worker_hung_here")
    assert here["at"].startswith("__main__:")
    assert here["ours"].startswith("imagegate.")
    told = httpx2.get(gateway.said("metrics")[0]["url"]).text
    assert 'imagegate_workers_lost_total{how="hung"} 1.0' in told
    assert gateway.workers() > before - {victim}
    assert gateway.end() == 0
    assert imagegate("audit", "verify", trail).code == 0
    shown = imagegate("audit", "tail", "--event", "exchange_finished", trail).out
    assert shown.count("outcome=unknown") == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_systemd_hears_nothing_of_a_process_that_hangs(
    start: Start, tmp_path: Path, workers: str
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        environ = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "200000"}
        gateway = start("--workers", workers, program=(HANGING,), **environ)
        while manager.recv(4096) != b"WATCHDOG=1":
            pass

        gateway.process.send_signal(signal.SIGUSR1)
        manager.settimeout(1)

        with pytest.raises(TimeoutError):
            [manager.recv(4096) for _ in range(100)]


def test_a_worker_that_cannot_be_replaced_ends_no_other(
    start: Start, tmp_path: Path
) -> None:
    file, trail = tmp_path / "seen.db", tmp_path / "trail"
    given = ("--workers", "2", "--audit", trail, "--metrics-port", "0")
    gateway = start(*given, IMAGEGATE_STATE_FILE=str(file))
    victim, other = gateway.workers()
    kept = file.rename(tmp_path / "kept.db")
    file.mkdir()

    os.kill(victim, signal.SIGKILL)
    until(lambda: bool(gateway.said("worker_cannot_serve")))

    assert ask(gateway).output
    assert other in gateway.workers()
    assert str(file) in gateway.said("worker_cannot_serve")[0]["reason"]
    assert len([*trail.iterdir()]) == 2
    told = httpx2.get(gateway.said("metrics")[0]["url"]).text
    assert 'imagegate_workers_lost_total{how="died"} 1.0' in told
    file.rmdir()
    kept.rename(file)
    until(lambda: len(gateway.said("audit")) == 3)
    assert gateway.end() == 0


def test_each_of_the_workers_takes_requests(start: Start) -> None:
    gateway = start("--workers", "2")
    first, second = gateway.workers()

    os.kill(first, signal.SIGSTOP)
    try:
        assert httpx2.get(f"{gateway.url}/livez", timeout=10).status_code == 200
    finally:
        os.kill(first, signal.SIGCONT)
    os.kill(second, signal.SIGSTOP)
    try:
        assert httpx2.get(f"{gateway.url}/livez", timeout=10).status_code == 200
    finally:
        os.kill(second, signal.SIGCONT)

    assert gateway.end() == 0


def test_no_worker_outlives_its_parent(start: Start) -> None:
    gateway = start("--workers", "2")
    workers = gateway.workers()
    assert ask(gateway).output

    gateway.process.kill()
    gateway.process.wait()

    until(lambda: all(map(gone, workers)))


# -- refusing to start ----------------------------------------------------------------

FINE = ("--policy", "standard", "--upstream", "https://api.openai.com")


def test_an_address_that_is_taken_is_one_line(provider: str) -> None:
    port = provider.rpartition(":")[2]

    for workers in ("1", "2"):
        ended = run(*FINE, "--port", port, "--workers", workers)

        assert ended.returncode == 4
        assert ended.stderr.count("\n") == 1
        assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr


def test_wrong_settings_are_said_together_with_a_wrong_policy(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nname: mine\n")

    ended = run(
        "--policy", policy, "--host", EVERYBODY, "--port", "x", IMAGEGATE_LISTN="1"
    )

    assert ended.returncode == 2
    assert ended.stdout == ""
    found = [line for line in ended.stderr.splitlines() if "error [" in line]
    assert found == [
        "IMAGEGATE_LISTN: error [unknown-variable]",
        "--port: error [bad-value] listen.port",
        "error [missing] upstreams",
        "--host: error [exposed] listen.host",
        f"{policy}:1:1: error [missing-key] owner",
        f"{policy}:1:1: error [missing-key] mode",
    ]


def test_a_policy_that_cannot_be_used_has_a_code_of_its_own(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nname: mine\n")

    invalid = run("-p", policy, "--upstream", "https://api.openai.com")
    missing = run("-p", tmp_path / "none", "--upstream", "https://api.openai.com")

    assert (invalid.returncode, missing.returncode) == (3, 2)
    assert "no such file" in missing.stderr.lower()


def test_what_holds_is_printed_and_nothing_is_served(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text("[listen]\nport = 8443\n")

    ended = run(
        *FINE,
        "--print-config",
        "--credential",
        "authorization=env:KEY",
        IMAGEGATE_CONFIG=str(config),
        IMAGEGATE_LISTEN_GRACE="7",
        KEY="canary",
    )

    assert ended.returncode == 0
    assert ended.stderr == ""
    said = dict(line.split("  # ") for line in ended.stdout.splitlines() if "#" in line)
    origins = {name.strip(): origin for name, origin in said.items()}
    assert origins["port = 8443"] == f"{config}:2"
    assert origins["grace = 7"] == "IMAGEGATE_LISTEN_GRACE"
    assert origins['credential = "authorization=env:KEY"'] == "--credential"
    assert origins['host = "127.0.0.1"'] == "default"
    assert "canary" not in ended.stdout


def test_what_is_printed_starts_the_same_gateway(provider: str, tmp_path: Path) -> None:
    printed = run("-p", "standard", "--upstream", provider, "--print-config")
    config = tmp_path / "printed.toml"
    config.write_text(printed.stdout)

    gateway = Gateway(tmp_path, "--config", config)
    try:
        assert ask(gateway).output
    finally:
        assert gateway.end() == 0


def test_workers_that_cannot_start_end_the_gateway(
    provider: str, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    make_certificate(certificate, key)

    gateway = Gateway(
        tmp_path,
        *("--policy", "standard", "--upstream", provider, "--workers", "2"),
        *("--tls-certificate", certificate, "--tls-key", key),
    )
    key.unlink()  # what was right when it was checked is not any more
    for worker in gateway.workers():
        os.kill(worker, signal.SIGKILL)

    assert gateway.process.wait(60) == 4
    assert "3 workers in a row ended at once" in gateway.log()


def test_a_worker_that_does_not_end_is_told_by_the_exit_code(start: Start) -> None:
    gateway = start("--workers", "2", "--grace", "0")
    stuck = min(gateway.workers())
    os.kill(stuck, signal.SIGSTOP)

    assert gateway.end() == 4
    assert "a worker did not end by itself" in gateway.log()
    assert gone(stuck)


def test_it_listens_to_everybody_only_when_told_so_and_says_it(start: Start) -> None:
    gateway = start("--host", EVERYBODY, "--unauthenticated")

    assert len(gateway.said("unauthenticated")) == 1
    assert gateway.end() == 0


def test_the_help_names_every_option_and_keeps_to_the_screen() -> None:
    ended = run("--help", COLUMNS="80")

    from imagegate.settings.keys import OPTIONS  # noqa: PLC0415 - here only

    assert ended.returncode == 0
    for option in (*OPTIONS.values(), "--config", "--print-config"):
        assert f"{option} " in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80


# -- the audit trail and the metrics --------------------------------------------------


@pytest.mark.parametrize("mode", ["blocking", "blocking-strict", "batch"])
def test_records_are_kept_in_files_that_verify(
    start: Start, tmp_path: Path, mode: str
) -> None:
    trail = tmp_path / "trail"
    gateway = start("--audit", trail, "--audit-mode", mode)

    for _ in range(3):
        assert ask(gateway).output
    assert gateway.end() == 0

    proved = imagegate("audit", "verify", trail, "--checkpoints", gateway._out)
    assert proved.code == 0, proved.out
    assert "1 chain holds" in proved.out
    shown = imagegate("audit", "tail", "--event", "exchange_finished", trail).out
    assert shown.count("outcome=completed") == 3
    counted = imagegate(
        "audit", "query", "images", "--by", "model", "--format", "csv", trail
    )
    assert counted.out.splitlines()[1].split(",")[1] == "3"
    # Only what vouches for the files is on standard output.
    assert gateway.records("request_rewritten") == []
    assert gateway.records("audit_checkpoint")


def test_a_gateway_that_was_killed_leaves_a_trail_that_the_next_one_mends(
    start: Start, tmp_path: Path
) -> None:
    trail = tmp_path / "trail"
    gateway = start("--audit", trail)
    with gateway.client() as client:
        stream = client.responses.create(
            model="gpt-5",
            input="a cat",
            tools=[IMAGE],
            stream=True,
            metadata={"simulator": "hang=2000"},
        )
        next(stream)
        gateway.process.kill()
        gateway.process.wait()

    assert start("--audit", trail).end() == 0

    assert imagegate("audit", "verify", trail).code == 0
    shown = imagegate("audit", "tail", "--event", "exchange_finished", trail).out
    assert "outcome=unknown" in shown


def test_workers_keep_a_file_each_and_are_counted_together(
    start: Start, tmp_path: Path
) -> None:
    trail = tmp_path / "trail"
    gateway = start("--audit", trail, "--workers", "2", "--metrics-port", "0")
    [metrics] = gateway.said("metrics")

    for _ in range(6):
        assert ask(gateway).output
    told = (
        'outcome="completed",status="200",transport="http"} 6.0',
        "imagegate_exchanges_open 0.0",
        "imagegate_audit_records_total 18.0",
    )
    # What a worker counts may be a second old here.
    until(lambda: all(each in httpx2.get(metrics["url"]).text for each in told))
    assert gateway.end() == 0

    proved = imagegate("audit", "verify", trail)
    assert "2 chains hold" in proved.out, proved.out


def test_metrics_of_one_process(start: Start) -> None:
    gateway = start("--metrics-port", "0")
    [metrics] = gateway.said("metrics")

    assert ask(gateway).output
    page = httpx2.get(metrics["url"]).text

    assert 'decision="rewritten",door="responses.create"' in page
    assert "imagegate_decision_seconds_count 1.0" in page
    assert "imagegate_first_byte_seconds_count 1.0" in page
    assert "imagegate_policy_loaded_timestamp_seconds" in page


def test_a_metrics_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = run(
            "--policy", "standard", "--upstream", "https://api.openai.com",
            "--port", "0", "--metrics-port", port,
        )  # fmt: skip

    assert ran.returncode == 4
    assert f"metrics: 127.0.0.1:{port}: " in ran.stderr
    assert "`metrics.port`" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_conversation_goes_on_whichever_worker_takes_it(
    start: Start, workers: str
) -> None:
    gateway = start("--workers", workers)

    response = ask(gateway)
    for _ in range(6):
        response = ask(gateway, previous_response_id=response.id)

    with pytest.raises(openai.PermissionDeniedError, match="not made through"):
        ask(gateway, previous_response_id="resp_elsewhere")


def test_what_was_judged_outlives_the_gateway_in_a_file(
    start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "seen.db"
    first = start(IMAGEGATE_STATE_FILE=str(file))
    response = ask(first)
    assert first.end() == 0

    again = start(IMAGEGATE_STATE_FILE=str(file), IMAGEGATE_LISTEN_WORKERS="2")
    assert ask(again, previous_response_id=response.id).output


def test_a_file_that_is_something_else_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "seen.db"
    file.write_bytes(b"something else entirely" * 100)

    for workers in ("1", "2"):
        ran = run(
            "--policy", "standard", "--upstream", "https://api.openai.com",
            "--port", "0", "--workers", workers, IMAGEGATE_STATE_FILE=str(file),
        )  # fmt: skip
        assert ran.returncode == 4
        assert f"state: {file}: " in ran.stderr
        assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_gateway_that_has_not_begun_ends_well_and_at_once(
    tmp_path: Path, number: int
) -> None:
    pipe = tmp_path / "policy"
    os.mkfifo(pipe)
    words = ("--policy", pipe, "--upstream", "https://api.openai.com")
    with (
        subprocess.Popen(
            command(*words), env=environment({}), stderr=subprocess.PIPE
        ) as gateway,
        pipe.open("wb"),
    ):  # which waits until it is read
        gateway.send_signal(number)
        _, said = gateway.communicate(timeout=20)

    assert (gateway.returncode, said) == (0, b"")


def test_policy_and_settings_may_come_out_of_pipes(
    provider: str, tmp_path: Path
) -> None:
    said = {
        tmp_path / "policy": shipped.find_policy("standard").read_bytes(),
        tmp_path / "settings": b"listen.workers = 2\nlisten.grace = 1\n",
    }
    for pipe in said:
        os.mkfifo(pipe)
    writers = [
        threading.Thread(target=p.write_bytes, args=(d,)) for p, d in said.items()
    ]
    for writer in writers:
        writer.start()
    policy, settings = said
    words = ("--policy", policy, "--config", settings, "--upstream", provider)
    file = tmp_path / "candidate.yaml"
    file.write_bytes(said[policy])

    with gateways(tmp_path) as begin:
        gateway = begin(*words, "--candidate", file)
        for writer in writers:
            writer.join()
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: bool(gateway.said("unchanged")))  # it looked at the files

        assert ask(gateway).output[0].type == "image_generation_call"
        assert gateway.said("reload_failed") == []
        assert gateway.end() == 0


def test_what_never_ends_in_place_of_the_keys_is_refused_at_once() -> None:
    words = "--policy", "standard", "--upstream", "https://api.openai.com"
    ran = run(*words, "--keys", "/dev/zero")

    assert ran.returncode == 2
    assert "is no regular file" in ran.stderr


def test_no_secret_is_in_the_trail_the_metrics_or_the_log(
    start: Start, tmp_path: Path
) -> None:
    trail = tmp_path / "trail"
    gateway = start(
        "--audit", trail, "--metrics-port", "0", IMAGEGATE_AUDIT_STDOUT="records"
    )
    [metrics] = gateway.said("metrics")
    mask = {"image_url": "https://canary.example/mask.png"}
    told: Any = {"description": "canary", "input_image_mask": mask}
    hostile: tuple[Any, ...] = (
        {**IMAGE, **told},
        {**IMAGE, "quality": "canary"},
        {**IMAGE, "model": "canary"},
        {**IMAGE, "canary_field": "canary"},
    )

    with gateway.client(default_headers={"x-canary": "canary"}) as client:
        for tool in hostile:
            with contextlib.suppress(openai.APIStatusError):
                client.responses.create(
                    model="gpt-5", input="canary", user="canary", tools=[tool]
                )
    httpx2.post(f"{gateway.url}/v1/canary", content=b"canary")
    page = httpx2.get(metrics["url"]).text
    assert gateway.end() == 0

    [file] = trail.iterdir()
    written = file.read_text()
    assert written.count("imagegate.exchange_finished") == 5
    assert "imagegate_findings_total" in page
    for output in (written, page, gateway.log(), gateway._out.read_text()):
        assert "canary" not in output.lower()


NO_THREADS = """
import sys, threading

def start(*_):
    raise RuntimeError("can't start new thread")

threading._start_new_thread = start
from imagegate.cli import main
main()
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_where_no_thread_can_be_had_it_says_so_in_a_line(workers: str) -> None:
    said = ("--policy", "standard", "--upstream", "http://127.0.0.1:9", "--port", "0")
    ended = subprocess.run(
        command(*said, "--workers", workers, program=("-c", NO_THREADS)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 4
    assert "may have no more threads" in ended.stderr
    assert "Traceback" not in ended.stderr


NO_PLACE = """
import tempfile
tempfile._candidate_tempdir_list = lambda: ["/nowhere"]
from imagegate.cli import main
main()
"""
NO_ROOM = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
from imagegate.cli import main
main()
"""


@pytest.mark.parametrize(
    ("program", "why"),
    [(NO_PLACE, "name another folder as TMPDIR"), (NO_ROOM, "File too large")],
)
def test_workers_without_a_place_for_what_they_share_say_so(
    program: str, why: str
) -> None:
    said = ("--policy", "standard", "--upstream", "http://127.0.0.1:9", "--port", "0")
    ended = subprocess.run(
        command(
            *said, "--workers", "2", "--metrics-port", "0", program=("-c", program)
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    # Not that of wrong settings, after which nobody would try again.
    assert ended.returncode == 4
    assert why in ended.stderr
    assert "Traceback" not in ended.stderr
