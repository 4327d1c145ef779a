"""curl through the gateway, in the ways in which people use it."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from exchanged import sent
from stage import without

from imagegate.simulator import Simulator

Start = Callable[[str], str]
Curl = Callable[..., str]
BODY = b'{"model":"gpt-5","input":"x","tools":[{"type":"image_generation"}]}'
STREAMED = BODY[:-1] + b',"stream":true}'
HEADERS = [
    *("-H", "Content-Type: application/json"),
    *("-H", "Authorization: Bearer k"),
]


@pytest.fixture
def curl(gateway: Start) -> Curl:
    """Ask the gateway for a response with more arguments, and return what is said."""
    if not shutil.which("curl"):
        without("curl is not installed")
    url = gateway("standard")

    def curl(*arguments: str, body: bytes = b"", path: str = "/v1/responses") -> str:
        command = ["curl", "-sS", "-m", "20", *HEADERS, *arguments, url + path]
        done = subprocess.run(command, input=body, check=False, capture_output=True)
        assert not done.returncode, done.stderr
        return done.stdout.decode()

    return curl


@pytest.mark.parametrize(
    "arguments",
    [
        ("--http1.1",),
        ("--http1.0",),
        ("--http2",),
        ("-H", "Expect: 100-continue"),
        ("-H", "Transfer-Encoding: chunked"),
        ("--compressed",),
        ("-H", "Connection: close"),
    ],
    ids=" ".join,
)
def test_however_it_is_asked_the_image_is_made(
    curl: Curl, simulator: Simulator, arguments: tuple[str, ...]
) -> None:
    answer = json.loads(curl(*arguments, "--data-binary", "@-", body=BODY))

    assert answer["output"][0]["type"] == "image_generation_call"
    assert sent(simulator)["tools"][0]["quality"] == "medium"


def test_a_body_of_unknown_length_is_taken_as_it_comes(
    curl: Curl, simulator: Simulator
) -> None:
    answer = json.loads(curl("-X", "POST", "-T", "-", body=BODY))

    assert answer["status"] == "completed"
    assert simulator.received[-1].header("transfer-encoding") is None


def test_a_compressed_body_is_judged(curl: Curl, simulator: Simulator) -> None:
    coded = gzip.compress(BODY)

    curl("-H", "Content-Encoding: gzip", "--data-binary", "@-", body=coded)

    assert sent(simulator)["tools"][0]["quality"] == "medium"


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
def test_a_stream_comes_event_by_event(curl: Curl, version: str) -> None:
    answer = curl(version, "-N", "--data-binary", "@-", body=STREAMED)

    names = [line[7:] for line in answer.splitlines() if line.startswith("event: ")]
    assert names[0] == "response.created"
    assert "response.image_generation_call.generating" in names
    assert names[-1] == "response.completed"


def test_a_refusal_shows_what_would_pass(curl: Curl) -> None:
    body = BODY.replace(b'"image_generation"', b'"image_generation","n":4')

    shown = curl("-w", "\n%{http_code}", "--data-binary", "@-", body=body)

    answer, _, status = shown.rpartition("\n")
    assert status == "403"
    assert json.loads(answer)["error"]["param"] == "tools[0].n"


def test_a_refused_upload_can_read_why(curl: Curl, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(100_000_000)

    shown = curl("-w", "\n%{http_code}", "--data-binary", f"@{large}")

    assert shown.endswith("\n413")
    assert json.loads(shown[:-4])["error"]["code"] == "body_too_large"


def test_http2_by_prior_knowledge_is_refused(gateway: Start) -> None:
    if not shutil.which("curl"):
        without("curl is not installed")
    url = f"{gateway('standard')}/v1/models"
    command = ["curl", "-sS", "-m", "20", "--http2-prior-knowledge", url]

    done = subprocess.run(command, check=False, capture_output=True)

    assert done.returncode
