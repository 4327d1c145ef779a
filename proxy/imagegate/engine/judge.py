"""One image tool against the rules: what was asked, what it means, what holds.

The model comes first, because it says which rules hold and what is legal; then
the format, because it says which other settings have a place; then the rest. A
setting that follows a rewritten model is fitted to the new one: kept where the
model takes it, brought to the nearest value where it has an order, dropped else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from imagegate.engine.catalogue import Field, Unstated
from imagegate.engine.decision import (
    Change,
    JudgedTool,
    Reason,
    Shown,
    Violation,
)
from imagegate.engine.models import Choice, choose_model, listed_models, row_of
from imagegate.engine.objections import (
    Objection,
    applies,
    default_of,
    is_doubtful,
    legal_words,
    objections,
)
from imagegate.engine.paths import Path, copy, get, put, remove
from imagegate.engine.policy import Line, Setting, Use, most_particular
from imagegate.engine.rulebook import Ruled
from imagegate.engine.scene import PATHS, Scene, fold, name_of, reason_of
from imagegate.engine.settle import Scalar, because, breaks, nearest, settle, spell
from imagegate.engine.sizes import Size, parse_size, refit
from imagegate.engine.strict import join
from imagegate.engine.value import DELETE, Edit


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """An image tool as it came.

    Attributes:
        pointer: Where it is; empty when the body itself is the request.
        carrier: What kind of place that is.
        values: Its members, decoded.
        deployment: The deployment that a header names, on Azure.
    """

    pointer: str
    carrier: str
    values: Mapping[str, Any]
    deployment: str | None = None


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
        tool=judging.report(),
        choice=judging.choice,
        model=judging.final.get("model"),
        changes=tuple(judging.changes.values()),
        violations=tuple(judging.violations),
        edits=tuple(judging.edits.values()),
    )


class _Judging:
    """The judging of one tool; one use."""

    def __init__(self, scene: Scene, tool: Asked) -> None:
        self.scene = scene
        self.tool = tool
        self.final: dict[str, Any] = copy(tool.values)
        asked = tool.values.get("model")
        self.asked_model = tool.deployment if asked is None else asked
        self.choice = choose_model(scene, self.asked_model)
        self.changes: dict[str, Change] = {}
        self.violations: list[Violation] = []
        self.edits: dict[str, Edit] = {}
        self.written: dict[str, Line] = {}
        self.deprecated: list[str] = []
        self.unknown = 0
        self.unverified: list[str] = []

    def _cause(self, name: str, value: Scalar) -> Line | None:
        """Find the line because of which a setting no longer fits, if one is.

        A setting follows a model that was not asked for, or a format: what the
        client itself put together wrongly is left to the provider to refuse.
        """
        faults = self._faults(name, value)
        if not faults or not self.changes:
            return None
        own = any(fault.rule.startswith(("cell.", "size.")) for fault in faults)
        if own:
            return self.choice.by if self.choice.outcome == "written" else None
        return self.written.get("output_format")

    def run(self) -> None:
        for path, value in _members(self.tool.values, self.scene):
            self._judge_member(path, value)
        self._judge_model()
        for ruled in self.scene.book.settings(self.choice.entries):
            self._judge_setting(ruled)
        if self.changes and not self.violations:
            self._judge_again()

    # -- members ----------------------------------------------------------------

    def _judge_member(self, path: Path, value: object) -> None:
        """Do what the policy says about a member that is no ordinary setting."""
        words = self.scene.vocabulary
        name = name_of(path)
        if path not in words.known and (*path[:-1], fold(path[-1])) in words.folds:
            self.unknown += 1
            said = f"`{name}` is not the exact name of a field"
            self._refuse(path, value, None, said)
        elif path not in words.known:
            self.unknown += 1
            said = f"`{name}` is not a field that this policy knows"
            self._judge_stance(path, value, "fields.unknown", said)
        elif path in words.deprecated:
            self.deprecated.append(name)
            said = f"`{name}` is deprecated"
            self._judge_stance(path, value, "fields.deprecated", said)
        elif path == ("input_image_mask",) and value is not None:
            said = f"`{name}` is not allowed"
            self._judge_stance(path, value, "settings.input_image_mask", said)

    def _judge_stance(self, path: Path, value: object, stance: str, said: str) -> None:
        word, line = self.scene.book.rules.stance(stance)
        if word == "strip" and line is not None:
            self._write(path, None, line, f"{said} and is left out")
        elif word == "block":
            fix = f"leave out `{name_of(path)}`"
            self._refuse(path, value, line, said, fix=fix)

    # -- the model --------------------------------------------------------------

    def _judge_model(self) -> None:
        """Do what was decided about the model."""
        choice, path = self.choice, ("model",)
        allowed = listed_models(self.scene)
        match choice.outcome:
            case "disguised":
                said = "`model` is not the exact name of an image model"
                self._refuse(path, self.asked_model, choice.by, said, allowed=allowed)
            case "refused":
                named = self.asked_model is not None
                said = "this image model is not allowed"
                said = said if named else "no image model is named"
                self._refuse(path, self.asked_model, choice.by, said, allowed=allowed)
            case "unknown":
                self._judge_unknown(path, self.asked_model)
            case "written" if choice.by is not None:
                said = f"the image model is {choice.written}"
                self._write(path, choice.written, choice.by, said)
            case _:
                pass  # it is kept

    # -- the other settings -----------------------------------------------------

    def _judge_setting(self, ruled: Ruled) -> None:
        """Decide one setting."""
        setting = ruled.setting
        raw = get(self.final, PATHS[setting.name])
        if raw is None or (setting.auto and raw == "auto"):
            self._judge_open(ruled, raw)
            return
        value = self._read(setting, raw)
        if value is None:
            value = self._judge_unknown(PATHS[setting.name], raw)
            if value is not None and ruled.lines:
                self._settle(ruled, value)
            return
        cause = self._cause(setting.name, value)
        if cause is not None:
            self._refit(ruled, value, cause)
        elif ruled.lines:
            self._settle(ruled, value)

    def _judge_open(self, ruled: Ruled, raw: Literal["auto"] | None) -> None:
        """Decide a setting that leaves the choice to the provider."""
        held = ruled.ruled and not ruled.allow_auto and self._has_place(ruled)
        if held and raw is None and self._in_doubt(ruled):
            self.unverified.append(ruled.setting.name)
        elif held and (raw is not None or not self._may_be_left_out(ruled)):
            self._fill(ruled)
        elif raw is not None:
            cause = self._cause(ruled.setting.name, raw)
            if cause is not None:
                self._follow(ruled, None, cause)

    def _in_doubt(self, ruled: Ruled) -> bool:
        """Tell whether an open setting stays so, since its field may not be there.

        A default that is known to break a rule is never left.
        """
        provider, row, name = self.scene.provider, self.choice.row, ruled.setting.name
        if not is_doubtful(provider, row, name):
            return False
        known = default_of(provider, row, name)
        left = None if isinstance(known, Unstated) else self._read(ruled.setting, known)
        return left is None or not breaks(ruled.lines, left)

    def _read(self, setting: Setting, raw: object) -> Scalar | None:
        """Read a value that the catalogue can know; None for any other."""
        fields = self.scene.fields(setting.name)
        match raw:
            case bool():
                return None
            case int() if setting.kind == "number":
                return raw if any(_in_range(field, raw) for field in fields) else None
            case str() if setting.kind == "size":
                return parse_size(raw)
            case str() if setting.kind in ("word", "ordered"):
                open_ended = not any(field.words for field in fields)
                known = any(raw in field.words for field in fields)
                return raw if known or open_ended else None
            case _:
                return None

    def _judge_unknown(self, path: Path, raw: object) -> Scalar | None:
        """Judge a value that nobody knows; return it if it may be judged on."""
        word, line = self.scene.book.unknown_values
        if word == "block":
            name = name_of(path)
            self._refuse(
                path,
                raw,
                line,
                f"this value of `{name}` is not known",
                allowed=self._words(name),
            )
            return None
        return raw if isinstance(raw, str) else ""

    def _words(self, name: str) -> tuple[Shown, ...]:
        if name == "model":
            return ()
        return legal_words(self.scene.provider, self.choice.row, name)

    def _legal(self, setting: Setting, value: Scalar) -> bool:
        """Tell whether the model is not known to refuse a value."""
        return not self._faults(setting.name, value)

    def _faults(self, name: str, value: Scalar) -> tuple[Objection, ...]:
        """List what is known to be wrong with a value of one setting."""
        probe = copy(self.final)
        put(probe, PATHS[name], spell(value))
        return objections(
            self.scene.provider,
            self.choice.row,
            probe,
            images_api=self.scene.images_api,
            about=name,
        )

    def _has_place(self, ruled: Ruled) -> bool:
        """Tell whether what would be written has a place in this tool.

        What is left out where the provider decides is never harmless: a default
        without a place is then no reason to write nothing.
        """
        default = None if ruled.setting.auto else ruled.default
        return applies(
            self.scene.provider,
            self.choice.row,
            ruled.setting.name,
            self.final,
            value=default.value if default else None,
        )

    @property
    def _gif(self) -> bool:
        return self.final.get("output_format") == "gif"

    def _settle(self, ruled: Ruled, value: Scalar) -> None:
        """Hold a value that was asked for against the lines that limit it."""
        setting = ruled.setting
        row = self.choice.row
        settled = settle(
            setting,
            value,
            ruled.lines,
            legal=lambda other: self._legal(setting, other),
            sizes=row.sizes if row else None,
            gif=self._gif,
        )
        if settled.by is None:
            return
        if settled.refused:
            self._refuse_value(ruled, value, settled.by)
            return
        after = settled.value
        if after is None and not self._may_be_left_out(ruled):
            self._fill(ruled)
            return
        becomes = "is left out" if after is None else f"becomes {spell(after)}"
        said = f"`{setting.name}` {becomes}: {because(settled.by)}"
        self._write(PATHS[setting.name], after, settled.by, said)

    def _may_be_left_out(self, ruled: Ruled) -> bool:
        """Tell whether a line strips a setting, and that satisfies all of them."""
        if ruled.allow_auto:
            return True
        if ruled.default or not any(x.otherwise == "strip" for x in ruled.lines):
            return False
        known = default_of(self.scene.provider, self.choice.row, ruled.setting.name)
        left = None if isinstance(known, Unstated) else self._read(ruled.setting, known)
        return left is not None and not breaks(ruled.lines, left)

    def _refit(self, ruled: Ruled, value: Scalar, cause: Line) -> None:
        """Bring a value that no longer fits to one that does, or drop it."""
        setting = ruled.setting
        row = self.choice.row
        found: Scalar | None = None
        if isinstance(value, Size):
            found = refit(value, row.sizes if row else None, gif=self._gif)
        elif value in setting.order:
            found = nearest(
                setting, value, (), legal=lambda other: self._legal(setting, other)
            )
        if found is not None and breaks(ruled.lines, found):
            found = self._fit(ruled, found)
        if found is None and ruled.ruled and self._has_place(ruled):
            self._fill(ruled)
        else:
            self._follow(ruled, found, cause)

    def _follow(self, ruled: Ruled, value: Scalar | None, cause: Line) -> None:
        name = ruled.setting.name
        becomes = "is left out" if value is None else f"becomes {spell(value)}"
        leads = "the format" if cause.subject == "output_format" else "the image model"
        said = f"`{name}` {becomes}, following {leads}"
        self._write(PATHS[name], value, cause, said)

    def _fit(self, ruled: Ruled, value: Scalar) -> Scalar | None:
        """Find the allowed and legal value next to another, if there is one."""
        setting = ruled.setting
        row = self.choice.row
        found = nearest(
            setting,
            value,
            ruled.lines,
            legal=lambda other: self._legal(setting, other),
            sizes=row.sizes if row else None,
            gif=self._gif,
        )
        if found is None or not self._fits(ruled, found):
            return None
        return found

    def _fits(self, ruled: Ruled, value: Scalar) -> bool:
        return not breaks(ruled.lines, value) and self._legal(ruled.setting, value)

    def _fill(self, ruled: Ruled) -> None:
        """Write what a request leaves open."""
        setting = ruled.setting
        line, value = self._meant(ruled)
        if value is not None and not self._fits(ruled, value):
            value = self._fit(ruled, value)
        if value is None or line is None:
            self._refuse_value(ruled, None, line)
            return
        said = f"`{setting.name}` was not chosen; it is {spell(value)}"
        self._write(PATHS[setting.name], value, line, said)

    def _meant(self, ruled: Ruled) -> tuple[Line | None, Scalar | None]:
        """Find what an open setting means: the policy's word, or the provider's."""
        if ruled.default is not None:
            value = ruled.default.value
            return ruled.default, value if isinstance(value, str | int | Size) else None
        known = default_of(self.scene.provider, self.choice.row, ruled.setting.name)
        meant = None
        if not isinstance(known, Unstated) and not (
            ruled.setting.auto and known == "auto"
        ):
            meant = self._read(ruled.setting, known)
        if meant is not None and not breaks(ruled.lines, meant):
            return most_particular(ruled.lines), meant
        using = most_particular(x for x in ruled.lines if isinstance(x.otherwise, Use))
        if using is not None and isinstance(using.otherwise, Use):
            return using, using.otherwise.value
        return most_particular(ruled.lines), None

    # -- the result -------------------------------------------------------------

    def _judge_again(self) -> None:
        """Refuse a result that is known to be illegal."""
        found = objections(
            self.scene.provider,
            self.choice.row,
            self.final,
            images_api=self.scene.images_api,
        )
        for objection in found:
            path = tuple(objection.field.split("."))
            fix = "ask for a combination that this model takes"
            if objection.remedy == "omit":
                fix = f"leave out `{objection.field}`"
            self.violations.append(
                Violation(
                    pointer=self._shown_pointer(path),
                    field=objection.field,
                    before=self._shown(get(self.tool.values, path)),
                    by=Reason(rule=f"catalogue.{objection.rule}"),
                    message=f"{objection.message}, as the policy leaves it",
                    fix=fix,
                )
            )

    def _write(
        self, path: Path, value: Scalar | None, line: Line, message: str
    ) -> None:
        """Note a change: the value goes into the tool, or the member goes."""
        if value is None:
            remove(self.final, path)
        else:
            put(self.final, path, spell(value))
        pointer = self._pointer(path)
        self.written[name_of(path)] = line
        above = next(filter(self._is_odd, _above(path)), None)
        if above is None:
            encoded = DELETE if value is None else msgspec.json.encode(spell(value))
            self.edits[pointer] = (pointer, encoded)
        else:
            # A list where an object belongs cannot take a member: it goes as well.
            place = self._pointer(above)
            encoded = msgspec.json.encode(get(self.final, above))
            self.edits[place] = (place, encoded)
        self.changes[pointer] = Change(
            pointer=self._shown_pointer(path),
            field=name_of(path),
            before=self._shown(get(self.tool.values, path)),
            after=self._shown(value),
            by=reason_of(line),
            message=message,
        )

    def _pointer(self, path: Path) -> str:
        pointer = self.tool.pointer
        for step in path:
            pointer = join(pointer, step)
        return pointer

    def _is_odd(self, path: Path) -> bool:
        return not isinstance(get(self.tool.values, path), Mapping | None)

    def _refuse_value(
        self, ruled: Ruled, value: Scalar | None, line: Line | None
    ) -> None:
        setting = ruled.setting
        what = "must be chosen"
        if value is not None:
            what = f"is {self._shown(value)}, which is not allowed"
        why = f": {because(line)}" if line else ""
        start = value if value is not None else _start(setting)
        fit = None if start is None else self._fit(ruled, start)
        self._refuse(
            PATHS[setting.name],
            value,
            line,
            f"`{setting.name}` {what}{why}",
            fix="" if fit is None else f"set `{setting.name}` to {spell(fit)}",
            allowed=self._allowed(ruled),
        )

    def _allowed(self, ruled: Ruled) -> tuple[Shown, ...]:
        """List the values that would pass, where they can be listed."""
        lists = [line.value for line in ruled.lines if isinstance(line.value, tuple)]
        values: Iterable[Scalar] = lists[0] if lists else ruled.setting.order
        return tuple(self._shown(value) for value in values if self._fits(ruled, value))

    def _refuse(  # noqa: PLR0913 - what a refusal says
        self,
        path: Path,
        value: object,
        line: Line | None,
        message: str,
        *,
        fix: str = "",
        allowed: tuple[Shown, ...] = (),
    ) -> None:
        by = self.scene.reason(line)
        if by is None:
            return
        if not fix and allowed:
            fix = f"set `{name_of(path)}` to {allowed[0]}"
        self.violations.append(
            Violation(
                pointer=self._shown_pointer(path),
                field=name_of(path),
                before=self._shown(value),
                by=by,
                message=message,
                fix=fix,
                allowed=allowed,
            )
        )

    def _shown(self, value: object) -> Shown:
        return self.scene.shown(value)

    def _shown_pointer(self, path: Path) -> str:
        return f"{self.tool.pointer}/{name_of(path).replace('.', '/')}"

    def report(self) -> JudgedTool:
        """Say what was asked, what that meant, and what is sent."""
        asked = self.asked_model
        asked_row = row_of(self.scene, asked) if isinstance(asked, str) else None
        requested: dict[str, Shown] = {}
        effective: dict[str, Shown] = {}
        enforced: dict[str, Shown] = {}
        for name, path in PATHS.items():
            was, sent = get(self.tool.values, path), get(self.final, path)
            if name == "model":
                # A header can name it as well.
                was, sent = asked, self.final.get("model", self.tool.deployment)
            if was is not None:
                requested[name] = effective[name] = self._shown(was)
            else:
                known = default_of(self.scene.provider, asked_row, name)
                if known is not None and not isinstance(known, Unstated):
                    effective[name] = self._shown(known)
            if sent is not None:
                enforced[name] = self._shown(sent)
        return JudgedTool(
            pointer=self.tool.pointer,
            carrier=self.tool.carrier,
            requested=requested,
            effective=effective,
            enforced=enforced,
            deprecated=tuple(self.deprecated),
            unknown=self.unknown,
            unverified=tuple(self.unverified),
            mask=self.tool.values.get("input_image_mask") is not None,
        )


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


def _above(path: Path) -> Iterator[Path]:
    return (path[:end] for end in range(1, len(path)))


def _in_range(field: Field, value: int) -> bool:
    low = field.minimum is None or value >= field.minimum
    return low and (field.maximum is None or value <= field.maximum)


def _start(setting: Setting) -> Scalar | None:
    """Name a value to look for an allowed one from, where none was chosen."""
    if setting.kind == "number":
        return 0
    return setting.order[-1] if setting.order else None
