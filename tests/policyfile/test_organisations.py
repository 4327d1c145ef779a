"""Three organisations whose policies the format carries, and what they mean."""

from __future__ import annotations

import datetime
from pathlib import Path

from imagegate import shipped
from imagegate.engine.policy import ANONYMOUS, Policy, Principal, Rules, resolve
from imagegate.engine.settle import satisfies
from imagegate.engine.sizes import Size
from imagegate.policyfile import Checked, check_policy

FOLDER = Path(__file__).with_name("organisations")
TODAY = datetime.date(2026, 12, 1)
BANNER = Size(width=2304, height=768)


def check(name: str) -> Checked:
    return check_policy(
        FOLDER.joinpath(f"{name}.yaml").read_bytes(),
        catalogue=shipped.catalogue(),
        today=TODAY,
    )


def organisation(name: str) -> Policy:
    found = check(name).policy
    assert found is not None
    return found


def rules(
    found: Policy, attributes: dict[str, str], day: datetime.date = TODAY
) -> Rules:
    who = Principal(
        id="someone",
        attributes={name: (value,) for name, value in attributes.items()},
        verified=True,
    )
    return resolve(found, who, day)


def allows(found: Rules, subject: str, value: str | int | Size, model: str) -> bool:
    return all(satisfies(x, value) for x in found.constraints(subject, model))


def test_who_counts_pays_low_for_the_dear_model_and_medium_for_the_cheap() -> None:
    found = resolve(organisation("cost-driven"), ANONYMOUS, TODAY)

    assert not allows(found, "quality", "medium", "gpt-image-2")
    assert allows(found, "quality", "medium", "gpt-image-1-mini")
    assert not allows(found, "quality", "high", "gpt-image-1-mini")


def test_interns_get_low_from_every_model() -> None:
    found = rules(organisation("cost-driven"), {"team": "interns"})

    assert not allows(found, "quality", "medium", "gpt-image-1-mini")


def test_no_request_moves_the_bank() -> None:
    bank = organisation("bank")

    assert bank.teams == ()
    assert bank.exceptions == ()
    assert set(bank.deployments.values()) == {"gpt-image-1.5"}
    assert all(
        line.reason
        for line in bank.lines
        if line.path.startswith(("models", "settings"))
    )
    stateful = {line.value for line in bank.lines if line.path.startswith("state.")}
    assert stateful == {"refuse"}


def test_the_bank_watches_what_is_on_trial() -> None:
    bank = organisation("bank")

    assert {line.path for line in bank.lines if line.mode == "observe"} == {
        "settings.frame_count.max",
        "settings.frame_count.default",
    }


def test_the_designers_are_given_more_than_the_agency() -> None:
    agency = organisation("agency")
    everyone = resolve(agency, ANONYMOUS, TODAY)
    designers = rules(agency, {"team": "design"})

    assert not allows(everyone, "quality", "high", "gpt-image-2")
    assert allows(designers, "quality", "high", "gpt-image-2")
    assert not allows(designers, "quality", "high", "gpt-image-2.5-flare")
    assert "gpt-image-2.5-flare" in str(designers.at("models")[0].value)


def test_motion_is_a_team_in_two_cities() -> None:
    agency = organisation("agency")

    for site, allowed in (("berlin", True), ("paris", False)):
        found = rules(agency, {"team": "motion", "site": site})
        assert allows(found, "output_format", "gif", "gpt-image-2") is allowed


def test_banners_are_allowed_until_the_campaign_ends() -> None:
    agency = organisation("agency")
    last = datetime.date(2027, 1, 31)

    for day, allowed in ((last, True), (last + datetime.timedelta(1), False)):
        found = rules(agency, {"team": "design"}, day)
        assert allows(found, "size", BANNER, "gpt-image-2") is allowed


def test_only_the_agency_has_an_exception_that_ended() -> None:
    found = {
        name: [each.id for each in check(name).problems]
        for name in ("cost-driven", "bank", "agency")
    }

    assert found == {"cost-driven": [], "bank": [], "agency": ["exception-expired"]}
