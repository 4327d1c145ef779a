"""slowhttptest, with all three of its ways to be slow: others are served meanwhile."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from running import Gateway
from stage import without

TOOL: Any = {"type": "image_generation", "model": "gpt-image-1-mini"}
SHORT, LONG = ("200", "3"), ("1000", "60")
WAYS = {
    "head": "-H -i 1 -u {url}/v1/models",
    "body": "-B -i 1 -s 100000 -f application/json -u {url}/v1/responses",
    "read": "-X -w 1 -y 64 -z 5 -n 2 -k 2 -u {url}/v1/responses/{stored}",
}


@pytest.fixture(scope="module")
def slow() -> str:
    return shutil.which("slowhttptest") or without("slowhttptest is not installed")


@pytest.fixture
def gateway(provider: str, tmp_path: Path) -> Iterator[Gateway]:
    words = ["--policy", "standard", "--upstream", provider, "--grace", "1"]
    words += ["--credential", "authorization=env:PROVIDER_KEY"]
    running = Gateway(tmp_path, *words, PROVIDER_KEY="k", IMAGEGATE_HEAD_SECONDS="2")
    try:
        yield running
    finally:
        assert running.end() == 0


def memory(gateway: Gateway) -> int:
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    [found] = re.findall(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found) * 1024


def served(client: openai.OpenAI) -> Any:
    """Ask as everybody does: for a picture, which must come soon."""
    return client.responses.create(
        model="gpt-5", input="a cat", tools=[TOOL], timeout=10
    )


@pytest.mark.parametrize(
    "size", [SHORT, pytest.param(LONG, marks=pytest.mark.soak)], ids=["short", "long"]
)
@pytest.mark.parametrize("way", WAYS)
def test_others_are_served_meanwhile(
    way: str, size: tuple[str, str], slow: str, gateway: Gateway
) -> None:
    with gateway.client() as client:
        stored = served(client).id
        before, answers = memory(gateway), 0
        words = WAYS[way].format(url=gateway.url, stored=stored).split()
        connections, seconds = size
        command = [slow, "-c", connections, "-r", "200", "-l", seconds, "-p", "3"]
        with subprocess.Popen(
            [*command, *words], stdout=subprocess.PIPE, text=True
        ) as attack:
            while attack.poll() is None:
                assert served(client).output
                answers += 1
            assert attack.stdout is not None
            said = attack.stdout.read()

    assert "service available:" in said
    assert "service available:   NO" not in re.sub(r"\x1b\[[\d;]*m", "", said)
    assert answers  # each in its ten seconds
    assert memory(gateway) - before < int(connections) * 300_000 + 30_000_000
