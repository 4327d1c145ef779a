from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from imagegate.cli.app import run

POLICY = """\
version: 1
name: small
owner: me@example.com
mode: enforce
settings:
  quality: { max: medium, default: medium, otherwise: lower, reason: budget }
  size: { max: 1024x1024, default: 1024x1024, otherwise: lower, mode: observe }
  background: { allow: [opaque], otherwise: block, default: opaque, mode: observe }
teams:
  design:
    match: { team: design }
    settings: { quality: { max: high, loosens: true } }
exceptions:
  - id: EXC-1
    for: { id: jane }
    set: { settings.quality.max: high }
    until: 2027-01-31
    approved_by: j.doe
"""
HEADER = "x-ms-oai-image-generation-deployment"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with a policy, `small.yaml`."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(POLICY)


def explain(body: Any, *options: str, policy: str = "small.yaml") -> int:
    text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
    Path("request.json").write_text(text)
    return run(["explain", "-p", policy, "request.json", *options])


def tool(**settings: Any) -> dict[str, Any]:
    return {"model": "gpt-5", "tools": [{"type": "image_generation", **settings}]}


def described(capsys: pytest.CaptureFixture[str], *arguments: Any, **more: Any) -> Any:
    assert explain(*arguments, "--format", "json", **more) == 0
    return json.loads(capsys.readouterr().out)


def test_a_change_is_explained_setting_by_setting(
    capsys: pytest.CaptureFixture[str],
) -> None:
    body = tool(model="gpt-image-2", quality="high", name="draw", size="1024x1024")

    assert explain(body) == 0

    assert capsys.readouterr().out == (
        "rewrite · small (enforce) · responses.create at openai · anonymous\n"
        "It goes on with 2 changes.\n"
        "\n"
        "tools[0] (tools)\n"
        "SETTING   REQUESTED                  EFFECTIVE                  ENFORCED"
        "      RULE                   WHY\n"
        "model     gpt-image-2                gpt-image-2                gpt-image-2\n"
        "quality   high                       high                       medium"
        "        settings.quality.max   `quality` becomes medium: at most medium"
        " (budget)\n"
        "size      1024x1024                  1024x1024                  1024x1024\n"
        "name      a string of 4 characters   a string of 4 characters   left out"
        "      fields.deprecated      `name` is deprecated and is left out"
        " (not said in the file)\n"
        "\n"
        "observed only, nothing is done about it\n"
        "PLACE                 BEFORE   AFTER    RULE                          WHY\n"
        "tools[0].background   -        opaque   settings.background.default   "
        "`background` was not chosen; it is opaque\n"
        "\n"
        "what goes on\n"
        "{\n"
        '  "model": "gpt-5",\n'
        '  "tools": [\n'
        "    {\n"
        '      "type": "image_generation",\n'
        '      "model": "gpt-image-2",\n'
        '      "quality": "medium",\n'
        '      "size": "1024x1024"\n'
        "    }\n"
        "  ]\n"
        "}\n"
    )


def test_a_refusal_is_shown_as_the_client_gets_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    body = tool(model="gpt-image-2", quality="low", upscale=2) | {"prompt": {"id": "p"}}

    assert explain(body) == 0

    out = capsys.readouterr().out
    assert out.startswith("block · small")
    assert "Nothing goes on: 2 things refused.\n" in out
    assert "upscale   2             2             refused    fields.unknown" in out
    assert "\nelsewhere in the request\n" in out
    answer = out.partition("what the client gets\n")[2]
    head, _, text = answer.partition("\n\n")
    assert head.splitlines()[:2] == ["HTTP 403", "content-type: application/json"]
    assert json.loads(text)["error"]["param"] == "prompt"


