"""The audit records, as typed values.

A record is one flat JSON object; `schema` says in which version. Fields are an
allowlist with a bound on each: there is no field for a prompt, an image, a key, a
URL or a message, so none can be filled by mistake. There is no time in them: the
sink stamps. A field that is None is not known, which is never zero.

What a client or a provider spelled goes through `ident`, `word` or `place` on its
way here; settings come as `decision.shown` made them.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Final, Literal, TypeAlias

import msgspec

SCHEMA: Final = 1
"""Grows when a field changes its meaning or goes; not when one is added."""
MAX_ENTRIES: Final = 32
"""Of a list in a record; how many there were is in the count beside it."""

_IDENT: Final = 1024  # what is kept of an identifier; some providers sign theirs
_PLACE: Final = 200
_FOREIGN: Final = re.compile(r"[^!-~]")
_WORD: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_BYTE: Final = re.compile(r"byte [0-9]{1,12}")
_INDEX: Final = re.compile(r"[0-9]{1,9}")

Settings: TypeAlias = Mapping[str, str | int | None]
Transport: TypeAlias = Literal["http", "sse", "websocket", "in_process"]
Outcome: TypeAlias = Literal[
    "completed",
    "failed",
    "incomplete",
    "accepted",
    "client_left",
    "upstream_error",
    "timeout",
    "cut",
    "refused",
    "shutdown",
    "truncated",
]
"""How an exchange ended; `accepted` is an answer that is made in the background."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What every record says: under which policy, who, and through which door.

    Attributes:
        event: What happened; each kind of record has its own.
        decision_id: What ties the records of one exchange together.
        policy_digest: SHA-256 of the policy's canonical form.
        policy_mode: What the policy as a whole is set to.
        principal_source: How the identity was established.
        door: The route by its stable name; None when there is no such route.
        family: The way in which its path is spelled.
        replay: The answer is one that was made before, read again.
    """

    schema: int = SCHEMA
    event: str = ""
    decision_id: str
    policy: str
    policy_digest: str
    policy_mode: Literal["enforce", "observe"]
    principal_id: str
    principal_team: tuple[str, ...] = ()
    principal_source: str
    principal_verified: bool
    provider: str | None = None
    door: str | None = None
    family: str | None = None
    transport: Transport
    replay: bool = False
    trace_id: str | None = None
    span_id: str | None = None


class ToolRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One image tool: asked for, meant, and sent.

    Attributes:
        pointer: Where it stood in the body.
        carrier: What kind of place that is.
        requested: The settings as they were written; null and absent are not said.
        effective: With the provider's defaults, where they are known.
        enforced: As they are sent.
        sent: Whether the tool is sent at all.
        deprecated: The deprecated members it came with.
        unknown: How many members it came with that nobody knows.
        mask: Whether it came with a mask.
        unverified: The ruled settings that were left out of it, because nobody
            says whether its model has them.
    """

    pointer: str
    carrier: str
    requested: Settings
    effective: Settings
    enforced: Settings
    sent: bool = True
    deprecated: tuple[str, ...] = ()
    unknown: int = 0
    mask: bool = False
    unverified: tuple[str, ...] = ()


class ReferenceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a request refers to, and that may bring in what is not seen.

    Attributes:
        kind: The policy's word for it: `conversation`, `previous_response`, …
        id: Verbatim where the gateway has seen it, the policy lists it, or it has
            the shape of an identifier of the API; None where it has none.
        seen: It was judged here before, for this principal.
    """

    kind: str
    id: str | None = None
    seen: bool = False


class QuotaRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Where a counter stood when a request was judged by it.

    Attributes:
        quota: As policies spell it: `images.principal.day`.
        team: Of a counter of teams; empty for those of no team.
        since: When the window began, in UTC.
        max: The tightest line that holds; of money in millionths, as what follows.
        used: What was counted in the window; None where nobody could be asked.
        held: Places of requests that were under way.
        asks: Of money, what the request may cost; None where no price is known.
        currency: Of money.
    """

    quota: str
    team: str | None = None
    since: str
    max: int
    used: int | None
    held: int = 0
    asks: int | None = None
    currency: str | None = None


class FindingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a rule changed or refused, or would have.

    Attributes:
        verdict: What was decided about it, whether it was acted on or not.
        after: What was put there; None when it goes, or is refused.
        code: Of a refusal, as the client gets it.
    """

    pointer: str
    field: str
    verdict: Literal["change", "refuse"]
    before: str | int | None
    after: str | int | None = None
    rule: str
    layer: str
    mode: str
    reason: str = ""
    code: str | None = None


class CandidateRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What another policy would have decided; nothing followed from it.

    Attributes:
        policy: Its name.
        policy_digest: SHA-256 of its canonical form.
        decision: None when it could not be asked.
        differs: Whether something else would have gone on, or nothing instead of it,
            or what was refused.
        undecided: Why there is no decision: deciding failed, or the body was not
            read, because the policy that acts does not look at it.
        duration_ms: What it cost.
    """

    policy: str
    policy_digest: str
    decision: Literal["forward", "rewrite", "block"] | None = None
    differs: bool | None = None
    undecided: Literal["failed", "unread"] | None = None
    changes: tuple[FindingRecord, ...] = ()
    changes_count: int = 0
    violations: tuple[FindingRecord, ...] = ()
    violations_count: int = 0
    duration_ms: float | None = None


