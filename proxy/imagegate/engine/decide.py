"""The decision on a request: forward, rewrite or block. Pure.

Every tool in the request is judged as it came; any refusal beats all changes;
otherwise all changes are made together. The same judging runs a second time with
the observed lines where a policy has any, and only its words are kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from imagegate.engine.allowance import refuse_spent, spent_images, spent_requests
from imagegate.engine.bench import Bench
from imagegate.engine.body import Body
from imagegate.engine.catalogue import Catalogue
from imagegate.engine.counts import judge_count
from imagegate.engine.decision import (
    Block,
    Change,
    Decision,
    Forward,
    Reason,
    Together,
    Violation,
)
from imagegate.engine.deployment import (
    drop_header,
    header_of,
    judge_header,
    judge_path,
)
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.interface import judge_interface
from imagegate.engine.judge import judge_tool
from imagegate.engine.notes import Notes
from imagegate.engine.policy import Mode, Policy
from imagegate.engine.request import MESSAGES, Request
from imagegate.engine.rulebook import Book, Rulebook
from imagegate.engine.scene import (
    PATHS,
    Scene,
    Vocabulary,
    absent_at,
    vocabulary,
)
from imagegate.engine.sheet import Asked
from imagegate.engine.staging import judge_batch, judge_upload
from imagegate.engine.state import judge_state
from imagegate.engine.strict import letters_of
from imagegate.engine.surface import GROUPS, Door, Match, stance_of
from imagegate.engine.toolset import judge_tools

_IMAGE_MODELS = ("gptimage", "chatgptimage", "dalle")


class Decider:
    """A policy and a catalogue, laid out for deciding; safe to share."""

    def __init__(
        self, policy: Policy, catalogue: Catalogue, *, hash_key: bytes = b""
    ) -> None:
        self.policy = policy
        self.catalogue = catalogue
        self.book = Book(policy)
        self._hash_key = hash_key
        self._benches: dict[tuple[int, str, str], Bench] = {}
        self._scenes: dict[tuple[int, str, str, bool], Scene] = {}
        self._words: Mapping[bool, Vocabulary] = {
            images: vocabulary(catalogue, policy.deployments, images_api=images)
            for images in (False, True)
        }

    def decide(self, request: Request) -> Decision:
        """Decide on one request."""
        door = request.match.door
        stance = self.stance(door)
        if stance == "refuse":
            return Block(violations=(self._closed(request, "enforce"),))
        if stance == "pass":
            return Forward(inspected=False)
        decision = self._inspect(request)
        if stance_of(door, self.policy.surface) == "refuse":
            closed = (self._closed(request, "observe"), *decision.observed)
            return msgspec.structs.replace(decision, observed=closed)
        return decision

    def stance(self, door: Door) -> str:
        """Return what is done at a door.

        A door that a policy only observes to be closed is one where requests are
        judged; where that cannot be done, it is closed in every mode.
        """
        stance = stance_of(door, self.policy.surface)
        can_be_judged = "enforce" in GROUPS[door.group].stances and not door.opaque
        if stance == "refuse" and self.policy.mode == "observe" and can_be_judged:
            return "enforce"
        return stance

    def _closed(self, request: Request, mode: Mode) -> Violation:
        """Word the refusal of a door; 426 sends a WebSocket's client back to HTTP."""
        door = request.match.door
        said, why = f"this route ({door.group}) is closed here", GROUPS[door.group].why
        if door.group == "images_api":
            rules = self.book.page(request.principal, request.date).acting.rules
            if rules.stance("tool")[0] != "allow":  # the tool is no way round then
                said, why = f"{said}: image generation is not allowed", ""
        return Violation(
            pointer="",
            field="",
            before=None,
            by=Reason(rule=f"surface.{door.group}", layer="baseline", mode=mode),
            message=said,
            fix=why,
            code="route_not_allowed",
            status=426 if door.method == "WEBSOCKET" else 403,
        )

    def scene(self, book: Rulebook, match: Match, *, mapped: bool = True) -> Scene:
        """Return what tools are judged against at a door; made once for each.

        Args:
            book: The rules.
            match: The door.
            mapped: Models have the names of deployments, on Azure.
        """
        name, route = match.family.provider, _route(match)
        mapped = mapped and name == "azure"
        key = (id(book), name, route, mapped)
        found = self._scenes.get(key)
        if found is None:
            provider = self.catalogue.provider(name)
            found = self._scenes[key] = Scene(
                catalogue=self.catalogue,
                provider=provider,
                book=book,
                vocabulary=self._words[bool(route)],
                deployments=self.policy.deployments if mapped else {},
                images_api=bool(route),
                absent=absent_at(provider, route) if route else frozenset(),
                hash_key=self._hash_key,
            )
        return found

    def _inspect(self, request: Request) -> Decision:
        door = request.match.door
        bodiless = door.reading == "none" or door.method == "WEBSOCKET"
        if request.body is None and not bodiless:
            return _without_body()
        try:
            return self._decide(request)
        except MalformedRequest as error:
            # Some members are only opened here, as strictly as all the others.
            return Block(violations=(_malformed(error),))

    def _decide(self, request: Request) -> Decision:
        page = self.book.page(request.principal, request.date)
        acting = _judged(self._bench(page.acting, request), request)
        observed: tuple[Change | Violation, ...] = ()
        if page.watched is not None:
            watched = _judged(self._bench(page.watched, request), request)
            said: list[Change | Violation] = [*watched.violations, *watched.changes]
            observed = tuple(item for item in said if item.by.mode == "observe")
        decision = acting.decision(observed)
        staged = request.staged
        return Together(decision, staged).decision() if staged else decision

    def _bench(self, book: Rulebook, request: Request) -> Bench:
        match = request.match
        key = (id(book), match.family.provider, _route(match))
        found = self._benches.get(key)
        if found is None:
            found = self._benches[key] = Bench(self.scene(book, match))
        return found


