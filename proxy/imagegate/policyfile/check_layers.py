"""Whether teams and exceptions keep to the baseline, and all hold together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from imagegate.engine.policy import (
    LIMITS,
    SETTINGS,
    STANCES,
    Layers,
    Line,
    Policy,
    Rules,
    Use,
    merge,
    most_particular,
)
from imagegate.engine.settle import breaks, nearest
from imagegate.engine.sizes import Size, within
from imagegate.policyfile.check_rules import check_range
from imagegate.policyfile.context import (
    LIMITING,
    Context,
    block_of,
    names,
    scalar,
    spelled,
    spoken,
    under,
    values_of,
)
from imagegate.policyfile.layers import LAYERED
from imagegate.policyfile.words import nearest as nearest_word


def check_layers(context: Context) -> None:
    """Check what is locked, what loosens, and what each layer adds up to."""
    _check_locked(context)
    for team in context.policy.teams:
        _check_team(context, team.lines)
    _check_exceptions(context)
    _check_together(context, Layers(), context.policy.lines)
    for team in context.policy.teams:
        _check_together(context, Layers(teams=(team,), loosening=True), team.lines)
    for item in context.policy.exceptions:
        if item.until >= context.today:
            layers = Layers(exceptions=(item,), loosening=True)
            _check_together(context, layers, item.lines)


def _check_locked(context: Context) -> None:
    known = _lockable(context.policy)
    for path, place in context.draft.locked:
        if path not in known:
            message = f"`{path}` is not the path of a rule; {nearest_word(path, known)}"
            context.report.add("unknown-path", "locked", message, place)


def _lockable(policy: Policy) -> list[str]:
    """Return every path that can be locked, sections included."""
    known = set(LAYERED)
    known |= set(STANCES) | {f"limits.{name}" for name in LIMITS}
    known |= {f"settings.{name}" for name in SETTINGS}
    for line in policy.lines:
        steps = line.path.split(".")
        known |= {".".join(steps[:end]) for end in range(1, len(steps) + 1)}
    return sorted(known)


def is_locked(policy: Policy, line: Line) -> bool:
    """Tell whether no layer may loosen a line.

    A lock on a setting holds for every model: a rule for one model alone is not
    the way around it.
    """
    return any(under(path, lock) for path in locks(line) for lock in policy.locked)


def locks(line: Line) -> list[str]:
    """Return the paths at which a lock holds a line."""
    general = f"settings.{line.subject}.{line.kind}"
    return [line.path, general] if line.model is not None else [line.path]


def _check_team(context: Context, lines: Iterable[Line]) -> None:
    _check_unsaid(context, lines)
    looser = {line.id for line in lines if _loosens(context, line)}
    effective = {block_of(id_) for id_ in looser}
    for line in lines:
        base = context.baseline.get(line.path)
        if line.loosens and is_locked(context.policy, line):
            message = f"`{line.path}` is locked; no team may loosen it"
            context.add("loosens-locked", line, message)
        elif line.id in looser and not line.loosens:
            shown = spoken([base]) if base else "no `allow_auto`"
            message = f"this is looser than {shown} of the baseline"
            context.add(
                "looser", line, f"{message}; say `loosens: true`, or tighten it"
            )
        elif (
            line.loosens
            and line.kind in {*LIMITING, "do"}
            and block_of(line.id) not in effective
        ):
            message = f"the baseline says nothing stricter at `{line.path}` to loosen"
            context.add("loosens-nothing", line, message)


def _check_unsaid(context: Context, lines: Iterable[Line]) -> None:
    """Refuse models that a team adds without saying so, beside some that it says."""
    for line in lines:
        if line.path != "models" or not line.loosens:
            continue
        inside = f"{line.id}."
        named = [x for x in context.draft.places if x.startswith(inside)]
        for place in named:
            name = place.removeprefix(inside)
            if name != "otherwise" and name not in names(line):
                message = f"the baseline does not allow {name!r}; say `loosens: true`"
                context.add("looser", line, message, at=place)


def _loosens(context: Context, line: Line) -> bool:
    base = context.baseline.get(line.path)
    if base is None:
        return line.kind == "allow_auto"
    return looser_than(line, base)


def looser_than(line: Line, base: Line) -> bool:
    """Tell whether a line lets through what the baseline's at its path does not."""
    mine, theirs = line.value, base.value
    if isinstance(mine, tuple) and isinstance(theirs, tuple):
        return bool(set(mine) - set(theirs))
    if line.kind == "do":
        return _strictness(line) < _strictness(base)
    if isinstance(mine, Size) and isinstance(theirs, Size):
        return line.kind == "max" and not within(mine, theirs)
    return line.kind in LIMITING and bool(breaks([base], scalar(mine)))


def _strictness(line: Line) -> float:
    """Rank a stance from the loosest; a list stands just above `allow`."""
    if isinstance(line.value, tuple):
        return 0.5
    return STANCES[line.path].index(str(line.value))


def _check_exceptions(context: Context) -> None:
    seen: set[str] = set()
    ruled = {line.path for line in (*context.policy.lines, *context.teams)}
    drafts = context.draft.exceptions
    for draft, item in zip(drafts, context.policy.exceptions, strict=True):
        path = f"exceptions.{item.id}"
        if item.id in seen:
            message = f"two exceptions are called {item.id}; records cite the name"
            context.report.add("duplicate-id", path, message, draft.place)
        seen.add(item.id)
        if item.until < context.today:
            message = (
                f"{item.id} ended on {item.until} and has no effect any more; "
                "remove it, or have it approved again"
            )
            context.report.add(
                "exception-expired", path, message, draft.place, severity="warning"
            )
            continue
        for line in item.lines:
            _check_exempt(context, line, ruled)


