"""What can be counted, and in which windows of time."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.quota import (
    PER,
    QUOTAS,
    Per,
    Quota,
    amount_of,
    longer,
    millionths,
    most_in,
    window,
)

MOMENTS = st.datetimes(
    min_value=datetime.datetime(2020, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime.datetime(2040, 1, 1),  # noqa: DTZ001 - as above
    timezones=st.just(datetime.UTC),
)


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("per", "begin", "end"),
    [
        ("minute", "2026-11-21T13:45:00", "2026-11-21T13:46:00"),
        ("hour", "2026-11-21T13:00:00", "2026-11-21T14:00:00"),
        ("day", "2026-11-21T00:00:00", "2026-11-22T00:00:00"),
        ("week", "2026-11-16T00:00:00", "2026-11-23T00:00:00"),
        ("month", "2026-11-01T00:00:00", "2026-12-01T00:00:00"),
    ],
)
def test_a_window_begins_where_the_calendar_says(
    per: Per, begin: str, end: str
) -> None:
    found = window(per, at("2026-11-21T13:45:12.345"))

    assert (found.begin, found.end) == (at(begin), at(end))


@given(moment=MOMENTS, per=st.sampled_from(PER))
def test_windows_follow_one_another_without_a_gap(
    moment: datetime.datetime, per: Per
) -> None:
    """Each moment is in exactly one window."""
    found = window(per, moment)

    assert found.begin <= moment < found.end
    assert window(per, found.begin) == found
    assert window(per, found.end).begin == found.end
    last = found.end - datetime.timedelta(microseconds=1)
    assert window(per, last) == found


@given(moment=MOMENTS, data=st.data())
def test_no_window_touches_more_shorter_ones_than_is_said(
    moment: datetime.datetime, data: st.DataObject
) -> None:
    short = data.draw(st.sampled_from(PER[:-1]))
    long = data.draw(st.sampled_from([*longer(short)]))
    whole = window(long, moment)

    if short in {"minute", "hour"}:
        seconds = {"minute": 60, "hour": 3_600}[short]
        touched = (whole.end - whole.begin).total_seconds() / seconds
    else:
        touched, here = 0, whole.begin
        while here < whole.end:
            touched, here = touched + 1, window(short, here).end

    assert touched <= most_in(short, long)


def test_a_quota_is_spelled_as_policies_spell_it() -> None:
    assert QUOTAS["images.team.month"] == Quota("images", "team", "month")
    assert len(QUOTAS) == 3 * 3 * 5
    assert all(quota.name == name for name, quota in QUOTAS.items())


@given(st.integers(0, 10**15))
def test_money_is_spelled_as_it_is_counted(number: int) -> None:
    assert millionths(Decimal(amount_of(number))) == number


@pytest.mark.parametrize(
    ("amount", "nearest", "up"),
    [
        ("0.211", 211_000, 211_000),
        ("0.0000004", 0, 1),
        ("0.0000005", 1, 1),
        ("1.0000014", 1_000_001, 1_000_002),
        ("999999999.999999", 999_999_999_999_999, 999_999_999_999_999),
    ],
)
def test_less_than_a_millionth_is_rounded(amount: str, nearest: int, up: int) -> None:
    assert millionths(Decimal(amount)) == nearest
    assert millionths(Decimal(amount), up=True) == up


def test_a_quota_spells_what_it_counts() -> None:
    assert QUOTAS["cost.team.month"].spell(200_500_000) == "200.5"
    assert QUOTAS["images.team.month"].spell(200) == "200"
    assert [x.what for x in QUOTAS.values() if not x.holds] == ["requests"] * 15
