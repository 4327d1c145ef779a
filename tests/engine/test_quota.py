"""What can be counted, and in which windows of time."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.quota import (
    PER,
    QUOTAS,
    Per,
    Quota,
    longer,
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
    assert len(QUOTAS) == 2 * 3 * 5
    assert all(quota.name == name for name, quota in QUOTAS.items())
