"""The table of doors: exact paths are found, all others are refused by name."""

from __future__ import annotations

import pytest

from imagegate.engine.surface import (
    DOORS,
    FAMILIES,
    GROUPS,
    Door,
    Family,
    Lost,
    Match,
    find_door,
    stance_of,
)

PARAMETERS = {
    "deployment": "img-prod",
    "project": "proj1",
    "agent": "Brochure-Writer_2",
    "response_id": "resp_0A",
    "conversation_id": "conv_0A",
    "file_id": "file-0A",
    "batch_id": "batch_0A",
    "item_id": "msg_0A",
    "model": "gpt-5.1",
    "*": "a/B/c",
}


def spelled(family: Family, door: Door) -> str:
    path = family.base + door.route
    for name, value in PARAMETERS.items():
        path = path.replace("*" if name == "*" else f"{{{name}}}", value)
    return path


def method(door: Door) -> str:
    return "PATCH" if door.method == "*" else door.method


ROWS = [(door, FAMILIES[name]) for door in DOORS for name in door.families]


@pytest.mark.parametrize(
    ("door", "family"), ROWS, ids=lambda row: getattr(row, "name", None)
)
def test_every_door_is_found_by_its_exact_path(door: Door, family: Family) -> None:
    """In each family it exists in, and no other door stands before it."""
    found = find_door(method(door), spelled(family, door))

    assert isinstance(found, Match)
    assert (found.door.name, found.family.name) == (door.name, family.name)


def test_a_path_says_what_its_segments_mean() -> None:
    """Agent, deployment and project are given to whoever decides."""
    path = "/api/projects/p/agents/writer/endpoint/protocols/openai/responses"
    found = find_door("POST", path)

    assert isinstance(found, Match)
    assert found.params == {"project": "p", "agent": "writer"}


PATH = "/v1/responses"
# What a lenient server may take for a door: encoded, doubled, dotted, in another
# case, closed by something, or with something else in the middle.
DISGUISED = [
    "//v1/responses",
    "/v1//responses",
    "/v1/responses/",
    "/v1/responses//",
    "/./v1/responses",
    "/v1/./responses",
    "/v1/responses/.",
    "/x/../v1/responses",
    "/v1/x/../responses",
    "/v1/models/../responses",
    "/v1/x/%2e%2e/responses",
    "/v1/x/%2E%2E/responses",
    "/v1/x/.%2e/responses",
    "/v1/%2e/responses",
    "/v1%2Fresponses",
    "/v1%2fresponses",
    "/%76%31/responses",
    "/v1/r%65sponses",
    "/v1/r%2565sponses",
    "/v1/r%252565sponses",
    "/v1%252fresponses",
    "/v1/responses;x=1",
    "/v1;x=1/responses",
    "/v1/responses%3Bx=1",
    "/v1/responses.",
    "/v1/responses...",
    "/v1./responses",
    "/v1/responses%20",
    "/v1/responses ",
    "/v1/ responses",
    "/v1/responses%09",
    "/v1/responses%00",
    "/v1/responses\x00",
    "/v1/resp\x00onses",
    "/v1/responses%00.json",
    "/V1/responses",
    "/v1/Responses",
    "/V1/RESPONSES",
    "/v1/responSes",
    "\\v1\\responses",
    "/v1\\responses",
    "/v1%5Cresponses",
    "/v1%5cresponses",
    "/v1/responses#",
    "/v1/responses#fragment",
    "/v1/responses?",
    "/v1/responses?a=b",
    "/v1/responses%23x",
    "/v1/responses%3Fx",
    "/ｖ１/ｒｅｓｐｏｎｓｅｓ",
    "/v1/%EF%BD%92esponses",
    "/v1/reſponses",
    "v1/responses",
]


@pytest.mark.parametrize("path", [p for p in DISGUISED if "%00.json" not in p])
def test_what_matches_only_after_cleaning_has_a_name_of_its_own(path: str) -> None:
    """A lenient server may take it for a door: it is refused, never guessed."""
    found = find_door("POST", path)

    assert isinstance(found, Lost)
    assert (found.code, found.status) == ("path_not_canonical", 400)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/v1/responses",
        "/openai/openai/v1/responses",
        "/v2/responses",
        "/responses",
        "/v1/responses%00.json",
        "/v1%c0%afresponses",
        "/v1/%c1%b2esponses",
        "/v1/%80esponses",
        "/v1/respоnses",
        "/",
        "",
        "*",
        "http://evil/v1/responses",
        "//evil/v1/responses",
        "@evil/v1/responses",
        "/v1/unheard/of",
        "/v1/organization",
        "/v1/webhook_endpoints",
        "/api/projects/p/openai/responses",
        "/api/projects/a/b/openai/v1/responses",
        "/api/projects//openai/v1/responses",
        "/api/projects/p/agents:generate",
    ],
)
def test_what_matches_nothing_is_no_route(path: str) -> None:
    """Overlong UTF-8, other hosts and other routes: refused, and not passed on."""
    found = find_door("POST", path)

    assert isinstance(found, Lost)
    assert (found.code, found.status) == ("route_not_allowed", 404)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
