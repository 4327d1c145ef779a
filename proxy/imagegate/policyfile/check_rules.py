"""Whether each block of a policy makes sense, alone and to the providers."""

from __future__ import annotations

from collections.abc import Sequence

from imagegate.engine.policy import SETTINGS, Line, Setting, Use
from imagegate.engine.settle import breaks, satisfies
from imagegate.engine.sizes import Size, lower
from imagegate.policyfile.context import (
    Block,
    Context,
    Row,
    blocks,
    numbers,
    scalar,
    spoken,
    values_of,
)


def check_rules(context: Context) -> None:
    """Check the blocks of the baseline and of every team."""
    layers = (context.policy.lines, *(team.lines for team in context.policy.teams))
    for lines in layers:
        own = {line.path for line in lines}
        for block in blocks(lines):
            if not context.misread(block.id):
                _check_block(context, block, own)


def _check_block(context: Context, block: Block, own: set[str]) -> None:
    for line in block.lines:
        check_range(context, line)
    _check_cap(context, block, own)
    if block.limits and not context.possible(block.subject, block.limits):
        message = f"no value keeps to {spoken(block.limits)} at once; widen one of them"
        context.add("nothing-allowed", block.limits[0], message)
        return
    _check_default(context, block)
    _check_reaction(context, block)
    if _check_met(context, block):
        _check_values(context, block)


def check_range(context: Context, line: Line) -> None:
    """Refuse numbers outside what any provider takes: slips of the pen."""
    ends = [
        (field.minimum, field.maximum)
        for provider in context.catalogue.providers.values()
        if (field := provider.fields.get(line.subject))
        and (field.minimum is not None and field.maximum is not None)
    ]
    if not ends:
        return
    low, high = min(end[0] or 0 for end in ends), max(end[1] or 0 for end in ends)
    if any(not low <= number <= high for number in numbers(line.value)):
        message = f"`{line.subject}` goes from {low} to {high}"
        context.add("out-of-range", line, message)


def _check_default(context: Context, block: Block) -> None:
    default = block.one("default")
    broken = breaks(block.limits, scalar(default.value)) if default else ()
    if default and broken:
        message = f"the default breaks its own rule, {spoken(broken)}; say one it keeps"
        context.add("default-forbidden", default, message)


def _check_cap(context: Context, block: Block, own: set[str]) -> None:
    """Demand a default where a request that says nothing would escape a rule."""
    general, said = f"settings.{block.subject}", own | set(context.baseline)
    defaults = {f"{path}.default" for path in (block.path, general)}
    tightens = any(x.layer == "team" and not x.loosens for x in block.limits)
    # Whoever tightens says it anew, or it does not hold.
    open_ = f"{block.path}.allow_auto" in (own if tightens else said)
    if open_ or not defaults.isdisjoint(said) or context.misread(general):
        return
    for line in block.limits:
        held = (
            isinstance(line.otherwise, Use)
            or line.otherwise == "strip"  # which has a check of its own
            or not _leaves(context, line)
        )
        if line.kind != "allow" or not held:
            message = (
                f"a setting with `{line.kind}` needs a `default`, the value that is "
                "written when a request does not choose one"
            )
            context.add("cap-without-default", line, message)
            return


def _check_reaction(context: Context, block: Block) -> None:
    """Refuse reactions that cannot bring a value back under the rule."""
    setting = SETTINGS[block.subject]
    for line in block.limits:
        if context.says_otherwise(line):
            wrong = _impossible(line, block.limits, setting)
        else:
            wrong = _misinherited(line)
        problem = "strip-on-cap" if line.otherwise == "strip" else "otherwise-cannot"
        if not wrong and line.otherwise == "strip" and not block.one("allow_auto"):
            wrong = _misstripped(context, line)
            problem = "strip-forbidden"
        use = line.otherwise
        if not wrong and isinstance(use, Use):
            broken = breaks(block.limits, use.value)
            if broken and context.says_otherwise(line):
                wrong = f"`use` breaks its own rule, {spoken(broken)}"
                problem = "use-forbidden"
        if wrong:
            context.add(problem, line, wrong, at=f"{block.id}.otherwise")
            return


def _impossible(line: Line, limits: Sequence[Line], setting: Setting) -> str:
    """Say why a reaction cannot bring a value back under its rule."""
    kinds = {each.kind for each in limits}
    match line.otherwise:
        case "strip" if kinds & {"max", "min"}:
            return (
                "`strip` leaves the choice to the provider, which a cap cannot hold; "
                "say `lower`, `{ use: VALUE }` or `block`"
            )
        case "lower" | "raise" | "clamp" if setting.kind == "word":
            return (
                f"`{setting.name}` has no order to move along; say `{{ use: VALUE }}` "
                "or `block`"
            )
        case "lower" if "min" in kinds:
            better = "clamp" if "max" in kinds else "raise"
            return f"what is under the `min` cannot be lowered; say `{better}`"
        case "raise" if "max" in kinds:
            better = "clamp" if "min" in kinds else "lower"
            return f"what is over the `max` cannot be raised; say `{better}`"
        case _:
            return ""


def _misinherited(line: Line) -> str:
    if line.otherwise == "strip" and line.kind != "allow":
        return (
            "the `otherwise: strip` of the general rule cannot hold a cap; "
            "say `otherwise` here"
        )
    return ""


def _misstripped(context: Context, line: Line) -> str:
    left = _leaves(context, line)
    return left and (
        f"without the field the provider takes {left}, which this rule does not "
        "allow; say `{ use: VALUE }`"
    )


def _leaves(context: Context, line: Line) -> str:
    """Say what a field that is left out means, where that breaks a rule."""
    for provider in context.catalogue.providers.values():
        left = provider.fields[line.subject].default
        if not isinstance(left, str | int):
            return "a value that is not known"
        if not satisfies(line, left):
            return f"`{left}`"
    return ""


def _check_met(context: Context, block: Block) -> bool:
    """Refuse limits within which no allowed model makes anything."""
    rows = context.rows(block.model)
    limits = block.limits
    if not rows or not limits or any(_meets(context, row, block) for row in rows):
        return True
    message = (
        f"no model that this policy allows keeps to {spoken(limits)}; see "
        "`imagegate catalogue`"
    )
    line = block.one("allow") or limits[0]
    context.add("allow-meets-no-model", line, message)
    return False


def _meets(context: Context, row: Row, block: Block) -> bool:
    provider, model = row
    listed = block.one("allow")
    if listed is not None:
        return any(
            context.takes(row, block.subject, value)
            for value in values_of(listed.value)
            if not breaks(block.limits, value)
        )
    cap = block.limits[0].value
    if isinstance(cap, Size):
        return lower(cap, cap, model.sizes, gif=context.gif) is not None
    return any(
        context.takes(row, block.subject, word)
        for word in provider.fields[block.subject].words or ("",)
        if not word or not breaks(block.limits, word)
    )


def _check_values(context: Context, block: Block) -> None:
    """Refuse to write values that no allowed model takes."""
    advice = "no model that this policy allows takes this; see `imagegate catalogue`"
    default = block.one("default")
    if default is not None and not context.some_takes(
        block.model, block.subject, scalar(default.value)
    ):
        context.add("default-illegal", default, advice)
    for line in block.limits:
        use = line.otherwise
        if (
            isinstance(use, Use)
            and context.says_otherwise(line)
            and not context.some_takes(block.model, block.subject, use.value)
        ):
            context.add("use-illegal", line, advice, at=f"{block.id}.otherwise")
            return