def _route(match: Match) -> str:
    """Name a route of the Images API; nothing for the others."""
    images = match.door.reading == "images"
    return match.door.name.partition(".")[2] if images else ""


def _without_body() -> Decision:
    """Refuse a request that brings nothing to judge, where something has to be."""
    return Block(
        violations=(
            Violation(
                pointer="",
                field="",
                before=None,
                by=Reason(rule="always.body"),
                message="there is no body to judge",
                fix="send a JSON object",
                status=400,
            ),
        )
    )


def _malformed(error: MalformedRequest) -> Violation:
    return Violation(
        pointer=error.pointer,
        field="",
        before=None,
        by=Reason(rule="always.malformed"),
        message=error.message,
        code=error.code,
        status=error.status,
    )


def _judged(bench: Bench, request: Request) -> Notes:
    """Judge a request with one set of rules."""
    notes, body = Notes(bench.scene), request.body
    judge_interface(notes, request)
    if body is None or not request.is_message:
        drop_header(notes, request)
    if body is not None:
        _judge_body(notes, bench, request, body)
    return notes


def _judge_body(notes: Notes, bench: Bench, request: Request, body: Body) -> None:
    """Judge what a request brings along."""
    match request.match.door.reading:
        case "images":
            _judge_images(notes, request, body)
        case "agent":
            _judge_kind(notes, body)
            judge_tools(notes, bench, request, body)
        case "file":
            judge_upload(notes, request, body)
        case "batch":
            judge_batch(notes, request, body)
        case _:
            _judge_message(notes, request)
            notes.violations += judge_state(bench.scene, request, body)
            _judge_top_model(notes, body)
            judge_tools(notes, bench, request, body)
            _judge_shared_headers(notes, request)
    # Last: what is refused for good is not asked again when there is room.
    refuse_spent(notes, spent_requests(notes, request))


def _judge_message(notes: Notes, request: Request) -> None:
    """Refuse messages of a socket that nobody knows how to judge."""
    if request.is_message and request.message_type not in MESSAGES:
        said = "this gateway does not know messages of this type"
        notes.refuse_always("/type", "type", "message_type", said, unreadable=True)


def _judge_shared_headers(notes: Notes, request: Request) -> None:
    """Refuse what would need another header: a socket's were sent when it opened."""
    for name in notes.headers if request.is_message else ():
        said = f"open the connection with a header {name} that agrees with the tools"
        notes.refuse_always("", name, "header", said)


def _judge_top_model(notes: Notes, body: Body) -> None:
    """Refuse an image model in the place of the text model."""
    value = body.get("model")
    name = None if value is None else value.text()
    if name is None:
        return
    scene = notes.scene
    known = scene.provider.model(scene.deployments.get(name, name)) is not None
    if known or letters_of(name).startswith(_IMAGE_MODELS):
        said = "an image model does not answer here; name it inside the tool"
        notes.refuse_always("/model", "model", "image_model", said)


def _judge_kind(notes: Notes, body: Body) -> None:
    kind = body.at("/definition/kind")
    if kind is None or kind.text() != "prompt":
        said = "only prompt agents can be judged"
        place = "/definition/kind"
        notes.refuse_always(place, "kind", "agent_kind", said, unreadable=True)


def _judge_images(notes: Notes, request: Request, body: Body) -> None:
    """Judge a request of the Images API: the body is the tool."""
    steps = {path[0] for path in PATHS.values()}
    values = {
        key: value.plain() if key in steps else None
        for key, value in body.members.items()
    }
    deployment = request.match.params.get("deployment")
    asked = Asked(
        pointer="", carrier="images_api", values=values, deployment=deployment
    )
    verdict = judge_tool(notes.scene, asked)
    word, line = notes.scene.book.rules.stance("tool")
    if word != "allow":
        notes.refuse("", "type", line, "image generation is not allowed")
        notes.tell(verdict)
        return
    if deployment is not None and not judge_path(notes, deployment, body):
        notes.tell(verdict)
        return
    notes.take(verdict)
    judge_header(notes, header_of(notes, request), ())
    judge_count(notes, body.get("n"), "images_api_n", "n")
    refuse_spent(notes, spent_images(notes, request, body))
