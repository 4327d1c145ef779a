"""`imagegate demo`: the gateway at work, with no key and no network.

A stand-in provider and the gateway run on loopback, and the real OpenAI SDK makes
four requests through them.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import uvicorn
from rich.text import Text

from imagegate import shipped
from imagegate.app import create_app
from imagegate.audit import StreamAudit
from imagegate.cli.exits import Exit
from imagegate.cli.policies import usable_policy
from imagegate.cli.screen import complain, console
from imagegate.engine.gate import Gate
from imagegate.server.run import Listener, server_for
from imagegate.simulator import Simulator, create_simulator
from imagegate.upstream.forwarder import Upstream
from imagegate.upstream.httpx2_client import Httpx2Client

Tool = dict[str, Any]
SCENES: tuple[tuple[str, Tool, bool], ...] = (
    (
        "a request within the policy goes on",
        {
            "model": "gpt-image-1-mini",
            "quality": "low",
            "size": "1024x1024",
            "moderation": "auto",
            "output_format": "png",
            "partial_images": 0,
        },
        False,
    ),
    (
        "a request that asks for more is brought down",
        {"model": "gpt-image-2", "quality": "high", "size": "2000x1120"},
        False,
    ),
    (
        "a request that cannot be judged is refused, with what would pass",
        {"quality": "ultra"},
        False,
    ),
    (
        "a stream is relayed as it comes, each event recorded before it goes on",
        {"quality": "medium", "partial_images": 1},
        True,
    ),
)
SHOWN = ("quality", "size", "model", "moderation")


def run(policy_name: str) -> Exit:
    """Show four requests, then stay up if somebody is watching."""
    try:
        import openai  # noqa: PLC0415 - only the demo needs a client
    except ImportError:
        complain("the demo needs the OpenAI SDK: pip install openai")
        return Exit.USAGE
    policy = usable_policy(policy_name)
    records = io.BytesIO()
    simulator = create_simulator()
    with contextlib.ExitStack() as running:
        provider = running.enter_context(_serving(_quiet(simulator)))
        gateway = create_app(
            Gate(policy, shipped.catalogue()),
            {"": Upstream(name="simulator", base=provider)},
            client=Httpx2Client(),
            audit=StreamAudit(records),
        )
        base = running.enter_context(_serving(server_for(gateway, Listener(port=0))))
        client = openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0)
        screen = console()
        screen.print(
            Text.assemble(
                ("imagegate demo", "bold"),
                f": openai {openai.__version__} → gateway ({policy.name}) → simulator",
            )
        )
        for number, (title, tool, stream) in enumerate(SCENES, 1):
            seen, before = records.tell(), len(simulator.received)
            screen.print(Text(f"\n{number}. {title}", style="bold"))
            _line("asked", _settings({"type": "image_generation", **tool}))
            answer = _ask(client, tool, stream=stream)
            sent = _sent(simulator, before)
            _line("sent", sent)
            _line("came back", answer)
            for record in records.getvalue()[seen:].splitlines():
                _line("recorded", _record(json.loads(record)))
        _stay(base)
    return Exit.FINE


@contextlib.contextmanager
def _serving(server: uvicorn.Server) -> Iterator[str]:
    """Run a server in a thread; its socket listens before it does."""
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _quiet(simulator: Simulator) -> uvicorn.Server:
    config = uvicorn.Config(
        simulator, host="127.0.0.1", port=0, log_level="critical", lifespan="off"
    )
    return uvicorn.Server(config)


def _ask(client: Any, tool: Tool, *, stream: bool) -> str:  # noqa: ANN401 - an OpenAI client
    import openai  # noqa: PLC0415 - only the demo needs a client

    asked = {
        "model": "gpt-5",
        "input": "a grey tabby cat",
        "tools": [{"type": "image_generation", **tool}],
        "max_tool_calls": 1,
    }
    try:
        answer = client.responses.create(**asked, stream=stream)
        return _watch(answer) if stream else _images(answer)
    except openai.APIStatusError as error:
        kind = type(error).__name__
        return f"{kind} {error.status_code}, {error.param}: {error.message}"


def _images(response: Any) -> str:  # noqa: ANN401 - a Response of OpenAI's
    return ", ".join(
        f"an image of {len(item.result) * 3 // 4:,} bytes, "
        f"{item.size} at {item.quality}"
        for item in response.output
        if item.type == "image_generation_call"
    )


def _watch(events: Any) -> str:  # noqa: ANN401 - a stream of OpenAI's
    """Count events as they come, and name those about images."""
    count = 0
    for event in events:
        count += 1
        if "image" in event.type:
            _line("streamed", event.type)
    return f"{count} events"


def _sent(simulator: Simulator, before: int) -> str:
    received = list(simulator.received)[before:]
    if not received:
        return "nothing: no byte reached the provider"
    return _settings(json.loads(received[-1].body)["tools"][0])


def _settings(tool: Mapping[str, Any]) -> str:
    rest = [name for name in tool if name not in (*SHOWN, "type")]
    said = [f"{name} {tool[name]}" for name in (*SHOWN, *rest) if name in tool]
    return ", ".join(said)


def _record(record: Mapping[str, Any]) -> str:
    """Name a record, and of its fields those that tell the story."""
    event = record["event"].removeprefix("imagegate.")
    found = (*record.get("changes", ()), *record.get("violations", ()))
    told = [f"{item['field']} by {item['rule']}" for item in found]
    told += [
        f"{name} {record[name]}"
        for name in ("sequence_number", "quality", "dimensions", "outcome", "images")
        if record.get(name) is not None
    ]
    return f"{event}: {', '.join(told)}" if told else event


def _line(head: str, text: str) -> None:
    console().print(Text.assemble((f"   {head:<10}", "cyan"), text), soft_wrap=True)


def _stay(base: str) -> None:
    """Stay up while somebody is there to try it."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    console().print(
        f"\nTry it from your own code, until Ctrl-C:\n\n"
        f"   from openai import OpenAI\n"
        f'   client = OpenAI(base_url="{base}/v1", api_key="none")\n'
    )
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
