"""What the provider says it understood, held against what was enforced.

`response.created` echoes the tools with the provider's defaults filled in, before
an image is made. It is the one place where a tool shows that came in through state
which nobody sees: a stored prompt, an agent, an earlier response.

A *contradiction* ends a stream, so it is only what nobody can take for anything
else: a known value that breaks a line of the policy. These are no contradictions:

- a field that is absent, null, or the server's own (`n`); a word, a model or a
  member that the catalogue does not hold. Providers publish snapshots and fields
  faster than catalogues do;
- `auto` where the rules demand a value, unless every tool was sent with a value:
  then the provider did not do as told;
- the value of a field that has no place in the tool (`output_compression` of a
  PNG), or that was left out of every tool that was sent: providers fill in their
  defaults, and the policy left the field open;
- any model, when the one that was sent is a moving alias, or none was sent, or on
  Azure a header names it, which the echo is not known to follow;
- more tools than were allowed: earlier turns, judged one by one, add up.

They are *unverified*. A value that keeps to every line and yet is not the one that
was sent *differs*. Values are compared, never guessed at: the lines are the same
that the decision was made by, and are asked by the same code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Any, Final

import msgspec

from imagegate.engine.decision import JudgedTool, Reason, Shown
from imagegate.engine.events import EchoedTool, FinishedItem
from imagegate.engine.models import Choice, choose_model, row_of
from imagegate.engine.objections import applies
from imagegate.engine.paths import get
from imagegate.engine.policy import Line, Setting, most_particular
from imagegate.engine.rulebook import Ruled
from imagegate.engine.scene import PATHS, Scene, reason_of
from imagegate.engine.settle import Scalar, breaks, spell
from imagegate.engine.sizes import parse_size

MAX_MEASURED: Final = 16
"""How many echoes, and how many images, a yardstick remembers: requests that are sent
the same tools get answers that say the same of them."""
MAX_REMEMBERED: Final = 2_048
"""A longer echo is measured each time."""

_ITEM_FIELDS: Final = ("size", "quality", "background", "output_format")


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    """A value of the provider's that is not what was left of the request.

    Attributes:
        at: The tool in the echo; empty for a finished image.
        observed: What the provider says.
        sent: What was sent, where all tools agree on it.
        by: The line that is broken; None when none is.
    """

    at: str
    field: str
    observed: Shown
    sent: Shown
    by: Reason | None


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What an echo said; the fields by name, each in one of the last three."""

    contradictions: tuple[Mismatch, ...] = ()
    verified: frozenset[str] = frozenset()
    unverified: frozenset[str] = frozenset()
    differs: frozenset[str] = frozenset()


