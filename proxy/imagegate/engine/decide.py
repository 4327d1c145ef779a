"""decide(policy, request): forward, rewrite or block. Pure.

Every tool in the request is judged as it came; any refusal beats all changes;
otherwise all changes are made together. The same judging runs a second time with
the observed lines where a policy has any, and only its words are kept.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from imagegate.engine.body import Body, Tool
from imagegate.engine.catalogue import Catalogue
from imagegate.engine.choice import repair_choice
from imagegate.engine.decision import (
    Block,
    Change,
    Decision,
    Forward,
    JudgedTool,
    Reason,
    Rewrite,
    Violation,
    shown,
)
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.judge import Asked, Verdict, judge_tool, reason_of
from imagegate.engine.models import choose_model
from imagegate.engine.policy import ANONYMOUS, Line, Policy, Principal
from imagegate.engine.rulebook import Book, Rulebook, count_of
from imagegate.engine.scene import PATHS, Scene, Vocabulary, fold, vocabulary
from imagegate.engine.state import judge_state, references
from imagegate.engine.surface import (
    GROUPS,
    IMAGE_DEPLOYMENT_HEADER,
    Door,
    Match,
    stance_of,
)
from imagegate.engine.value import DELETE, Edit, Piece, Value

MAX_VERDICTS = 1_024
"""How many judged tools are remembered, for each kind of principal."""
MAX_REMEMBERED = 2_048
"""A longer tool carries a mask, and is not the same twice."""
_BEGINNING = "response.create"
_MESSAGES = (_BEGINNING, "response.steer", "response.inject")
_SILENT_GROUPS = ("compact", "input_tokens")
_IMAGE_MODELS = ("gptimage", "chatgptimage", "dalle")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is decided about: the request, who asks, and when.

    Attributes:
        match: The door, and what its path says.
        body: The body as it was read; None where the door takes none.
        headers: Those that matter, in lower case, duplicates kept.
        principal: Who asks.
        date: Today, for exceptions that end.
        seen: The ids of conversations, responses and items that this gateway has
            judged for this principal.
    """

    match: Match
    date: datetime.date
    body: Body | None = None
    headers: tuple[tuple[str, str], ...] = ()
    principal: Principal = ANONYMOUS
    decision_id: str = ""
    seen: frozenset[str] = frozenset()


class Decider:
    """A policy and a catalogue, laid out for deciding; safe to share."""

    def __init__(
        self, policy: Policy, catalogue: Catalogue, *, hash_key: bytes = b""
    ) -> None:
        self.policy = policy
        self.catalogue = catalogue
        self.book = Book(policy)
        self._hash_key = hash_key
        self._benches: dict[tuple[int, str, bool], Bench] = {}
        self._words: Mapping[bool, Vocabulary] = {
            images: vocabulary(catalogue, policy.deployments, images_api=images)
            for images in (False, True)
        }

    def decide(self, request: Request) -> Decision:
        """Decide on one request."""
        door = request.match.door
        stance = stance_of(door, self.policy.surface)
        if stance == "refuse":
            return Block(violations=(_closed(door),))
        if stance == "pass":
            return Forward(inspected=False)
        body = request.body
        if body is None:
            return _without_body(door)
        try:
            return self._decide(request, body)
        except MalformedRequest as error:
            # Some members are only opened here, as strictly as all the others.
            return Block(violations=(_malformed(error),))

    def _decide(self, request: Request, body: Body) -> Decision:
        page = self.book.page(request.principal, request.date)
        acting = _Deciding(self._bench(page.acting, request), request, body)
        observed: tuple[Change | Violation, ...] = ()
        if page.watched is not None:
            watched = _Deciding(self._bench(page.watched, request), request, body)
            said: list[Change | Violation] = [*watched.violations, *watched.changes]
            observed = tuple(item for item in said if item.by.mode == "observe")
        return acting.decision(observed)

    def _bench(self, book: Rulebook, request: Request) -> Bench:
        family, images = request.match.family, request.match.door.reading == "images"
        key = (id(book), family.provider, images)
        found = self._benches.get(key)
        if found is None:
            azure = family.provider == "azure"
            scene = Scene(
                catalogue=self.catalogue,
                provider=self.catalogue.provider(family.provider),
                book=book,
                vocabulary=self._words[images],
                deployments=self.policy.deployments if azure else {},
                images_api=images,
                hash_key=self._hash_key,
            )
            found = self._benches[key] = Bench(scene)
        return found