@pytest.mark.parametrize(
    "twist", [str.upper, "{}/".format, "{}%20".format, "/{}".format]
)
def test_no_family_has_a_second_spelling(family: Family, twist: object) -> None:
    """Every governed path of every family, twisted, is refused."""
    assert callable(twist)
    for door, of in ROWS:
        if of is family and door.reading != "none":
            found = find_door(door.method, twist(spelled(family, door)))

            assert isinstance(found, Lost), spelled(family, door)
            assert found.code == "path_not_canonical", spelled(family, door)


@pytest.mark.parametrize(
    "path",
    [
        "/api/projects/p/agents/writer/Versions",
        "/api/projects/p/agents/writer/versions.",
        "/api/projects/p/agents/writer/endpoint/protocols/OpenAI/responses",
        "/api/projects/p/agents/writer/endpoint/Protocols/openai/responses",
    ],
)
def test_a_wide_door_is_no_way_to_a_particular_one(path: str) -> None:
    """`/agents/*` does not let through what a server may take for a judged path."""
    found = find_door("POST", path)

    assert isinstance(found, Lost)
    assert found.code == "path_not_canonical"


@pytest.mark.parametrize("name", ["a.b", "a~b", "a:b", "a@b", "A-b_9", "YQ==", "..."])
def test_names_in_a_path_keep_their_case_and_signs(name: str) -> None:
    """What the client names is its own affair, dots alone excepted."""
    found = find_door("GET", f"/v1/responses/{name}")

    assert isinstance(found, Match)
    assert found.params == {"response_id": name}


@pytest.mark.parametrize("verb", ["GET", "PUT", "PATCH", "QUERY", "post", "Post", ""])
def test_another_method_is_refused_as_such(verb: str) -> None:
    """The path is right, so the answer says what is wrong."""
    found = find_door(verb, PATH)

    assert isinstance(found, Lost)
    assert (found.code, found.status) == ("method_not_allowed", 405)


def test_a_disguised_path_with_another_method_is_not_canonical() -> None:
    """The first thing that is wrong is said."""
    found = find_door("PUT", "/v1/responses/")

    assert isinstance(found, Lost)
    assert found.code == "path_not_canonical"


def test_every_door_has_a_group_and_every_group_a_door() -> None:
    """A word in a policy opens or closes something, and nothing is without one."""
    assert {door.group for door in DOORS} == set(GROUPS)


def test_every_door_has_a_name_of_its_own_and_known_families() -> None:
    """Records cite the name."""
    names = [door.name for door in DOORS]

    assert len(set(names)) == len(names)
    assert {name for door in DOORS for name in door.families} == set(FAMILIES)


def test_what_is_enforced_can_be_judged_or_makes_nothing() -> None:
    """Behind an enforced word stands no route that would pass its body unread."""
    unread = {
        (door.name, door.method)
        for door in DOORS
        if "enforce" in GROUPS[door.group].stances
        and door.reading == "none"
        and not door.opaque
        and door.method not in {"GET", "DELETE"}
    }

    assert unread == {("responses.cancel", "POST"), ("batches.cancel", "POST")}


def test_every_refusal_of_a_group_says_what_to_use_instead() -> None:
    """A group that is closed at first, or can be, explains itself."""
    silent = {name for name, group in GROUPS.items() if not group.why}

    assert silent == {
        "responses",
        "compact",
        "input_tokens",
        "conversations",
        "models",
        "chat_completions",
        "embeddings",
        "moderations",
    }


def one(name: str) -> Door:
    return next(door for door in DOORS if door.name == name)


@pytest.mark.parametrize(
    ("name", "surface", "expected"),
    [
        ("responses.create", {}, "enforce"),
        ("responses.create", {"responses": "refuse"}, "refuse"),
        ("batches", {}, "refuse"),
        ("batches", {"batches": "pass"}, "pass"),
        ("images.generations", {}, "enforce"),
        ("images_api", {}, "refuse"),
        ("images_api", {"images_api": "enforce"}, "refuse"),
        ("images_api", {"images_api": "pass"}, "pass"),
        ("agents.responses", {"agent_endpoints": "enforce"}, "enforce"),
        ("agent_endpoints.other", {"agent_endpoints": "enforce"}, "refuse"),
    ],
)
def test_a_policy_says_what_is_done_at_a_door(
    name: str, surface: dict[str, str], expected: str
) -> None:
    """Its word, or the group's default; what cannot be judged is then closed."""
    assert stance_of(one(name), surface) == expected
