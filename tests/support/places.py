"""Policies to be tried: those that are shipped, one for agents, and an open one."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from imagegate import shipped
from imagegate.engine.gate import Gate
from imagegate.engine.surface import GROUPS
from imagegate.policyfile import load_policy

_AGENTS = b"""\
version: 1
name: foundry-agents
owner: o@example.com
mode: enforce
models: { gpt-image-1-mini: {}, default: gpt-image-1-mini, otherwise: block }
deployments: { img-mini-prod: gpt-image-1-mini, img-2-prod: gpt-image-2 }
settings:
  quality: { max: medium, default: medium, otherwise: lower }
  moderation: { allow: [auto], otherwise: { use: auto } }
  size: { max: 1536x1024, default: 1024x1024, otherwise: lower }
  partial_images: { max: 1, default: 0, otherwise: lower }
  output_format: { allow: [png, jpeg, webp], otherwise: block }
fields: { deprecated: strip, unknown: block, unknown_values: block }
limits: { tools: 2, max_tool_calls: { max: 8, otherwise: block }, images_api_n: 2 }
state:
  agents: [brochure-writer, poster@2]
  structured_inputs: refuse
surface:
  agent_versions: enforce
  agent_endpoints: enforce
  images_api: enforce
  websocket: enforce
"""
_OPEN = b"""\
version: 1
name: open
owner: o@example.com
mode: enforce
fields: { deprecated: pass, unknown: pass, unknown_values: pass }
interface: { api_versions: allow, previews: allow }
state:
  prompt: allow
  agents: allow
  conversation: allow
  previous_response: allow
  item_reference: allow
  structured_inputs: allow
  multi_agent: allow
  compaction: allow
surface:
"""
_STAGING = b"surface:\n  files: enforce\n  batches: enforce\n"
STAGING = ("standard with batches", "azure-foundry with batches")
POLICIES = ("standard", "azure-foundry", "regulated", "no-images", "foundry-agents")
_TODAY = datetime.date(2026, 11, 21)


def document_of(name: str) -> bytes:
    """Return a policy as it is written."""
    if name == "foundry-agents":
        return _AGENTS
    if name == "open":
        return _OPEN + b"".join(b"  %b: %b\n" % each for each in _opened())
    shipped_one, _, more = name.partition(" with ")
    document = shipped.find_policy(shipped_one).read_bytes()
    return document.replace(b"surface:\n", _STAGING) if more else document


def _opened() -> Iterator[tuple[bytes, bytes]]:
    """Open every group of doors: judged where it can be, else passed."""
    for name, group in GROUPS.items():
        word = "enforce" if "enforce" in group.stances else "pass"
        yield name.encode(), word.encode()


def laid_out(name: str) -> Gate:
    """Lay a policy out."""
    catalogue = shipped.catalogue()
    policy = load_policy(
        document_of(name), file=name, catalogue=catalogue, today=_TODAY
    )
    return Gate(policy, catalogue)
