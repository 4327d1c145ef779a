from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from imagegate import shipped
from imagegate.policyfile import check_policy

NAMES = ("azure-foundry", "cost-cap", "no-images", "regulated", "standard")
# On the day of the catalogue: a policy that ships names no model that is retired.
DAY = datetime.date.fromisoformat(shipped.catalogue().date)


def test_the_policies_of_the_checkout_are_found() -> None:
    root = Path(__file__).parents[1]

    assert shipped.policies() == {name: root / "policies" / name for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_that_ships_has_neither_errors_nor_warnings(name: str) -> None:
    data = shipped.find_policy(name).read_bytes()

    checked = check_policy(data, catalogue=shipped.catalogue(), today=DAY)

    assert checked.problems == ()
    assert checked.policy is not None
    assert checked.policy.name == name


def test_a_path_is_a_file_or_a_folder_with_a_policy(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"

    assert shipped.find_policy(str(file)) == file
    assert shipped.find_policy(str(tmp_path)) == tmp_path / "policy.yaml"


def test_the_catalogue_and_the_prices_are_read_once() -> None:
    assert shipped.catalogue() is shipped.catalogue()
    assert shipped.prices() is shipped.prices()