class Likeness(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished image says of its settings.

    Attributes:
        shown: By their names, fit to be shown.
        mismatches: Where they are not what was enforced.
    """

    shown: Mapping[str, Shown]
    mismatches: tuple[Mismatch, ...] = ()


class Yardstick:
    """The rules in force and the tools that were sent, to measure answers by.

    Args:
        scene: What the request was judged against, without deployments: the
            provider may spell a model either way.
        deployments: On Azure, the model behind each name.
        sent: The tools as they were sent.
        by_header: A header of the request named the deployment, on Azure.
    """

    def __init__(
        self,
        scene: Scene,
        deployments: Mapping[str, str],
        sent: Sequence[JudgedTool] = (),
        *,
        by_header: bool = False,
    ) -> None:
        self.scene = scene
        self.deployments = deployments
        self.sent = sent
        self.by_header = by_header
        self._measured: dict[tuple[bool, bytes], Findings] = {}
        self._images: dict[tuple[str | None, ...], Likeness] = {}

    def measure(self, tools: Sequence[EchoedTool], *, added: bool = False) -> Findings:
        """Hold echoed tools against the rules.

        Args:
            tools: All image tools of one echo.
            added: They were brought in on the way, so none of them was sent.
        """
        # Bytes tell apart what `==` does not: `1`, `1.0` and `true`.
        spelled = msgspec.msgpack.encode(tools)
        found = self._measured.get((added, spelled))
        if found is None:
            found = self._measure(tools, added=added)
            if len(spelled) <= MAX_REMEMBERED:
                if len(self._measured) >= MAX_MEASURED:
                    self._measured.clear()
                self._measured[added, spelled] = found
        return found

    def _measure(self, tools: Sequence[EchoedTool], *, added: bool) -> Findings:
        ours = not added and 0 < len(tools) <= len(self.sent)
        measuring = _Measuring(self, self.sent if ours else ())
        for tool in tools:
            measuring.tool(tool)
        return measuring.findings()

    def measure_image(
        self, item: FinishedItem, echoed: Sequence[EchoedTool] = ()
    ) -> Likeness:
        """Hold a finished image against the rules and what was sent.

        It does not say which tool made it, so it only has to suit one of them.
        """
        if not self.sent:  # what was echoed stands in its place
            return self._measure_image(item, echoed)
        seen = item.image.dimensions if item.image is not None else None
        said = item.size, item.quality, item.background, item.output_format, seen
        found = self._images.get(said)
        if found is None:
            if len(self._images) >= MAX_MEASURED:
                self._images.clear()
            found = self._images[said] = self._measure_image(item, ())
        return found

    def _measure_image(
        self, item: FinishedItem, echoed: Sequence[EchoedTool]
    ) -> Likeness:
        measuring = _Measuring(self, self.sent)
        found = measuring.image(item, [tool.settings for tool in echoed])
        shown = {name: self.shown(getattr(item, name)) for name in _ITEM_FIELDS}
        return Likeness(shown=shown, mismatches=tuple(found))

    @cached_property
    def server_only(self) -> frozenset[str]:
        """The members that are only ever echoed; they leave nothing in doubt."""
        fields = self.scene.provider.fields.items()
        return frozenset(name for name, field in fields if field.server_only)

    @cached_property
    def drawing(self) -> str | None:
        """The image model that was sent, where one alone was."""
        return self.only({self.model(tool.enforced.get("model")) for tool in self.sent})

    def only(self, names: AbstractSet[object]) -> str | None:
        """Return the one image model among names; None where nobody knows it."""
        name = next(iter(names)) if len(names) == 1 else None
        known = isinstance(name, str) and row_of(self.scene, name) is not None
        return name if known and isinstance(name, str) else None

    def model(self, name: object) -> object:
        """Return the model behind a deployment, or the name itself."""
        return self.deployments.get(name, name) if isinstance(name, str) else name

    def shown(self, value: object) -> Shown:
        """Make a value fit for a record."""
        return self.scene.shown(value)


class _Measuring:
    """The measuring of one echo; one use."""

    def __init__(self, by: Yardstick, sent: Sequence[JudgedTool]) -> None:
        self.by = by
        self.scene = by.scene
        self.sent = sent
        self.contradictions: list[Mismatch] = []
        kinds = ("verified", "unverified", "differs")
        self.fields: dict[str, set[str]] = {kind: set() for kind in kinds}

    def findings(self) -> Findings:
        broken = {found.field for found in self.contradictions}
        open_ = self.fields["unverified"] - broken
        differs = self.fields["differs"] - broken
        return Findings(
            contradictions=tuple(self.contradictions),
            verified=frozenset(self.fields["verified"] - broken - open_ - differs),
            unverified=frozenset(open_),
            differs=frozenset(differs - open_),
        )

    # -- a tool -----------------------------------------------------------------

    def tool(self, tool: EchoedTool) -> None:
        if not tool.exact:
            self._note("unverified", "type")
            return
        word, line = self.scene.book.rules.stance("tool")
        if word != "allow":
            self._contradict(tool.at, "tool", "image_generation", line)
            return
        values = {k: v for k, v in tool.settings.items() if v is not None}
        choice = self._model(tool.at, values)
        for ruled in self.scene.book.settings(choice.entries):
            if ruled.lines:
                self._setting(tool.at, ruled, choice, values)
        self._members(tool, values)

    def _model(self, at: str, values: Mapping[str, Any]) -> Choice:
        """Measure the model; return the one whose rules hold for the rest."""
        name = self.by.model(values.get("model"))
        if name is None:
            if self.scene.book.models:
                self._note("unverified", "model")
            return self._sent_model()
        choice = choose_model(self.scene, name)
        if choice.outcome == "kept" and self.scene.book.models:
            sent = self._sent_model()
            same = sent.row is not None and sent.row == choice.row
            agrees = same or self.by.shown(name) in self._all_sent("model", name)
            self._note("verified" if agrees else "differs", "model")
        elif choice.outcome in ("written", "refused") and self._sure(name):
            self._contradict(at, "model", name, choice.by)
            return Choice(outcome="refused")
        elif choice.outcome != "kept":
            self._note("unverified", "model")
            return self._sent_model()
        return choice

    def _sent_model(self) -> Choice:
        """Return the model that was sent, when it was the same in all tools."""
        names = {self.by.model(tool.enforced.get("model")) for tool in self.sent}
        name = names.pop() if len(names) == 1 else None
        if name is None:
            return Choice(outcome="unknown")
        return choose_model(self.scene, name)

    def _sure(self, name: object) -> bool:
        """Tell whether a model that is not listed contradicts what was sent."""
        providers = self.scene.catalogue.providers.values()
        known = any(provider.model(str(name)) for provider in providers)
        if not known or self.by.by_header:
            return False
        sent = [self.by.model(tool.enforced.get("model")) for tool in self.sent]
        rows = [row_of(self.scene, str(each)) for each in sent if each is not None]
        moving = any(row is not None and row.moving for row in rows)
        return not moving and (not sent or any(each is not None for each in sent))

    def _setting(
        self, at: str, ruled: Ruled, choice: Choice, values: Mapping[str, Any]
    ) -> None:
        setting = ruled.setting
        raw = get(values, PATHS[setting.name])
        if setting.auto and raw == "auto":
            self._auto(at, ruled)
            return
        value = None if raw is None else self._read(setting, raw)
        broken = () if value is None else breaks(ruled.lines, value)
        if value is None or (broken and self._open(ruled, choice, values, value)):
            self._note("unverified", setting.name)
        elif broken:
            self._contradict(at, setting.name, raw, most_particular(broken))
        else:
            agrees = self.by.shown(value) in self._all_sent(setting.name, value)
            self._note("verified" if agrees else "differs", setting.name)

    def _auto(self, at: str, ruled: Ruled) -> None:
        name = ruled.setting.name
        if ruled.allow_auto:
            self._note("verified", name)
        elif self._concrete(name):
            self._contradict(at, name, "auto", most_particular(ruled.lines))
        else:
            self._note("unverified", name)

    def _read(self, setting: Setting, raw: object) -> Scalar | None:
        """Read a value that can be compared; None for a word that nobody knows."""
        match raw:
            case bool():
                return None
            case int() if setting.kind == "number":
                return raw
            case str() if setting.kind == "size":
                return parse_size(raw)
            case str() if setting.kind in ("word", "ordered"):
                fields = self.scene.fields(setting.name)
                return raw if any(raw in field.words for field in fields) else None
            case _:
                return None

    def _open(
        self, ruled: Ruled, choice: Choice, values: Mapping[str, Any], value: Scalar
    ) -> bool:
        """Tell whether the policy left a field to the provider."""
        name = ruled.setting.name
        left = [name in tool.unverified for tool in self.sent]
        unset = all(tool.enforced.get(name) is None for tool in self.sent)
        if self.sent and unset and not all(left):
            return True
        tried = [spell(value)]
        if ruled.default is not None and isinstance(ruled.default.value, str | int):
            tried.append(ruled.default.value)  # what would have been written
        provider = self.scene.provider
        return not all(
            applies(provider, choice.row, name, values, value=each) for each in tried
        )

    def _members(self, tool: EchoedTool, values: Mapping[str, Any]) -> None:
        """Note what is no setting: members nobody knows, and a mask."""
        word, line = self.scene.book.rules.stance("settings.input_image_mask")
        mask = values.get("input_image_mask")
        if word != "allow" and mask is not None:
            self._contradict(tool.at, "input_image_mask", mask, line)
        known = self.scene.vocabulary.known
        for name in values:
            if (name,) not in known:
                # A client may have made it up, and let it be echoed.
                known_here = name in self.scene.provider.fields
                self._note("unverified", name if known_here else "?")
        if not tool.whole:
            self._note("unverified", "?")

    # -- an image ---------------------------------------------------------------

    def image(
        self, item: FinishedItem, echoed: Sequence[Mapping[str, Any]]
    ) -> Iterator[Mismatch]:
        values = {name: getattr(item, name) for name in _ITEM_FIELDS}
        books = [self._ruled(model) for model in self._models(echoed)]
        for name, raw in values.items():
            yield from self._image_value([book[name] for book in books], name, raw)
        seen = item.image.dimensions if item.image is not None else None
        if seen is not None and seen != values["size"]:
            sizes = [book["size"] for book in books]
            yield from self._image_value(sizes, "dimensions", seen)

    def _models(self, echoed: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
        """Name the models that may have drawn."""
        tools: Iterable[Mapping[str, Any]] = [tool.enforced for tool in self.sent]
        names = [self.by.model(tool.get("model")) for tool in tools or echoed]
        return [choose_model(self.scene, name).entries for name in names] or [()]

    def _ruled(self, entries: tuple[str, ...]) -> dict[str, Ruled]:
        return {
            ruled.setting.name: ruled for ruled in self.scene.book.settings(entries)
        }

    def _image_value(
        self, rules: Sequence[Ruled], field: str, raw: object
    ) -> Iterator[Mismatch]:
        setting = rules[0].setting
        value = None if raw == "auto" else self._read(setting, raw)
        if value is None:
            return
        broken = [breaks(ruled.lines, value) for ruled in rules]
        concrete = self._concrete(setting.name)
        sent = self._all_sent(setting.name, value)
        if all(broken) and (concrete or not self.sent):
            yield self._mismatch("", field, value, most_particular(broken[0]))
        elif concrete and self.by.shown(value) not in sent:
            yield self._mismatch("", field, value, None)

    # -- what was sent ----------------------------------------------------------

    def _all_sent(self, name: str, default: object) -> list[Shown]:
        """Return the values sent; `default` where there is nothing to compare."""
        if not self._concrete(name):
            return [self.by.shown(default)]
        values = [tool.enforced[name] for tool in self.sent]
        if name == "model":
            return [self.by.shown(self.by.model(value)) for value in values]
        return values

    def _concrete(self, name: str) -> bool:
        """Tell whether every tool was sent with a value that leaves nothing open."""
        sent = [tool.enforced.get(name) for tool in self.sent]
        return bool(sent) and not any(value in (None, "auto") for value in sent)

    # -- saying it --------------------------------------------------------------

    def _note(self, what: str, name: str) -> None:
        self.fields[what].add(name)

    def _contradict(self, at: str, name: str, value: object, line: Line | None) -> None:
        self.contradictions.append(self._mismatch(at, name, value, line))

    def _mismatch(
        self, at: str, field: str, value: object, line: Line | None
    ) -> Mismatch:
        name = "size" if field == "dimensions" else field
        sent = {tool.enforced.get(name) for tool in self.sent}
        return Mismatch(
            at=at,
            field=field,
            observed=self.by.shown(value),
            sent=sent.pop() if len(sent) == 1 else None,
            by=None if line is None else reason_of(line),
        )
