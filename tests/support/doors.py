"""The doors a second time: which paths may be asked for, and what is judged there."""

from __future__ import annotations

import re

_BASES = (
    "/v1|/openai|/openai/v1|/api/projects/[^/]+/openai/v1|/openai/deployments/[^/]+"
)
_ID = "[A-Za-z0-9_.:@~-]+"


def _routes(*below: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{_BASES})(?:{'|'.join(below)})")


CREATE = _routes("/responses", "/responses/compact", "/responses/input_tokens")
_ENDPOINT = f"/api/projects/{_ID}/agents/(?P<agent>{_ID})/endpoint/protocols"
_ENDPOINT += "/openai/responses"
ENDPOINT = re.compile(_ENDPOINT)
RUN = re.compile(rf"(?:{_BASES})/responses|(?:{_ENDPOINT})")
CONNECT = _routes("/responses")
ITEMS = _routes("/conversations", f"/conversations/{_ID}(?:/items)?")
IMAGES = _routes("/images/generations", "/images/edits")
AGENT = re.compile(rf"/api/projects/{_ID}/agents/{_ID}/versions")
BARE = _routes(
    f"/responses/{_ID}(?:/input_items|/cancel)?",
    f"/conversations/{_ID}(?:/items(?:/{_ID})?)?",
    f"/models(?:/{_ID})?",
)
FILES, BATCHES = _routes("/files"), _routes("/batches")
STAGED = _routes(f"/files(?:/{_ID}(?:/content)?)?", f"/batches(?:/{_ID}(?:/cancel)?)?")
OPEN = _routes("/chat/completions", "/embeddings", "/moderations")
BARE_DEPLOYMENT = re.compile(rf"/openai/deployments/({_ID})/")