class Bench:
    """Where tools are judged; the same tool is judged once.

    An application sends the same few tools with every request. A verdict depends
    on nothing but what is in the key.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._verdicts: dict[tuple[str, str, str | None, bytes], Verdict] = {}

    def judge(self, tool: Tool, carrier: str, deployment: str | None) -> Verdict:
        """Judge a tool, or remember the verdict."""
        pieces: list[Piece] = []
        tool.value.write(pieces)
        spelling = b"".join(pieces)
        key = (tool.pointer, carrier, deployment, spelling)
        found = self._verdicts.get(key)
        if found is None:
            asked = Asked(
                pointer=tool.pointer,
                carrier=carrier,
                values={name: value.plain() for name, value in tool.members.items()},
                deployment=deployment,
            )
            found = judge_tool(self.scene, asked)
            if len(spelling) <= MAX_REMEMBERED:
                if len(self._verdicts) >= MAX_VERDICTS:
                    self._verdicts.clear()
                self._verdicts[key] = found
        return found


def decide(policy: Policy, request: Request, *, catalogue: Catalogue) -> Decision:
    """Decide on one request under a policy."""
    return Decider(policy, catalogue).decide(request)


def _without_body(door: Door) -> Decision:
    """Decide on a request that brings nothing to judge."""
    if door.reading == "none" or door.method == "WEBSOCKET":
        return Forward()
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


def _closed(door: Door) -> Violation:
    """Word the refusal of a door; 426 sends a WebSocket's client back to HTTP."""
    return Violation(
        pointer="",
        field="",
        before=None,
        by=Reason(rule=f"surface.{door.group}", layer="baseline"),
        message=f"this route ({door.group}) is closed here",
        fix=GROUPS[door.group].why,
        code="route_not_allowed",
        status=426 if door.method == "WEBSOCKET" else 403,
    )


