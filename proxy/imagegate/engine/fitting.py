"""One setting of one tool: what may stand there, and what comes nearest to a value.

A value fits when it keeps to the lines that speak of the setting, and when the model
is not known to refuse it beside all else that stands in the tool. What would be
written instead, and what a refusal suggests, is found here.
"""

from __future__ import annotations

from imagegate.engine.catalogue import Unstated
from imagegate.engine.decision import Shown
from imagegate.engine.models import Choice, listed_models, row_of
from imagegate.engine.objections import (
    Objection,
    applies,
    default_of,
    is_doubtful,
    legal_words,
    objections,
)
from imagegate.engine.paths import copy, put
from imagegate.engine.policy import Line, Use, most_particular
from imagegate.engine.rulebook import Ruled
from imagegate.engine.scene import PATHS, Scene, fields_of
from imagegate.engine.settle import (
    Scalar,
    Settled,
    breaks,
    nearest,
    settle,
    spell,
)
from imagegate.engine.sheet import Sheet
from imagegate.engine.sizes import Size, Sizes, parse_size, refit


class Fitting:
    """What fits where one setting stands, as the tool is left at the moment.

    Attributes:
        ruled: The setting, and the lines that speak of it.
    """

    def __init__(self, sheet: Sheet, choice: Choice, ruled: Ruled) -> None:
        self.ruled = ruled
        self._sheet = sheet
        self._choice = choice
        self._scene: Scene = sheet.scene
        self._setting = ruled.setting
        self._name = ruled.setting.name

    # -- what a value is --------------------------------------------------------

    def read(self, raw: object) -> Scalar | None:
        """Read a value that the catalogue can know; None for any other."""
        setting, fields = self._setting, self._scene.fields(self._name)
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

    def faults(self, value: Scalar) -> tuple[Objection, ...]:
        """List what the model is known to refuse about a value."""
        probe = copy(self._sheet.final)
        put(probe, PATHS[self._name], spell(value))
        return objections(
            self._scene.provider,
            self._choice.row,
            probe,
            images_api=self._scene.images_api,
            about=self._name,
        )

    def _legal(self, value: Scalar) -> bool:
        return not self.faults(value)

    def _fits(self, value: Scalar) -> bool:
        return not breaks(self.ruled.lines, value) and self._legal(value)

    # -- the place --------------------------------------------------------------

    @property
    def has_place(self) -> bool:
        """Whether what would be written has a place in this tool.

        What is left out where the provider decides is never harmless: a default
        without a place is then no reason to write nothing.
        """
        default = None if self._setting.auto else self.ruled.default
        return self._name not in self._scene.absent and applies(
            self._scene.provider,
            self._choice.row,
            self._name,
            self._sheet.final,
            value=default.value if default else None,
        )

    @property
    def in_doubt(self) -> bool:
        """Whether an open setting stays so, since its field may not be there.

        A default that is known to break a rule is never left.
        """
        if not is_doubtful(self._scene.provider, self._choice.row, self._name):
            return False
        left = self._left
        return left is None or not breaks(self.ruled.lines, left)

    @property
    def may_be_left_out(self) -> bool:
        """Whether a line strips the setting, and that satisfies all of them."""
        ruled = self.ruled
        if ruled.allow_auto:
            return True
        if ruled.default or not any(x.otherwise == "strip" for x in ruled.lines):
            return False
        left = self._left
        return left is not None and not breaks(ruled.lines, left)

    @property
    def _default(self) -> str | int | Unstated | None:
        return default_of(self._scene.provider, self._choice.row, self._name)

    @property
    def _left(self) -> Scalar | None:
        """What the provider takes where the setting is left out, as far as known."""
        known = self._default
        return None if isinstance(known, Unstated) else self.read(known)

    # -- what comes nearest -----------------------------------------------------

    def settled(self, value: Scalar) -> Settled:
        """Hold a value that was asked for against the lines that limit it."""
        return settle(
            self._setting,
            value,
            self.ruled.lines,
            legal=self._legal,
            sizes=self._sizes,
            gif=self._gif,
        )

    def refitted(self, value: Scalar) -> Scalar | None:
        """Bring a value that the model does not take to one that it does, if any."""
        found: Scalar | None = None
        if isinstance(value, Size):
            found = refit(value, self._sizes, gif=self._gif)
        elif value in self._setting.order:
            found = nearest(self._setting, value, (), legal=self._legal)
        if found is not None and breaks(self.ruled.lines, found):
            found = self.nearest(found)
        return found

    def nearest(self, value: Scalar) -> Scalar | None:
        """Find the allowed and legal value next to another, if there is one."""
        found = nearest(
            self._setting,
            value,
            self.ruled.lines,
            legal=self._legal,
            sizes=self._sizes,
            gif=self._gif,
        )
        return found if found is not None and self._fits(found) else None

    def filled(self) -> tuple[Line | None, Scalar | None]:
        """Find what is written where the choice is open, and by which line."""
        line, value = self._meant()
        if value is not None and not self._fits(value):
            value = self.nearest(value)
        return line, value

    def _meant(self) -> tuple[Line | None, Scalar | None]:
        """Find what an open setting means: the policy's word, or the provider's."""
        ruled, known = self.ruled, self._default
        if ruled.default is not None:
            value = ruled.default.value
            return ruled.default, value if isinstance(value, str | int | Size) else None
        meant = None
        if not isinstance(known, Unstated) and not (
            self._setting.auto and known == "auto"
        ):
            meant = self.read(known)
        if meant is not None and not breaks(ruled.lines, meant):
            return most_particular(ruled.lines), meant
        using = most_particular(x for x in ruled.lines if isinstance(x.otherwise, Use))
        if using is not None and isinstance(using.otherwise, Use):
            return using, using.otherwise.value
        return most_particular(ruled.lines), None

    @property
    def _sizes(self) -> Sizes | None:
        return self._choice.row.sizes if self._choice.row else None

    @property
    def _gif(self) -> bool:
        return self._sheet.final.get("output_format") == "gif"

    # -- what a refusal suggests ------------------------------------------------

    def allowed(self) -> tuple[Shown, ...]:
        """List the values that would pass, where they can be listed."""
        fitting = (value for value in self._listed if self._fits(value))
        return tuple(map(self._scene.shown, fitting))

    def known(self) -> tuple[str, ...]:
        """List the known words that would pass."""
        words = legal_words(self._scene.provider, self._choice.row, self._name)
        return tuple(word for word in words if self._passes(word))

    def _passes(self, word: str) -> bool:
        ruled = self.ruled
        if self._setting.auto and word == "auto":
            return ruled.allow_auto or ruled.default is not None or not ruled.lines
        return self._fits(word)

    @property
    def is_hopeless(self) -> bool:
        """Whether the lines leave no value of those that can be listed."""
        values = self._listed
        return bool(values) and all(breaks(self.ruled.lines, each) for each in values)

    @property
    def _listed(self) -> tuple[Scalar, ...]:
        """The values among which the allowed ones are, where they can be listed."""
        lists = [x.value for x in self.ruled.lines if isinstance(x.value, tuple)]
        return lists[0] if lists else tuple(self._setting.order)

    def instead_of(self, value: Scalar | None) -> str:
        """Say what to ask for instead of a value that is refused, if anything is."""
        if value is not None:
            return self._nearby(value)
        if self._setting.kind == "number":
            return self._nearby(0)
        return self._nearby(self._setting.order[-1]) if self._setting.order else ""

    def instead_of_unknown(self, raw: object) -> str:
        """Say what to do about a value that nobody knows, if no word will do."""
        if self._setting.kind != "number":
            stuck = not self.known() and not self.has_place
            return f"leave out `{self._name}`" if stuck else ""
        near = raw if type(raw) is int else self._meant()[1]
        fields = fields_of(self._scene.provider, images_api=self._scene.images_api)
        least, most = fields[self._name].minimum or 0, fields[self._name].maximum
        near = max(near if isinstance(near, int) else least, least)
        return self._nearby(near if most is None else min(near, most))

    def _nearby(self, value: Scalar) -> str:
        """Say which allowed value is next, or that there is a place for none."""
        found = self.nearest(value)
        if isinstance(found, Size) and self._choice.outcome == "refused":
            found = self._made_by_suggested(found)
        elif found is None:
            meant = self._meant()[1]
            found = meant if meant is not None and self._fits(meant) else None
        if found is not None:
            return f"set `{self._name}` to {spell(found)}"
        return "" if self.has_place else f"leave out `{self._name}`"

    def _made_by_suggested(self, size: Size) -> Size | None:
        """Bring a size to one that the model makes which is suggested."""
        name = next(iter(listed_models(self._scene)), "")
        row = row_of(self._scene, self._scene.deployments.get(name, name))
        found = refit(size, row.sizes if row else None, gif=self._gif)
        return None if found is None or breaks(self.ruled.lines, found) else found