class DecisionRecord(Record, frozen=True, kw_only=True):
    """What was decided about a request; written before anything of it goes on.

    Attributes:
        method: Of the route; `WEBSOCKET` for messages.
        route: The template of the path, without any identifier.
        api_version: As the query says, on Azure.
        previews: What the query and headers opt into, where it is known by name.
        message_type: Of a WebSocket's message that can be judged.
        principal_proof: By what in particular the identity was established: the id
            of a key, an issuer, the address of a front; of a key also where it was
            refused because it has expired or was revoked.
        principal_matched: The attributes that the policy's layers match on.
        stream: The request's own flag, like `background`.
        tool_choice: A choice that forces a tool, the image tool or any, or none.
        other_tools: How many tools are no image tools.
        max_tool_calls: As it was written, like `n`, the images of one call.
        image_deployment: On Azure, what a header or the path names.
        references: What the request refers to.
        inherits: Whether what it refers to holds an image tool, where a quota asks.
        quotas: Where the counters stood by which it was judged.
        whole: False when a member turned out malformed, so that not all is told.
        prompt_hmac: Keyed hash of the prompt, where the operator asks for it.
        user_hmac: The same of the end user that the client names.
        inspected: False for a door that the operator opened unseen.
        layers: The teams and exceptions that held, besides the baseline.
        tools: The image tools, wherever in the request they stood.
        observed: What rules in observe mode would have done.
        candidate: What another policy would have decided, where there is one.
        status: Of the answer to a refused request.
        bytes_in: The body as it came.
        bytes_out: The body as it is sent; for the shell to fill in, like every
            duration, because it writes the body and has the clock.
        duration_ms: Since the request began, as in all records.
    """

    event: Literal[
        "imagegate.request_forwarded",
        "imagegate.request_rewritten",
        "imagegate.request_blocked",
        "imagegate.request_malformed",
    ]
    decision: Literal["forward", "rewrite", "block"]
    method: str | None = None
    route: str | None = None
    api_version: str | None = None
    previews: tuple[str, ...] = ()
    message_type: str | None = None
    principal_proof: str | None = None
    principal_matched: Mapping[str, tuple[str, ...]] = msgspec.field(
        default_factory=dict
    )
    stream: bool | None = None
    background: bool | None = None
    tool_choice: Literal["image_generation", "required", "none"] | None = None
    other_tools: int = 0
    max_tool_calls: str | int | None = None
    n: str | int | None = None
    image_deployment: str | int | None = None
    references: tuple[ReferenceRecord, ...] = ()
    references_count: int = 0
    inherits: bool | None = None
    quotas: tuple[QuotaRecord, ...] = ()
    whole: bool = True
    prompt_hmac: str | None = None
    user_hmac: str | None = None
    inspected: bool = True
    layers: tuple[str, ...] = ()
    tools: tuple[ToolRecord, ...] = ()
    tools_count: int = 0
    changes: tuple[FindingRecord, ...] = ()
    changes_count: int = 0
    violations: tuple[FindingRecord, ...] = ()
    violations_count: int = 0
    observed: tuple[FindingRecord, ...] = ()
    observed_count: int = 0
    candidate: CandidateRecord | None = None
    status: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    duration_ms: float | None = None


class GeneratingRecord(Record, frozen=True, kw_only=True):
    """The provider said that an image is being made; written before it goes on.

    Attributes:
        type: As on the wire, like the three that follow.
        settings: What holds for the image, one entry for each tool that may be
            making it: the event does not say which does.
        settings_from: Whether these were sent, or only echoed.
    """

    event: Literal["imagegate.image_generating"] = "imagegate.image_generating"
    type: str
    sequence_number: int | None
    output_index: int | None
    item_id: str | None
    response_id: str | None
    settings: tuple[Settings, ...] = ()
    settings_from: Literal["request", "echo", "unknown"] = "unknown"
    duration_ms: float | None = None


class MismatchRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One value of the provider's that is not what the policy left.

    Attributes:
        at: Which tool of the echo; empty for a finished image.
        observed: What the provider says.
        sent: What was sent, where all tools agree on it.
        rule: The line that is broken; empty when the value keeps to all of
            them and only differs from what was sent.
    """

    at: str = ""
    field: str
    observed: str | int | None
    sent: str | int | None
    rule: str = ""
    layer: str = ""
    mode: str = ""
    reason: str = ""


class ImageRecord(Record, frozen=True, kw_only=True):
    """An image call that came to its end; one record however often it is told.

    Attributes:
        made: Whether there is an image. The status does not say.
        model: The image model, where only one can have drawn it.
        dimensions: By the image's own header.
        image_bytes: About; counted from the length of the base64.
        usage_image_gen: Only of a stream of the Images API, which counts for each.
    """

    event: Literal["imagegate.image_finished"] = "imagegate.image_finished"
    type: str
    sequence_number: int | None
    output_index: int | None
    item_id: str | None
    response_id: str | None
    made: bool
    status: str | None = None
    action: str | None = None
    size: str | int | None = None
    quality: str | int | None = None
    background: str | int | None = None
    output_format: str | int | None = None
    model: str | None = None
    media: str | None = None
    dimensions: str | None = None
    image_bytes: int | None = None
    error_code: str | None = None
    mismatches: tuple[MismatchRecord, ...] = ()
    usage_image_gen: Mapping[str, int] = msgspec.field(default_factory=dict)
    duration_ms: float | None = None


class EchoRecord(Record, frozen=True, kw_only=True):
    """The provider understood the request as something that the policy forbids.

    Attributes:
        action: What was done: the stream was cut, the background answer is to be
            cancelled, or nothing but this record.
    """

    event: Literal["imagegate.echo_contradicted"] = "imagegate.echo_contradicted"
    type: str
    sequence_number: int | None
    response_id: str | None
    action: Literal["cut", "cancel", "recorded"]
    contradictions: tuple[MismatchRecord, ...]
    contradictions_count: int


class CompletionRecord(Record, frozen=True, kw_only=True):
    """The end of an exchange, whichever it was; exactly one for each.

    Attributes:
        status: Of the answer, on a WebSocket of an error; None when there was none.
        images: Images made, each counted once.
        images_failed: Image calls that ended without one.
        generating: `generating` events, each of which has a record.
        mismatches: Values of finished images that are not what was enforced.
        usage_image_gen: Tokens; a number that is not there is unknown.
        image_model: The image model, where only one can have drawn.
        cost_amount: An estimate, as a decimal number; None is unknown, never 0.
        cost_currency: Of the amount.
        cost_basis: Whether tokens were counted, or images at a price each.
        cost_prices: The date of the price table.
        echo: What the provider's echo of the tools said; `absent` when there was
            none, `unchecked` where none is expected.
        echo_verified: The ruled settings that were echoed and keep to the rules.
        echo_unverified: Those that were not echoed or could not be compared, and
            members that nobody knows.
        echo_differs: Those that keep to the rules and are not what was sent.
        undecodable: Events that are no JSON object.
        unobservable: Events with more in them than is read.
        unobserved: Why nothing of the answer was observed.
        bytes_out: What was relayed of the answer.
        first_byte_ms: From the beginning of the request to the first piece of the
            answer's body.
    """

    event: Literal["imagegate.exchange_finished"] = "imagegate.exchange_finished"
    outcome: Outcome
    status: int | None = None
    response_id: str | None = None
    upstream_request_id: str | None = None
    model: str | None = None
    error_code: str | None = None
    incomplete_reason: str | None = None
    images: int = 0
    images_failed: int = 0
    partial_images: int = 0
    generating: int = 0
    mismatches: int = 0
    usage_image_gen: Mapping[str, int] = msgspec.field(default_factory=dict)
    image_model: str | None = None
    cost_amount: str | None = None
    cost_currency: str | None = None
    cost_basis: Literal["usage", "per_image"] | None = None
    cost_prices: str | None = None
    echo: Literal["verified", "unverified", "contradicted", "absent", "unchecked"]
    echo_verified: tuple[str, ...] = ()
    echo_unverified: tuple[str, ...] = ()
    echo_differs: tuple[str, ...] = ()
    undecodable: int = 0
    unobservable: int = 0
    unobserved: Literal["content_encoding", "content_type"] | None = None
    bytes_out: int = 0
    first_byte_ms: float | None = None
    duration_ms: float | None = None


AnswerRecord: TypeAlias = GeneratingRecord | ImageRecord | EchoRecord | CompletionRecord
"""What an answer can give rise to."""


def ident(text: str | None) -> str | None:
    """Keep what an identifier may be made of: visible ASCII, within bounds."""
    if text is None:
        return None
    kept = text[:_IDENT]
    if kept.isascii() and kept.isprintable() and " " not in kept:
        return kept  # almost always
    return _FOREIGN.sub("", kept)


def word(text: str | None) -> str | None:
    """Keep a word such as an error code; anything else is only `other`."""
    return text if text is None or _WORD.fullmatch(text) else "other"


def place(pointer: str, names: Container[str]) -> str:
    """Keep a JSON pointer; a step that is no name of the API's may be a secret.

    What is wrong with the bytes themselves has a place among them: `byte 12`.
    """
    if _BYTE.fullmatch(pointer):
        return pointer
    steps = (
        step if not step or step in names or _INDEX.fullmatch(step) else "?"
        for step in pointer[:_PLACE].split("/")
    )
    return "/".join(steps)


def label(text: str) -> str:
    """Keep a name that people gave; they may write it in any script."""
    if text.isprintable() and len(text) <= _PLACE:
        return text  # almost always
    return "".join(filter(str.isprintable, text[:_PLACE]))
