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

from imagegate.engine.catalogue import Unstated
from imagegate.engine.decision import (
    Change,
    JudgedTool,
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
from imagegate.engine.paths import Path, copy, get, put
from imagegate.engine.policy import Line, Setting, Use, most_particular
from imagegate.engine.rulebook import Ruled
from imagegate.engine.scene import PATHS, Scene, fields_of, name_of
from imagegate.engine.settle import Scalar, because, breaks, nearest, settle, spell
from imagegate.engine.sheet import Asked, Sheet
from imagegate.engine.sizes import Size, Sizes, parse_size, refit
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

    def _cause(self, name: str, value: Scalar) -> Line | None:
        """Find the line because of which a setting no longer fits, if one is.

        A setting follows a model that was not asked for, or a format: what the
        client itself put together wrongly is left to the provider to refuse.
        """
        faults = self._faults(name, value)
        if not faults or not self.sheet.changes:
            return None
        own = any(fault.rule.startswith(("cell.", "size.")) for fault in faults)
        if own:
            return self.choice.by if self.choice.outcome == "written" else None
        return self.sheet.written.get("output_format")

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
        setting = ruled.setting
        raw = get(self.sheet.final, PATHS[setting.name])
        if raw is None or (setting.auto and raw == "auto"):
            self._judge_open(ruled, raw)
            return
        value = self._read(setting, raw)
        if value is None:
            value = self._judge_unknown(PATHS[setting.name], raw, ruled)
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
            self.sheet.unverified.append(ruled.setting.name)
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
                return raw if any(field.in_range(raw) for field in fields) else None
            case str() if setting.kind == "size":
                return parse_size(raw)
            case str() if setting.kind in ("word", "ordered"):
                open_ended = not any(field.words for field in fields)
                known = any(raw in field.words for field in fields)
                return raw if known or open_ended else None
            case _:
                return None

    def _judge_unknown(
        self, path: Path, raw: object, ruled: Ruled | None = None
    ) -> Scalar | None:
        """Judge a value that nobody knows; return it if it may be judged on."""
        word, line = self.scene.book.unknown_values
        if word == "block":
            said = f"this value of `{name_of(path)}` is not known"
            fix, allowed = "", listed_models(self.scene)
            if ruled is not None:
                fix, allowed = self._instead(ruled, raw), self._known(ruled)
            self.sheet.refuse(path, raw, line, said, fix=fix, allowed=allowed)
            return None
        return raw if isinstance(raw, str) else ""

    def _known(self, ruled: Ruled) -> tuple[str, ...]:
        """List the known words that the lines let pass."""
        name = ruled.setting.name
        words = legal_words(self.scene.provider, self.choice.row, name)
        return tuple(word for word in words if self._passes(ruled, word))

    def _passes(self, ruled: Ruled, word: str) -> bool:
        if ruled.setting.auto and word == "auto":
            return ruled.allow_auto or ruled.default is not None or not ruled.lines
        return self._fits(ruled, word)

    def _instead(self, ruled: Ruled, raw: object) -> str:
        """Say what to do about a value that nobody knows, if no word will do."""
        name = ruled.setting.name
        if ruled.setting.kind != "number":
            stuck = not self._known(ruled) and not self._has_place(ruled)
            return f"leave out `{name}`" if stuck else ""
        near = raw if type(raw) is int else self._meant(ruled)[1]
        provider, images_api = self.scene.provider, self.scene.images_api
        field = fields_of(provider, images_api=images_api)[name]
        least, most = field.minimum or 0, field.maximum
        near = max(near if isinstance(near, int) else least, least)
        return self._nearby(ruled, near if most is None else min(near, most))

    def _nearby(self, ruled: Ruled, value: Scalar) -> str:
        """Say which allowed value is next, or that there is a place for none."""
        name, found = ruled.setting.name, self._fit(ruled, value)
        if isinstance(found, Size) and self.choice.outcome == "refused":
            found = self._refitted(ruled, found)
        elif found is None:
            meant = self._meant(ruled)[1]
            found = meant if meant is not None and self._fits(ruled, meant) else None
        if found is not None:
            return f"set `{name}` to {spell(found)}"
        return "" if self._has_place(ruled) else f"leave out `{name}`"

    def _legal(self, setting: Setting, value: Scalar) -> bool:
        """Tell whether the model is not known to refuse a value."""
        return not self._faults(setting.name, value)

    def _faults(self, name: str, value: Scalar) -> tuple[Objection, ...]:
        """List what is known to be wrong with a value of one setting."""
        probe = copy(self.sheet.final)
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
        return ruled.setting.name not in self.scene.absent and applies(
            self.scene.provider,
            self.choice.row,
            ruled.setting.name,
            self.sheet.final,
            value=default.value if default else None,
        )

    @property
    def _sizes(self) -> Sizes | None:
        return self.choice.row.sizes if self.choice.row else None

    @property
    def _gif(self) -> bool:
        return self.sheet.final.get("output_format") == "gif"

    def _settle(self, ruled: Ruled, value: Scalar) -> None:
        """Hold a value that was asked for against the lines that limit it."""
        setting = ruled.setting
        settled = settle(
            setting,
            value,
            ruled.lines,
            legal=lambda other: self._legal(setting, other),
            sizes=self._sizes,
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
        self.sheet.write(PATHS[setting.name], after, settled.by, said)

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
        found: Scalar | None = None
        if isinstance(value, Size):
            found = refit(value, self._sizes, gif=self._gif)
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
        self.sheet.write(PATHS[name], value, cause, said)

    def _fit(self, ruled: Ruled, value: Scalar) -> Scalar | None:
        """Find the allowed and legal value next to another, if there is one."""
        setting = ruled.setting
        found = nearest(
            setting,
            value,
            ruled.lines,
            legal=lambda other: self._legal(setting, other),
            sizes=self._sizes,
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
        self.sheet.write(PATHS[setting.name], value, line, said)

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

    def _refitted(self, ruled: Ruled, value: Size) -> Size | None:
        """Bring a size to one that the model makes which is suggested."""
        name = next(iter(listed_models(self.scene)), "")
        row = row_of(self.scene, self.scene.deployments.get(name, name))
        found = refit(value, row.sizes if row else None, gif=self._gif)
        return None if found is None or breaks(ruled.lines, found) else found

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

    def _refuse_value(
        self, ruled: Ruled, value: Scalar | None, line: Line | None
    ) -> None:
        setting = ruled.setting
        what = "must be chosen"
        if value is not None:
            what = f"is {self.scene.shown(value)}, which is not allowed"
        why = f": {because(line)}" if line else ""
        start = value if value is not None else _start(setting)
        fix = "" if start is None else self._nearby(ruled, start)
        values = _listed(ruled)
        if values and all(breaks(ruled.lines, each) for each in values):
            ids = " and ".join(f"`{each.id}`" for each in ruled.lines)
            fix = f"ask the owner of the policy, for {ids} leave no value"
            if value is None:
                what, why = "has no value that is allowed", ""
        self.sheet.refuse(
            PATHS[setting.name],
            value,
            line,
            f"`{setting.name}` {what}{why}",
            fix=fix,
            allowed=self._allowed(ruled),
        )

    def _allowed(self, ruled: Ruled) -> tuple[Shown, ...]:
        """List the values that would pass, where they can be listed."""
        fitting = (value for value in _listed(ruled) if self._fits(ruled, value))
        return tuple(map(self.scene.shown, fitting))


def _listed(ruled: Ruled) -> tuple[Scalar, ...]:
    """List the values among which the allowed ones are, where they can be listed."""
    lists = [line.value for line in ruled.lines if isinstance(line.value, tuple)]
    return lists[0] if lists else tuple(ruled.setting.order)


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


def _start(setting: Setting) -> Scalar | None:
    """Name a value to look for an allowed one from, where none was chosen."""
    if setting.kind == "number":
        return 0
    return setting.order[-1] if setting.order else None
