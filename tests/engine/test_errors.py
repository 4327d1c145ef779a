from __future__ import annotations

import copy
import pickle

import pytest

from imagegate.engine.errors import (
    CatalogueError,
    ImagegateError,
    MalformedRequest,
    PolicyError,
    PricesError,
    Problem,
    Unidentified,
)

PROBLEM = Problem(id="unknown-key", path="x", message="no", line=1, column=2)
ERRORS: list[ImagegateError] = [
    CatalogueError("what is wrong"),
    PricesError(("one", "two")),
    PolicyError("policy.yaml", (PROBLEM,)),
    MalformedRequest("too_deep", "nested too deep", pointer="/a", status=413),
    Unidentified("revoked_key", "the key is revoked", principal_id="app"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_reaches_other_processes_as_it_is(error: ImagegateError) -> None:
    """A pool of processes pickles what its workers raise."""
    error.add_note("seen in a worker")

    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - ours
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.args == error.args
        assert vars(again) == vars(error)


def test_a_request_that_cannot_be_read_is_said_again_without_its_traceback() -> None:
    """What is raised holds on to the frames that it came through."""
    error = MalformedRequest("too_deep", "nested too deep", pointer="/a", status=413)
    with pytest.raises(MalformedRequest) as raised:
        raise error

    again = error.again()

    assert raised.tb is error.__traceback__ is not None
    assert again.__traceback__ is None
    assert vars(again) == vars(error)


def test_a_policys_error_names_only_the_first_of_many_problems() -> None:
    """A traceback is no report; `problems` has them all."""
    error = PolicyError("policy.yaml", (PROBLEM,) * 7)

    assert str(error).splitlines()[-1] == "and 2 more"
    assert len(error.problems) == 7
