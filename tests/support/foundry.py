"""Requests to Azure and Foundry: deployments, agents, and all their spellings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from case import Draft
from disguises import spelled
from hiding import FINE, FUNCTION, bodied, image_tool
from spelling import Pairs
from verdict import CANARY, HEADER

_VERSIONS = [
    "", "", "?api-version=2025-04-01-preview", "?api-version=preview",
    "?api-version=v1", "?api-version=v1&api-version=preview", "?API-Version=v1",
    "?api-version=", "?api%2dversion=v1", "?api-version=x",
]  # fmt: skip
_BASES = ["/openai/v1", "/openai", "/api/projects/p/openai/v1"]
_KNOWN = ["img-mini-prod", "img-2-prod", "img-dear", f"x-{CANARY}", "IMG-MINI-PROD"]
_BAD = f"x-{CANARY}"
_HEADERS: list[Callable[[str], list[tuple[str, str]]]] = [
    *[lambda name: [(HEADER, name)]] * 12,
    lambda name: [(HEADER, name), (HEADER, name)],
    lambda name: [(HEADER, "img-mini-prod"), (HEADER.upper(), name)],
    lambda name: [(HEADER, name), (HEADER.replace("-", "_"), _BAD)],
    lambda _: [(HEADER.replace("-", "_"), _BAD)],
    lambda _: [(HEADER.replace("image-", "image_"), _BAD)],
    lambda name: [(HEADER.title(), name)],
    lambda name: [(HEADER, f"{name},{_BAD}")],
    lambda name: [(HEADER, f" {name}\t ")],
    lambda name: [(HEADER, f"{name}\xa0")],
    lambda name: [(HEADER, f'"{name}"')],
    lambda name: [(HEADER, name), ("Connection", HEADER)],
    lambda name: [(f"{HEADER} ", name)],
    lambda name: [("X-Ms-Oai-Image-Generation-Deployment-Id", name)],
    lambda name: [(HEADER, name), ("Foundry-Features", "WorkflowAgents=V1Preview")],
    lambda name: [(HEADER, name), ("X-Ms-Enable-Preview", "true")],
]
_NAMES = [
    "brochure-writer", "poster", "poster@2", "poster@3", "evil", "Brochure-Writer",
    "brochure-writer@9", "brochure-writer ", "brochure-writer\0", ["brochure-writer"],
    None, "", CANARY,
]  # fmt: skip
_PATH_NAMES = [
    "brochure-writer", "brochure-writer", "poster", "poster@2", "evil",
    "Brochure-Writer", "brochure-writer%20", "brochure%2Dwriter",
    "x/../brochure-writer",
]  # fmt: skip


def at_azure(draft: Draft) -> None:
    """Turn to Azure, one way or another."""
    ways = [_deployed, _deployed, _agent_version, _agent_endpoint, _agent_named]
    way = draft.pick(ways, "azure")
    way(draft)
    draft.path += draft.random.choice(_VERSIONS)
    if draft.maybe(0.55):
        name = draft.random.choice(_KNOWN[:1] * 4 + _KNOWN)
        draft.headers += draft.random.choice(_HEADERS)(name)
    spelled(draft)


def _deployed(draft: Draft) -> None:
    """Name an image deployment in the body, beside the one in the header."""
    base = draft.random.choice([*_BASES, "/openai/deployments/gpt-5"])
    below = ["responses"] * 5 + ["responses/compact", "responses/input_tokens"]
    draft.path = f"{base}/{draft.random.choice(below)}"
    if draft.maybe(0.4):
        bodied(draft)
        return
    if draft.maybe(0.4):
        # All is well, and so what a header says besides is what matters.
        fine = {**FINE, "model": "img-mini-prod"}
        draft.body = Pairs([("model", "gpt-5"), ("input", "x"), ("tools", [fine])])
        return
    tools = [_tool(draft) for _ in range(draft.random.choice([0, 1, 1, 1, 2]))]
    draft.body = Pairs([("model", "gpt-5"), ("input", "x"), ("tools", tools)])


def _tool(draft: Draft) -> Any:
    if draft.maybe(0.4):
        return image_tool(draft)
    tool = dict(FINE)
    models = [*_KNOWN[:1] * 4, *_KNOWN, None, "gpt-image-1-mini", "gpt-image-2"]
    tool["model"] = draft.random.choice(models)
    if draft.maybe(0.2):
        del tool["model"]
    return tool


def _agent_version(draft: Draft) -> None:
    """Register an agent that has the tool."""
    random = draft.random
    paths = ["a/versions"] * 6 + ["a/versions:import", "a", "a/versions/", "A/Versions"]
    draft.path = f"/api/projects/p/agents/{random.choice(paths)}"
    tools: list[Any] = [_tool(draft), dict(FUNCTION)]
    random.shuffle(tools)
    kinds = ["prompt"] * 6 + ["hosted", "workflow", "Prompt", "voice", None, ["prompt"]]
    definition = Pairs([("kind", random.choice(kinds)), ("model", "gpt-5")])
    definition.append(("tools", tools))
    if draft.maybe(0.2):
        choice = {"type": random.choice(["image_generation", "Image_Generation"])}
        definition.append(("tool_choice", choice))
    wraps: list[Callable[[Pairs], Pairs]] = [
        *[lambda each: Pairs([("definition", each)])] * 8,
        lambda each: Pairs([("Definition", each)]),
        lambda each: Pairs([("definition", each), ("definition", Pairs(each[:2]))]),
        lambda each: Pairs([("definition", Pairs(each[:2])), ("definition", each)]),
        lambda each: Pairs([("definition", Pairs(each[:2])), ("tools", each[2][1])]),
        lambda each: Pairs([("definition", Pairs([*each, ("tools", [])]))]),
        lambda each: Pairs([("definition", Pairs([*each[:2], ("Tools", each[2][1])]))]),
        lambda each: Pairs([("definition", [each])]),
        lambda each: Pairs([("definition", Pairs([("definition", each)]))]),
        lambda each: Pairs([("manifest", each), ("definition", Pairs(each[:2]))]),
    ]
    number = random.randrange(len(wraps))
    draft.story.append(f"wrap {number}")
    body = wraps[number](definition)
    if draft.maybe(0.2):
        body.append(random.choice([("draft", True), ("metadata", {"k": "v"})]))
    draft.body = body


def _agent_endpoint(draft: Draft) -> None:
    """Run an agent that the path names."""
    name = draft.pick(_PATH_NAMES, "agent")
    tails = ["openai/responses"] * 8 + ["mcp", "a2a", "invocations", "openai/Responses"]
    draft.path = (
        f"/api/projects/p/agents/{name}/endpoint/protocols/{draft.random.choice(tails)}"
    )
    draft.body = Pairs([("input", "x")])
    if draft.maybe(0.5):
        bodied(draft)


def _agent_named(draft: Draft) -> None:
    """Run an agent that the body names."""
    name, random = draft.pick(_NAMES, "agent"), draft.random
    draft.path = f"{random.choice(_BASES)}/responses"
    reference: Any = {"type": "agent_reference", "name": name}
    if draft.maybe(0.4):
        reference["version"] = random.choice(["2", "3", 2, None, "2 ", ""])
    if draft.maybe(0.15):
        key = random.choice(["id", "Name", "agent", "agent_name", "project"])
        reference[key] = "evil"
    if draft.maybe(0.1):
        reference = random.choice([name, [reference], {"agent_reference": reference}])
    keys = ["agent_reference"] * 6 + ["agent"] * 3 + ["Agent_Reference", "agent\0"]
    body = Pairs([("input", "x"), (random.choice(keys), reference)])
    if draft.maybe(0.15):
        body.append(("agent", {"type": "agent_reference", "name": "evil"}))
    if draft.maybe(0.15):
        body.append(("structured_inputs", {"quality": "high"}))
    if draft.maybe(0.2):
        body.append(("tools", [_tool(draft)]))
    draft.body = body