@pytest.mark.parametrize(
    ("body", "options", "said"),
    [
        ({"model": "gpt-5"}, (), "It goes on byte for byte as it came."),
        ('{ "model": "gpt-5"}', (), "It goes on as it came, without white space"),
        ("", ("--path", "GET /v1/models"), "It goes on unseen"),
        (
            '{"a":1,"a":2}',
            (),
            "It cannot be judged: duplicate_key at a: two members",
        ),
        ('{"a":NaN}', (), "It cannot be judged: not_a_number at byte 5: NaN"),
        ("", (), "It cannot be judged: empty_body: the body is empty"),
        ("{}", ("--path", "POST /v1//responses"), "It has no door: path_not_canonical"),
        (tool(quality="high"), ("--as", "team=design"), "byte for byte"),
        (
            tool(quality="high"),
            ("--as", "id=jane", "--as", "id=x", "--date", "2027-01-31"),
            "byte for byte",
        ),
        (
            tool(quality="high"),
            ("--as", "id=jane", "--date", "2027-02-01"),
            "1 change.",
        ),
        (tool(quality="high"), ("--as", "team=design", "--unverified"), "1 change."),
    ],
)
def test_the_verdict_is_one_sentence(
    body: Any, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(body, *options) == 0

    assert said in capsys.readouterr().out.splitlines()[1]


def test_what_only_has_white_space_to_lose_is_shown_as_it_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert explain('{ "model": "gpt-5"}') == 0

    out = capsys.readouterr().out
    assert out.endswith('\nwhat goes on\n{\n  "model": "gpt-5"\n}\n')


def test_long_strings_are_cut_in_what_is_shown_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    body = tool(quality="high") | {"input": "é\\" * 1000}

    assert explain(body) == 0
    out = capsys.readouterr().out
    assert '…" (8000 bytes)' in out
    assert len(out) < 2000

    assert described(capsys, body)["body"]["input"] == "é\\" * 1000


def test_a_socket_is_refused_in_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    body = {"type": "response.create", "model": "gpt-5", "prompt": {"id": "p"}}

    assert explain(body, "--door", "responses.connect") == 0

    message = json.loads(capsys.readouterr().out.partition("what the client gets\n")[2])
    assert (message["type"], message["status"]) == ("error", 403)


def test_a_stripped_tool_has_no_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(tool(), policy="no-images") == 0

    out = capsys.readouterr().out
    assert "\nin the request\n" in out
    assert "tools[0]   image_generation   left out   tool   " in out


def test_azure_headers_are_judged_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    body = tool(model="img-mini-prod", quality="high")
    options = ("--provider", "azure", "--header", f"{HEADER.upper()}: img-2-prod")

    assert explain(body, *options, policy="azure-foundry") == 0

    assert f"\nwhat goes on\n{HEADER}: img-mini-prod\n" in capsys.readouterr().out


def test_ids_that_were_seen_may_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    body = {
        "model": "gpt-5",
        "previous_response_id": "resp_1",
        "max_tool_calls": 8,
    }

    found = described(capsys, body, "--seen", "resp_1", policy="standard")

    assert found["decision"] == "forward"


def test_the_images_api_is_explained_too(capsys: pytest.CaptureFixture[str]) -> None:
    body = {"model": "gpt-image-2", "prompt": "a cat", "quality": "high", "n": 9}

    assert explain(body, "--door", "images.generations", policy="cost-cap") == 0

    out = capsys.readouterr().out
    assert "\nthe request (images_api)\n" in out
    assert "limits.images_api_n.max" in out


def test_a_narrow_terminal_gets_the_reasons_below(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagegate.cli.screen.PIPE_WIDTH", 80)

    assert explain(tool(quality="high")) == 0

    out = capsys.readouterr().out
    assert "SETTING   REQUESTED   EFFECTIVE   ENFORCED\n" in out
    assert "\n\nRULE                   WHY\nsettings.quality.max   `quality` be" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_narrow_terminal_gets_no_reasons_where_there_are_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagegate.cli.screen.PIPE_WIDTH", 80)

    assert explain(tool(quality="low"), "--as", "team=x") == 0

    out = capsys.readouterr().out
    assert "SETTING   REQUESTED   EFFECTIVE   ENFORCED\nquality   low" in out
    assert "WHY" not in out.partition("\n\nobserved")[0]


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    found = described(capsys, tool(quality="high", size="1024x1024"))

    assert found["decision"] == "rewrite"
    assert found["policy"]["name"] == "small"
    assert found["door"] == "responses.create"
    assert found["tools"][0]["requested"]["quality"] == "high"
    assert [change["after"] for change in found["changes"]] == ["medium"]
    assert found["body"]["tools"][0]["quality"] == "medium"
    assert found["refusal"] is None
    assert len(found["observed"]) == 1


def test_json_of_a_refusal_has_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    found = described(capsys, '{"a":1,"a":2}')

    assert found["decision"] == "block"
    assert found["malformed"]["code"] == "duplicate_key"
    assert found["body"] is None
    assert found["refusal"]["status"] == 400
    assert found["refusal"]["body"]["error"]["code"] == "duplicate_key"


def test_a_route_that_is_none_has_no_door(capsys: pytest.CaptureFixture[str]) -> None:
    found = described(capsys, "{}", "--path", "POST /v2/responses")

    assert (found["door"], found["provider"]) == (None, None)


def test_a_request_can_come_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"model":"gpt-5"}')))

    assert run(["explain", "-p", "small.yaml", "-"]) == 0

    assert capsys.readouterr().out.startswith("forward · ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--as", "team"), "--as 'team': write NAME=VALUE"),
        (("--header", "x"), "--header 'x': write NAME:VALUE"),
        (("--door", "front"), "no door is called 'front'; there are responses.create"),
        (("--path", "responses"), "'responses' is no method and path"),
        (("--date", "soon"), "Invalid value for '--date'"),
        (("--provider", "else"), "Invalid value for '--provider'"),
    ],
)
def test_a_wrong_call_is_told(
    options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("{}", *options) == 2

    assert said in capsys.readouterr().err


def test_a_request_that_cannot_be_read_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["explain", "-p", "small.yaml", "nowhere.json"]) == 2

    assert "cannot read 'nowhere.json'" in capsys.readouterr().err


