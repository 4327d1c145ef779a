"""One image tool against the rules: what was asked, what it means, what holds.

The model comes first, because it says which rules hold and what is legal; then
the format, because it says which other settings have a place; then the rest. A
setting that follows a rewritten model is fitted to the new one: kept where the
model takes it, brought to the nearest value where it has an order, dropped else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from imagegate.engine.decision import Change, JudgedTool, Violation
from imagegate.engine.fitting import Fitting
from imagegate.engine.models import Choice, choose_model, listed_models
from imagegate.engine.objections import objections
from imagegate.engine.paths import Path, get
from imagegate.engine.policy import Line
from imagegate.engine.rulebook import Ruled
from imagegate.engine.scene import PATHS, Scene, name_of
from imagegate.engine.settle import Scalar, because, spell
from imagegate.engine.sheet import Asked, Sheet
from imagegate.engine.strict import letters_of
from imagegate.engine.value import Edit


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one tool.

    Attributes:
        model: How its model is spelled as it is sent; None when it names none.
    """

    tool: JudgedTool
    choice: Choice
    model: str | None
    changes: tuple[Change, ...]
    violations: tuple[Violation, ...]
    edits: tuple[Edit, ...]


def judge_tool(scene: Scene, tool: Asked) -> Verdict:
    """Judge one tool; the changes are named, not made."""
    judging = _Judging(scene, tool)
    judging.run()
    return Verdict(
        tool=judging.sheet.report(),
        choice=judging.choice,
        model=judging.sheet.final.get("model"),
        changes=tuple(judging.sheet.changes.values()),
        violations=tuple(judging.sheet.violations),
        edits=tuple(judging.sheet.edits.values()),
    )


