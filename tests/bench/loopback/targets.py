"""What is measured: nginx passing through, the gateway at work, LiteLLM if it is there.

Each serves on one core with one worker: the question is what a request costs, not how
many cores a machine has.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loopback.machine import CannotMeasureError, free_port
from loopback.work import HELD, WORKS

_NGINX = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_max_body_size 64m;
    client_body_buffer_size 16m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    upstream provider {{
        server 127.0.0.1:{upstream};
        keepalive 2048;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_buffer_size 64k;
            proxy_buffers 8 64k;
            proxy_busy_buffers_size 128k;
            proxy_read_timeout 600s;
        }}
    }}
}}
"""
_GATEWAY = """\
policy = "standard"

[listen]
port = {port}

[upstreams.provider]
url = "http://127.0.0.1:{upstream}"

[pool]
connections = 4096
connect_seconds = 60
wait_seconds = 60
{client}
[audit]
directory = "{folder}/records"
mode = "blocking"

[metrics]
port = {metrics}
"""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A proxy that can be started.

    Attributes:
        name: In the table.
        port: Where it listens.
        command: Starts it.
        environment: Beside what is there anyway.
        enforces: It changes what the policy wants changed.
        faithful: Its answers are as long as the provider's.
    """

    name: str
    port: int
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    enforces: bool = False
    faithful: bool = True


def nginx(folder: Path, upstream: int) -> Target:
    """Pass through, with kept connections and without buffering."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
    if program is None:
        raise CannotMeasureError(
            "nginx is not installed (Debian: apt install nginx-light)"
        )
    port = free_port()
    text = _NGINX.format(folder=folder, port=port, upstream=upstream)
    configuration = _written(folder / "nginx.conf", text)
    command = [program, "-p", str(folder), "-c", configuration]
    return Target(name="nginx", port=port, command=command)


def gateway(
    folder: Path, upstream: int, *, client: str = "", checkout: Path | None = None
) -> Target:
    """Serve as an operator would: a policy that rewrites, records, metrics, guard.

    Args:
        folder: For its settings and records.
        upstream: The provider's port.
        client: The setting `pool.client`; empty for its default.
        checkout: Another checkout of the project, to be held against this one.
    """
    name = "imagegate" + (f" {client}" if client else "")
    name += f" of {checkout.name}" if checkout else ""
    folder = folder / name.replace(" ", "-")
    folder.mkdir()
    port = free_port()
    text = _GATEWAY.format(
        port=port,
        upstream=upstream,
        folder=folder,
        metrics=free_port(),
        client=f'client = "{client}"\n' if client else "",
    )
    settings = _written(folder / "gateway.toml", text)
    path = {"PYTHONPATH": str(checkout / "proxy")} if checkout else {}
    command = [sys.executable, "-m", "imagegate", "serve", "--config", settings]
    return Target(
        name=name, port=port, command=command, environment=path, enforces=True
    )


def litellm(folder: Path, upstream: int, python: str) -> Target:
    """Route with LiteLLM, with nothing on that it can do without."""
    names = sorted({work.answer for work in (*WORKS, HELD)})
    models = "".join(
        f"  - model_name: bench-{name}\n"
        "    litellm_params:\n"
        f"      model: openai/bench-{name}\n"
        f"      api_base: http://127.0.0.1:{upstream}/v1\n"
        "      api_key: sk-bench\n"
        for name in names
    )
    settings = "litellm_settings: {telemetry: false, num_retries: 0}\n"
    configuration = _written(
        folder / "litellm.yaml", f"model_list:\n{models}{settings}"
    )
    port = free_port()
    start = "from litellm import run_server; run_server()"
    options = ["--config", configuration, "--host", "127.0.0.1", "--port", str(port)]
    quiet = {
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        # Asked by nobody who it is: as the gateway here, and cheapest for it.
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    return Target(
        name="LiteLLM",
        port=port,
        command=[python, "-c", start, *options],
        environment=quiet,
        faithful=False,
    )


def version_of(target: Target) -> str:
    """Ask a target for its version, in its own way."""
    if target.name == "nginx":
        done = _said([target.command[0], "-v"])
        return done.rpartition("/")[2].split()[0]
    module = "litellm" if target.name == "LiteLLM" else "imagegate"
    ask = f"from importlib.metadata import version as v; print(v({module!r}))"
    return _said([target.command[0], "-c", ask])


def _said(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def _written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)