def _check_exempt(context: Context, line: Line, ruled: set[str]) -> None:
    if is_locked(context.policy, line):
        message = f"`{line.path}` is locked; no exception may change it"
        context.add("loosens-locked", line, message)
    elif line.kind in LIMITING and line.path not in ruled:
        message = f"no rule of this policy stands at `{line.path}`; name one that does"
        context.add("loosens-nothing", line, message)
    elif line.model is not None and not context.find(line.model):
        message = f"the catalogue knows no image model {line.model!r}"
        context.add("unknown-model", line, message)
    if line.subject not in SETTINGS or line.kind == "do":
        return
    check_range(context, line)
    if line.kind in {"allow", "default"} and not any(
        context.some_takes(line.model, line.subject, value)
        for value in values_of(line.value)
    ):
        problem = (
            "default-illegal" if line.kind == "default" else "allow-meets-no-model"
        )
        message = "no model that this policy allows takes this"
        context.add(problem, line, f"{message}; see `imagegate catalogue`")


def _check_together(context: Context, layers: Layers, own: Iterable[Line]) -> None:
    """Check what a layer and the baseline leave of each setting.

    Each layer by itself: who will be in which teams at once, nobody knows here.
    """
    rules = merge(context.policy, layers)
    mine = {line.id for line in own}
    subjects = {line.subject for line in own}
    if "model" in subjects:
        _check_models_left(context, rules, mine)
    for subject in SETTINGS:
        if subject in subjects:
            for model in _models_of(rules, subject):
                _check_left(context, rules, mine, subject, model)


def _models_of(rules: Rules, subject: str) -> Iterator[str | None]:
    """Yield the models that have lines of their own for a setting, and all."""
    found = {
        line.model
        for lines in rules.lines.values()
        for line in lines
        if line.subject == subject and line.model
    }
    yield None
    yield from sorted(found)


def _check_left(
    context: Context, rules: Rules, mine: set[str], subject: str, model: str | None
) -> None:
    lines = rules.constraints(subject, model)
    default = rules.default(subject, model)
    speaking = [*lines, *filter(None, [default])]
    blocks = {block_of(line.id) for line in speaking}
    if len(blocks) < 2 or context.doubtful(speaking):  # noqa: PLR2004 - one block is judged alone
        return
    involved = [line for line in lines if line.id in mine]
    if involved and not context.possible(subject, lines):
        others = [line for line in lines if line.id != involved[-1].id]
        message = f"nothing keeps to this and to {_cited(others)} at once"
        context.add("nothing-allowed", involved[-1], f"{message}; widen one of them")
        return
    _check_default_left(context, mine, lines, default)
    _check_use_left(context, involved, lines)


def _check_default_left(
    context: Context, mine: set[str], lines: Sequence[Line], default: Line | None
) -> None:
    """Refuse a default that other rules refuse, unless it can be moved to fit."""
    if default is None or _moves(context, default, lines):
        return
    broken = [
        line
        for line in breaks(lines, scalar(default.value))
        if block_of(default.id) not in {line.id, block_of(line.id)}
    ]
    at = most_particular(line for line in (*broken, default) if line.id in mine)
    if broken and at is not None:
        value = spelled(default.value)
        message = (
            f"a request that chooses nothing gets `{value}` from `{default.id}`, "
            f"which {_cited(broken)} refuses; say a `default` here that is allowed"
        )
        context.add("default-forbidden", at, message)


def _moves(context: Context, default: Line, lines: Sequence[Line]) -> bool:
    """Tell whether a default has an allowed neighbour, whichever model draws."""
    setting, value = SETTINGS.get(default.subject), scalar(default.value)
    if setting is None:
        return False
    model = next((line.model for line in (*lines, default) if line.model), None)
    for row in context.rows(model):
        found = nearest(
            setting,
            value,
            lines,
            legal=partial(context.takes, row, setting.name),
            sizes=row[1].sizes,
            gif=context.gif,
        )
        if found is None or breaks(lines, found):
            return False
    return True


def _check_use_left(
    context: Context, involved: Sequence[Line], lines: Iterable[Line]
) -> None:
    """Refuse to put in a value that another rule refuses."""
    for line in reversed(involved):
        use = line.otherwise
        if not isinstance(use, Use) or line.layer == "exception":
            continue
        broken = breaks(lines, use.value)
        if context.says_otherwise(line):
            broken = tuple(x for x in broken if block_of(x.id) != block_of(line.id))
        if broken:
            message = (
                f"`otherwise` puts in `{spelled(use.value)}`, which {_cited(broken)} "
                "does not allow; say another `otherwise` here"
            )
            context.add("use-forbidden", line, message)
            return


def _check_models_left(context: Context, rules: Rules, mine: set[str]) -> None:
    lists = rules.at("models")
    involved = [line for line in lists if line.id in mine]
    if len(lists) < 2 and not any(line.layer == "team" for line in lists):  # noqa: PLR2004 - one list is judged alone
        return
    if context.doubtful(lists):
        return
    _check_default_left(
        context, mine, lists, most_particular(rules.at("models.default"))
    )
    _check_use_left(context, involved, lists)


def _cited(lines: Iterable[Line]) -> str:
    return " and ".join(f"{spoken([line])} of `{line.id}`" for line in lines)