class _Deciding:
    """Deciding on one request with one set of rules; one use."""

    def __init__(self, bench: Bench, request: Request, body: Body) -> None:
        self.bench = bench
        self.scene = bench.scene
        self.request = request
        self.tools: list[JudgedTool] = []
        self.changes: list[Change] = []
        self.violations: list[Violation] = []
        self.edits: list[Edit] = []
        self.headers: dict[str, str] = {}
        self._run(body)

    def decision(self, observed: tuple[Change | Violation, ...]) -> Decision:
        """Put together what was found."""
        tools = tuple(self.tools)
        if self.violations:
            return Block(
                violations=tuple(self.violations), tools=tools, observed=observed
            )
        if self.changes:
            return Rewrite(
                changes=tuple(self.changes),
                edits=tuple(self.edits),
                headers=self.headers,
                tools=tools,
                observed=observed,
            )
        return Forward(tools=tools, observed=observed)

    def _run(self, body: Body) -> None:
        match self.request.match.door.reading:
            case "images":
                self._judge_images(body)
            case "agent":
                self._judge_kind(body)
                self._judge_tools(body, "/definition")
            case _:
                self._judge_message(body)
                self.violations += judge_state(self.scene, self.request, body)
                self._judge_top_model(body)
                self._judge_tools(body, "")

    def _judge_message(self, body: Body) -> None:
        """Refuse messages of a socket that nobody knows how to judge."""
        if self._is_message and _type(body) not in _MESSAGES:
            said = "this gateway does not know messages of this type"
            self._builtin("/type", "type", "message_type", said)

    # -- tools ------------------------------------------------------------------

    def _judge_tools(self, body: Body, root: str) -> None:
        """Judge every tool that makes images, or that somebody may take for one."""
        image_tools: list[tuple[str, Tool]] = []
        for carrier in body.carriers:
            for tool in carrier.tools:
                if tool.suspicious_type:
                    said = "the type of this tool is not exactly a known one"
                    self._builtin(f"{tool.pointer}/type", "type", "tool_type", said)
                elif tool.is_image:
                    image_tools.append((carrier.kind, tool))
        word, line = self.scene.book.rules.stance("tool")
        if word == "block":
            for _, tool in image_tools:
                self._refuse_tool(tool.pointer, line)
        elif word == "strip":
            for _, tool in image_tools:
                self._strip(tool.pointer, line)
        else:
            self._judge_settings(image_tools)
        chosen = self._judge_choice(
            body, root, {tool.pointer for _, tool in image_tools}
        )
        if word == "allow" and self._answers:
            self._judge_calls(body, brought=bool(image_tools) or chosen)

    def _judge_settings(self, tools: list[tuple[str, Tool]]) -> None:
        limit = self.scene.book.limit("tools")
        if limit is not None and len(tools) > count_of(limit.value):
            at = tools[count_of(limit.value)][1].pointer
            said = f"{len(tools)} image tools in one request: {count_of(limit.value)}"
            fix = "send the tools in requests of their own"
            self._refuse(at, "tools", limit, f"{said} allowed", fix=fix)
        deployment = self._deployment_header()
        verdicts = []
        for kind, tool in tools:
            if kind in ("namespace", "unknown"):
                said = "an image tool has no place here; move it to the tools array"
                self._builtin(tool.pointer, "type", "carrier", said)
                continue
            verdicts.append(self._take(self.bench.judge(tool, kind, deployment)))
        match = self.request.match
        # A definition is stored; what calls it later brings the header itself.
        if match.family.provider == "azure" and match.door.reading != "agent":
            self._judge_deployment(deployment, verdicts)

    def _take(self, verdict: Verdict) -> Verdict:
        self.tools.append(verdict.tool)
        self.changes += verdict.changes
        self.violations += verdict.violations
        self.edits += verdict.edits
        return verdict

    def _refuse_tool(self, pointer: str, line: Line | None) -> None:
        fix = "leave out the image_generation tool"
        said = "image generation is not allowed"
        self._refuse(pointer, "type", line, said, fix=fix)

    def _strip(self, pointer: str, line: Line | None) -> None:
        self.edits.append((pointer, DELETE))
        self.changes.append(
            Change(
                pointer=pointer,
                field="tool",
                before="image_generation",
                after=None,
                by=reason_of(line),
                message="the image_generation tool is left out",
            )
        )

    # -- what goes with the tools -----------------------------------------------

    def _judge_choice(self, body: Body, root: str, found: set[str]) -> bool:
        """Judge `tool_choice`, and repair it where the tool it names has gone.

        Returns:
            Whether it names the image tool.
        """
        word, line = self.scene.book.rules.stance("tool")
        left = [
            tool
            for carrier in body.carriers
            for tool in carrier.tools
            if carrier.kind != "unknown" and tool.pointer not in found
        ]
        repair = repair_choice(
            body, f"{root}/tool_choice", stripped=word == "strip", left=len(left)
        )
        for pointer in repair.disguised:
            said = "this type is not exactly a known one"
            self._builtin(pointer, "type", "tool_type", said)
        if repair.names_image and word == "block" and not found:
            self._refuse_tool(f"{root}/tool_choice", line)
        for edit in repair.edits:
            self.edits.append(edit)
            self.changes.append(
                Change(
                    pointer=edit[0],
                    field="tool_choice",
                    before="image_generation" if repair.names_image else "required",
                    after=None,
                    by=reason_of(line),
                    message="tool_choice no longer asks for a tool that is left out",
                )
            )
        return repair.names_image

    @property
    def _answers(self) -> bool:
        """Whether the model answers here, and so may call tools."""
        door = self.request.match.door
        return door.reading == "responses" and door.group not in _SILENT_GROUPS

    def _judge_calls(self, body: Body, *, brought: bool) -> None:
        """Cap the calls of a request that may make images.

        It may without a tool of its own: what it refers to can hold one. Beside an
        agent the API takes no such member, and in a message that only adds to a
        response neither; what is given there is capped, and nothing is written.
        """
        stances = {stance for _, stance, _ in references(self.request, body)}
        if brought or stances:
            adds = self._is_message and _type(body) != _BEGINNING
            self._judge_count(
                body.get("max_tool_calls"),
                "max_tool_calls",
                write=not adds and "state.agents" not in stances,
            )

    @property
    def _is_message(self) -> bool:
        return self.request.match.door.method == "WEBSOCKET"

    def _judge_count(
        self,
        value: Value | None,
        name: str,
        field: str | None = None,
        *,
        write: bool = True,
    ) -> None:
        """Cap a count of the request; one that is not given is written."""
        field = field or name
        limit = self.scene.book.limit(name)
        if limit is None:
            return
        most = count_of(limit.value)
        given = None if value is None else value.plain()
        if given is None and not write:
            return
        if isinstance(given, int) and not isinstance(given, bool) and given <= most:
            return
        before = self._shown(given)
        if given is None or (isinstance(given, int) and limit.otherwise != "block"):
            self.edits.append((f"/{field}", b"%d" % most))
            self.changes.append(
                Change(
                    pointer=f"/{field}",
                    field=field,
                    before=before,
                    after=most,
                    by=reason_of(limit),
                    message=f"`{field}` is {most}",
                )
            )
            return
        said = f"`{field}` is {before}, at most {most} is allowed"
        self._refuse(
            f"/{field}", field, limit, said, fix=f"set `{field}` to {most}", was=given
        )

    def _judge_top_model(self, body: Body) -> None:
        """Refuse an image model in the place of the text model."""
        value = body.get("model")
        name = None if value is None else value.text()
        if name is None:
            return
        meant = self.scene.deployments.get(name, name)
        known = self.scene.provider.model(meant) is not None
        if known or fold(name).startswith(_IMAGE_MODELS):
            said = "an image model does not answer here; name it inside the tool"
            self._builtin("/model", "model", "image_model", said)

    # -- Azure ------------------------------------------------------------------

    def _deployment_header(self) -> str | None:
        """Return the deployment that a header names: one, or none."""
        if self.request.match.family.provider != "azure":
            return None
        name = IMAGE_DEPLOYMENT_HEADER
        values = [value for key, value in self.request.headers if key == name]
        if len(values) > 1:
            said = f"the header {name} comes twice"
            self._builtin("", name, "deployment", said, status=400)
        return values[0] if values else None

    def _judge_deployment(self, asked: str | None, verdicts: list[Verdict]) -> None:
        """Make the header say the same as the tools."""
        # A tool that names none was judged by what the header says as it came.
        names = {verdict.model or asked for verdict in verdicts}
        if len(names) > 1:
            said = "tools with different image models cannot share one request"
            self._builtin("", IMAGE_DEPLOYMENT_HEADER, "deployment", said)
            return
        written = next(iter(names), None)
        if not verdicts and asked is not None:
            written = self._judge_lone_header(asked)
        needed = asked is not None or bool(self.scene.deployments)
        if written is None or written == asked or not needed:
            return
        line = next((v.choice.by for v in verdicts if v.choice.by), None)
        by = reason_of(line) if line else Reason(rule="always.deployment")
        self.headers[IMAGE_DEPLOYMENT_HEADER] = written
        self.changes.append(
            Change(
                pointer="",
                field=IMAGE_DEPLOYMENT_HEADER,
                before=self._shown(asked),
                after=self._shown(written),
                by=by,
                message=f"the header names the deployment {self._shown(written)}",
            )
        )

    def _judge_lone_header(self, asked: str) -> str | None:
        """Judge a header that serves a tool which the provider keeps."""
        choice = choose_model(self.scene, asked)
        if choice.outcome in ("kept", "written"):
            return choice.written or asked
        said = "this image deployment is not allowed"
        self._refuse("", IMAGE_DEPLOYMENT_HEADER, choice.by, said, was=asked)
        return None

    # -- other bodies -----------------------------------------------------------

    def _judge_kind(self, body: Body) -> None:
        kind = body.at("/definition/kind")
        if kind is None or kind.text() != "prompt":
            said = "only prompt agents can be judged"
            self._builtin("/definition/kind", "kind", "agent_kind", said)

    def _judge_images(self, body: Body) -> None:
        """Judge a request of the Images API: the body is the tool."""
        word, line = self.scene.book.rules.stance("tool")
        if word != "allow":
            self._refuse_tool("", line)
            return
        steps = {path[0] for path in PATHS.values()}
        values = {
            key: value.plain() if key in steps else None
            for key, value in body.members.items()
        }
        deployment = self.request.match.params.get("deployment")
        if deployment is not None and not self._judge_path(deployment, body):
            return
        asked = Asked(
            pointer="", carrier="images_api", values=values, deployment=deployment
        )
        self._take(judge_tool(self.scene, asked))
        self._judge_count(body.get("n"), "images_api_n", "n")

    def _judge_path(self, deployment: str, body: Body) -> bool:
        """Judge the deployment in a path, which no rewriting of the body moves."""
        choice = choose_model(self.scene, deployment)
        named = body.get("model")
        if named is not None and named.plain() not in (None, deployment):
            said = "the body names another deployment than the path"
            self._builtin("/model", "model", "deployment", said)
        elif choice.outcome not in ("kept", "unknown"):
            said = "the image deployment in the path is not allowed"
            self._refuse("", "deployment", choice.by, said, was=deployment)
        else:
            return True
        return False

    # -- saying no --------------------------------------------------------------

    def _refuse(  # noqa: PLR0913 - what a refusal says
        self,
        pointer: str,
        field: str,
        line: Line | None,
        message: str,
        *,
        fix: str = "",
        was: object = None,
    ) -> None:
        self.violations.append(
            Violation(
                pointer=pointer,
                field=field,
                before=self._shown(was),
                by=reason_of(line),
                message=message,
                fix=fix,
            )
        )

    def _builtin(
        self, pointer: str, field: str, rule: str, message: str, *, status: int = 403
    ) -> None:
        """Refuse what no policy can allow."""
        self.violations.append(
            Violation(
                pointer=pointer,
                field=field,
                before=None,
                by=Reason(rule=f"always.{rule}"),
                message=message,
                status=status,
            )
        )

    def _shown(self, value: object) -> str | int | None:
        return shown(value, self.scene.vocabulary.words, self.scene.hash_key)


def _type(body: Body) -> str | None:
    kind = body.get("type")
    return None if kind is None else kind.text()


def all_reasons(decision: Decision) -> Iterator[Reason]:
    """Yield the reason of everything a decision says, in order."""
    said: Iterable[Change | Violation] = ()
    if isinstance(decision, Rewrite):
        said = decision.changes
    elif isinstance(decision, Block):
        said = decision.violations
    yield from (item.by for item in said)