def test_an_invalid_policy_is_invalid(capsys: pytest.CaptureFixture[str]) -> None:
    Path("small.yaml").write_text("version: 2\n")

    assert explain("{}") == 3

    assert "small.yaml:1:10: error [" in capsys.readouterr().out


STAGED = "surface: { files: enforce, batches: enforce }\n"


def batch_line(name: str, **settings: Any) -> str:
    whole = {"custom_id": name, "method": "POST", "url": "/v1/responses"}
    return json.dumps(whole | {"body": tool(**settings)})


def staging(more: str = STAGED) -> str:
    Path("staging.yaml").write_text(Path("small.yaml").read_text() + more)
    return "staging.yaml"


def test_a_batch_file_is_explained_line_by_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = f"{batch_line('a', quality='high')}\n\n{batch_line('b')}\n"
    more, policy = ("--door", "files.create"), staging()

    assert explain(lines, *more, policy=policy) == 0

    out = capsys.readouterr().out
    assert "file[1].body.tools[0] (" in out
    first, second = described(capsys, lines, *more, policy=policy)["body"]
    assert (first["custom_id"], second["custom_id"]) == ("a", "b")
    refused = described(capsys, batch_line("a", quality="best"), *more, policy=policy)
    assert refused["violations"][0]["pointer"] == "/file/1/body/tools/0/quality"
    strange = described(capsys, "junk", *more, policy=policy)
    assert strange["malformed"]["place"] == "/file/1"


@pytest.mark.parametrize(
    ("word", "decision"), [("pass", "forward"), ("refuse", "block")]
)
def test_a_file_at_which_nobody_looks_is_not_read(
    word: str, decision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = staging(f"surface: {{ files: {word} }}\n")

    told = described(capsys, "junk", "--door", "files.create", policy=policy)
    assert (told["decision"], told["body"]) == (decision, None)