class _Judging:
    """The judging of one tool; one use."""

    def __init__(self, scene: Scene, tool: Asked) -> None:
        self.scene = scene
        self.sheet = Sheet(scene, tool)
        self.choice = choose_model(scene, self.sheet.asked_model)

    def run(self) -> None:
        for path, value in _members(self.sheet.tool.values, self.scene):
            self._judge_member(path, value)
        self._judge_model()
        for ruled in self.scene.book.settings(self.choice.entries):
            self._judge_setting(ruled)
        if self.sheet.changes and not self.sheet.violations:
            self._judge_again()

    # -- members ----------------------------------------------------------------

    def _judge_member(self, path: Path, value: object) -> None:
        """Do what the policy says about a member that is no ordinary setting."""
        words = self.scene.vocabulary
        name = name_of(path)
        if (
            path not in words.known
            and (*path[:-1], letters_of(path[-1])) in words.folds
        ):
            self.sheet.unknown += 1
            said = f"`{name}` is not the exact name of a field"
            self.sheet.refuse(path, value, None, said)
        elif path not in words.known:
            self.sheet.unknown += 1
            said = f"`{name}` is not a field that this policy knows"
            self._judge_stance(path, value, "fields.unknown", said)
        elif path in words.deprecated:
            self.sheet.deprecated.append(name)
            said = f"`{name}` is deprecated"
            self._judge_stance(path, value, "fields.deprecated", said)
        elif path == ("input_image_mask",) and value is not None:
            said = f"`{name}` is not allowed"
            self._judge_stance(path, value, "settings.input_image_mask", said)

    def _judge_stance(self, path: Path, value: object, stance: str, said: str) -> None:
        word, line = self.scene.book.rules.stance(stance)
        if word == "strip" and line is not None:
            self.sheet.write(path, None, line, f"{said} and is left out")
        elif word == "block":
            fix = f"leave out `{name_of(path)}`"
            self.sheet.refuse(path, value, line, said, fix=fix)

    # -- the model --------------------------------------------------------------

    def _judge_model(self) -> None:
        """Do what was decided about the model."""
        choice, path, asked = self.choice, ("model",), self.sheet.asked_model
        allowed = listed_models(self.scene)
        match choice.outcome:
            case "disguised":
                said = "`model` is not the exact name of an image model"
                self.sheet.refuse(path, asked, choice.by, said, allowed=allowed)
            case "refused":
                named = asked is not None
                said = "this image model is not allowed"
                said = said if named else "no image model is named"
                self.sheet.refuse(path, asked, choice.by, said, allowed=allowed)
            case "unknown":
                self._judge_unknown(path, asked)
            case "written" if choice.by is not None:
                said = f"the image model is {choice.written}"
                self.sheet.write(path, choice.written, choice.by, said)
            case _:
                pass  # it is kept

    # -- the other settings -----------------------------------------------------

    def _judge_setting(self, ruled: Ruled) -> None:
        """Decide one setting."""
        setting, fitting = ruled.setting, Fitting(self.sheet, self.choice, ruled)
        raw = get(self.sheet.final, PATHS[setting.name])
        if raw is None or (setting.auto and raw == "auto"):
            self._judge_open(fitting, raw)
            return
        value = fitting.read(raw)
        if value is None:
            value = self._judge_unknown(PATHS[setting.name], raw, fitting)
            if value is not None and ruled.lines:
                self._settle(fitting, value)
            return
        cause = self._cause(fitting, value)
        if cause is not None:
            self._refit(fitting, value, cause)
        elif ruled.lines:
            self._settle(fitting, value)

    def _judge_open(self, fitting: Fitting, raw: Literal["auto"] | None) -> None:
        """Decide a setting that leaves the choice to the provider."""
        ruled = fitting.ruled
        held = ruled.ruled and not ruled.allow_auto and fitting.has_place
        if held and raw is None and fitting.in_doubt:
            self.sheet.unverified.append(ruled.setting.name)
        elif held and (raw is not None or not fitting.may_be_left_out):
            self._fill(fitting)
        elif raw is not None:
            cause = self._cause(fitting, raw)
            if cause is not None:
                self._follow(fitting, None, cause)

    def _judge_unknown(
        self, path: Path, raw: object, fitting: Fitting | None = None
    ) -> Scalar | None:
        """Judge a value that nobody knows; return it if it may be judged on."""
        word, line = self.scene.book.unknown_values
        if word == "block":
            said = f"this value of `{name_of(path)}` is not known"
            fix, allowed = "", listed_models(self.scene)
            if fitting is not None:
                fix, allowed = fitting.instead_of_unknown(raw), fitting.known()
            self.sheet.refuse(path, raw, line, said, fix=fix, allowed=allowed)
            return None
        return raw if isinstance(raw, str) else ""

    def _cause(self, fitting: Fitting, value: Scalar) -> Line | None:
        """Find the line because of which a setting no longer fits, if one is.

        A setting follows a model that was not asked for, or a format: what the
        client itself put together wrongly is left to the provider to refuse.
        """
        faults = fitting.faults(value)
        if not faults or not self.sheet.changes:
            return None
        own = any(fault.rule.startswith(("cell.", "size.")) for fault in faults)
        if own:
            return self.choice.by if self.choice.outcome == "written" else None
        return self.sheet.written.get("output_format")

    def _settle(self, fitting: Fitting, value: Scalar) -> None:
        """Hold a value that was asked for against the lines that limit it."""
        name, settled = fitting.ruled.setting.name, fitting.settled(value)
        if settled.by is None:
            return
        if settled.refused:
            self._refuse_value(fitting, value, settled.by)
            return
        after = settled.value
        if after is None and not fitting.may_be_left_out:
            self._fill(fitting)
            return
        becomes = "is left out" if after is None else f"becomes {spell(after)}"
        said = f"`{name}` {becomes}: {because(settled.by)}"
        self.sheet.write(PATHS[name], after, settled.by, said)

    def _refit(self, fitting: Fitting, value: Scalar, cause: Line) -> None:
        """Bring a value that no longer fits to one that does, or drop it."""
        found = fitting.refitted(value)
        if found is None and fitting.ruled.ruled and fitting.has_place:
            self._fill(fitting)
        else:
            self._follow(fitting, found, cause)

    def _follow(self, fitting: Fitting, value: Scalar | None, cause: Line) -> None:
        name = fitting.ruled.setting.name
        becomes = "is left out" if value is None else f"becomes {spell(value)}"
        leads = "the format" if cause.subject == "output_format" else "the image model"
        said = f"`{name}` {becomes}, following {leads}"
        self.sheet.write(PATHS[name], value, cause, said)

    def _fill(self, fitting: Fitting) -> None:
        """Write what a request leaves open."""
        name = fitting.ruled.setting.name
        line, value = fitting.filled()
        if value is None or line is None:
            self._refuse_value(fitting, None, line)
            return
        said = f"`{name}` was not chosen; it is {spell(value)}"
        self.sheet.write(PATHS[name], value, line, said)

    def _refuse_value(
        self, fitting: Fitting, value: Scalar | None, line: Line | None
    ) -> None:
        """Refuse a value, or that none was chosen."""
        name, what = fitting.ruled.setting.name, "must be chosen"
        if value is not None:
            what = f"is {self.scene.shown(value)}, which is not allowed"
        why = f": {because(line)}" if line else ""
        if fitting.is_hopeless:
            ids = " and ".join(f"`{each.id}`" for each in fitting.ruled.lines)
            fix = f"ask the owner of the policy, for {ids} leave no value"
            if value is None:
                what, why = "has no value that is allowed", ""
        else:
            fix = fitting.instead_of(value)
        said, allowed = f"`{name}` {what}{why}", fitting.allowed()
        self.sheet.refuse(PATHS[name], value, line, said, fix=fix, allowed=allowed)

    # -- the result -------------------------------------------------------------

    def _judge_again(self) -> None:
        """Refuse a result that is known to be illegal."""
        found = objections(
            self.scene.provider,
            self.choice.row,
            self.sheet.final,
            images_api=self.scene.images_api,
        )
        for objection in found:
            self.sheet.object(objection)


def _members(
    values: Mapping[str, Any], scene: Scene, above: Path = ()
) -> Iterator[tuple[Path, object]]:
    """Yield the members, stepping into the objects whose members are fields."""
    words = scene.vocabulary
    for name, value in values.items():
        path = (*above, name)
        yield path, value
        steps = path in words.known and path not in words.deprecated
        if steps and isinstance(value, Mapping):
            yield from _members(value, scene, path)
