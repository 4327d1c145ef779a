from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from imagegate.simulator import create_simulator

Serve = Callable[[Any], str]

# One for the file: each one made reads the certificates anew.
HTTP = httpx2.Client(trust_env=False)


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    HTTP.close()


DEPLOYMENT = "x-ms-oai-image-generation-deployment"
MINI = {"model": "gpt-image-1-mini"}
TWO = {"model": "gpt-image-2"}


def asked(
    url: str, base: str = "/v1", headers: dict[str, str] | None = None, **body: Any
) -> httpx2.Response:
    """Create a response; what is None is left out."""
    whole = {"model": "gpt-6-luna", "input": "a cat"} | body
    return HTTP.post(
        f"{url}{base}/responses",
        json={key: value for key, value in whole.items() if value is not None},
        headers={"authorization": "Bearer k"} | (headers or {}),
    )


def image(**fields: Any) -> dict[str, Any]:
    return {"type": "image_generation"} | fields


def refused(answer: httpx2.Response) -> tuple[str | None, str | None]:
    """Return `param` and `code` of a refusal, having looked at its envelope."""
    error = answer.json()["error"]
    assert answer.status_code == 400, answer.text
    assert set(error) == {"message", "type", "param", "code"}
    return error["param"], error["code"]


WINDOW = "background_options.completion_window"
COMBINATION = "invalid_parameter_combination"


@pytest.mark.parametrize(
    ("tool", "field", "code"),
    [
        (image(n=1), "n", "unknown_parameter"),
        (image(zzz=1), "zzz", "unknown_parameter"),
        (image(Quality="low"), "Quality", "unknown_parameter"),
        (image(name="x"), "name", "unknown_parameter"),
        (image(svg={"x": 1}), "svg.x", "unknown_parameter"),
        (image(quality="ultra"), "quality", "invalid_value"),
        (image(quality=3), "quality", "invalid_type"),
        (image(quality=None), "quality", "invalid_type"),
        (image(quality="xhigh", **MINI), "quality", "invalid_value"),
        (image(model="gpt-image-1"), "model", "invalid_value"),
        (image(model="dall-e-3"), "model", "invalid_value"),
        (image(model=["gpt-image-2"]), "model", "invalid_type"),
        (image(partial_images=4), "partial_images", "integer_above_max_value"),
        (image(partial_images=-1), "partial_images", "integer_below_min_value"),
        (image(partial_images=1.5), "partial_images", "invalid_type"),
        (image(partial_images=True), "partial_images", "invalid_type"),
        (image(input_image_mask="x"), "input_image_mask", "invalid_type"),
        (image(input_fidelity="high", **MINI), "input_fidelity", "invalid_value"),
        (image(input_fidelity="low", **TWO), "input_fidelity", "invalid_value"),
        (image(size="1000x1000", **TWO), "size", "invalid_value"),
        (image(size="4096x2048", **TWO), "size", "invalid_value"),
        (image(size="3200x1024", **TWO), "size", "invalid_value"),
        (image(size="512x512", **TWO), "size", "invalid_value"),
        (image(size="3840x3840", **TWO), "size", "invalid_value"),
        (image(size="huge", **TWO), "size", "invalid_value"),
        (image(size="1024X1024", **TWO), "size", "invalid_value"),
        (image(size="1280x720", **MINI), "size", "invalid_value"),
        (
            image(background="transparent", output_format="jpeg"),
            "background",
            COMBINATION,
        ),
        (image(partial_images=1, output_format="gif"), "partial_images", COMBINATION),
        (
            image(input_image_mask={}, output_format="gif"),
            "input_image_mask",
            COMBINATION,
        ),
        (image(output_compression=50), "output_compression", COMBINATION),
        (image(frame_count=4), "frame_count", COMBINATION),
        (image(svg={}), "svg", COMBINATION),
    ],
    ids=str,
)
def test_an_image_tool_is_refused(
    url: str, tool: dict[str, Any], field: str, code: str
) -> None:
    answer = asked(url, tools=[tool])

    assert refused(answer) == (f"tools[0].{field}", code)


@pytest.mark.parametrize(
    "tool",
    [
        image(),
        image(quality="max", complexity="high"),
        image(size="2000x1120", **TWO),
        image(size="auto", input_fidelity=None, **TWO),
        image(input_fidelity="high", model="gpt-image-1.5"),
        image(background="transparent", output_format="webp"),
        image(output_compression=50, output_format="jpeg"),
        image(
            output_format="gif", frame_count=2, size="384x384", output_compression=100
        ),
        image(output_format="svg", svg={"reasoning": {"effort": "low"}}),
        image(action="edit", input_image_mask={"file_id": "file_1"}),
    ],
    ids=str,
)
def test_an_image_tool_is_accepted(url: str, tool: dict[str, Any]) -> None:
    answer = asked(url, tools=[tool])

    assert answer.status_code == 200, answer.text
    assert answer.json()["output"][0]["result"]


def test_the_captured_wordings_are_kept(url: str) -> None:
    unknown = asked(url, tools=[image(n=1)])
    choice = asked(url, tools=[], tool_choice={"type": "image_generation"})

    assert unknown.json()["error"] == {
        "message": "Unknown parameter: 'tools[0].n'.",
        "type": "invalid_request_error",
        "param": "tools[0].n",
        "code": "unknown_parameter",
    }
    assert choice.json()["error"] == {
        "message": "Tool choice 'image_generation' not found in 'tools' parameter.",
        "type": "invalid_request_error",
        "param": "tool_choice",
        "code": None,
    }


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": 5}, "model", "invalid_type"),
        ({"model": "gpt-image-2"}, "model", "unsupported_model"),
        ({"model": "llama"}, "model", "model_not_found"),
        ({"quality": "low"}, "quality", "unknown_parameter"),
        ({"agent_reference": {"name": "a"}}, "agent_reference", "unknown_parameter"),
        ({"stream": "true"}, "stream", "invalid_type"),
        ({"input": 5}, "input", "invalid_type"),
        ({"input": ["a"]}, "input[0]", "invalid_type"),
        ({"metadata": ["a"]}, "metadata", "invalid_type"),
        ({"metadata": {"a": 1}}, "metadata.a", "invalid_type"),
        ({"max_tool_calls": 0}, "max_tool_calls", "integer_below_min_value"),
        ({"background": True, "store": False}, "background", None),
        ({"background_options": {"completion_window": "2h"}}, WINDOW, None),
        (
            {
                "background": True,
                "stream": True,
                "background_options": {"completion_window": "8h"},
            },
            WINDOW,
            None,
        ),
        ({"background_options": {"completion_window": "1h"}}, WINDOW, "invalid_value"),
        ({"tools": {}}, "tools", "invalid_type"),
        ({"tools": ["a"]}, "tools[0]", "invalid_type"),
        ({"tools": [{}]}, "tools[0].type", "missing_required_parameter"),
        ({"tools": [{"type": "a"}]}, "tools[0].type", "invalid_value"),
        ({"tools": [{"type": ["a"]}]}, "tools[0].type", "invalid_value"),
        (
            {"tools": [{"type": "function"}]},
            "tools[0].name",
            "missing_required_parameter",
        ),
        (
            {"input": [{}, {"type": "tool_search_output", "tools": [image(n=1)]}]},
            "input[1].tools[0].n",
            "unknown_parameter",
        ),
        ({"tool_choice": "required"}, "tool_choice", None),
        ({"tool_choice": 5}, "tool_choice", "invalid_type"),
        (
            {
                "tools": [{"type": "function", "name": "f"}],
                "tool_choice": {"type": "function", "name": "g"},
            },
            "tool_choice",
            None,
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "image_generation"}],
                }
            },
            "tool_choice",
            None,
        ),
        ({"metadata": {"simulator": "nonsense"}}, "metadata.simulator", None),
        ({"metadata": {"simulator": "status=x"}}, "metadata.simulator", None),
    ],
    ids=str,
)
def test_a_request_is_refused(
    url: str, body: dict[str, Any], param: str, code: str | None
) -> None:
    code = "simulator_command" if param == "metadata.simulator" else code

    assert refused(asked(url, **body)) == (param, code)


def test_required_is_fine_where_there_is_a_tool(url: str) -> None:
    tool = {"type": "function", "name": "f"}

    answer = asked(url, tools=[tool], tool_choice="required")

    assert answer.status_code == 200


@pytest.mark.parametrize("value", ["1" + "0" * 30, '"\\ud800"'], ids=["large", "half"])
def test_what_json_can_say_and_few_can_write_is_echoed(url: str, value: str) -> None:
    tool = '{"type":"function","name":"f","parameters":{"maximum":' + value + "}}"
    body = '{"model":"gpt-5","input":"a","tools":[' + tool + "]}"

    answer = HTTP.post(
        f"{url}/v1/responses", content=body, headers={"authorization": "Bearer k"}
    )

    assert json.loads(answer.content)["tools"] == [json.loads(tool)]


@pytest.mark.parametrize("base", ["/openai/v1", "/api/projects/p/openai/v1"])
def test_azure_needs_the_deployment_in_a_header(url: str, base: str) -> None:
    missing = asked(url, base, tools=[image()])
    text = asked(url, base)

    assert missing.json()["error"] == {
        "message": "imagegen deployment must be provided through header:"
        " x-ms-oai-image-generation-deployment",
        "type": "image_generation_user_error",
        "param": "tools",
        "code": "invalid_request_error",
    }
    assert text.status_code == 200


def test_azure_takes_any_name_and_judges_by_the_model_behind_it(url: str) -> None:
    large = image(size="2048x2048", name="old", model="anything")

    known = asked(url, "/openai/v1", {DEPLOYMENT: "img"}, tools=[large])
    unknown = asked(url, "/openai/v1", {DEPLOYMENT: "x"}, tools=[large])
    one = asked(url, "/openai/v1", {DEPLOYMENT: "gpt-image-1"}, tools=[image()])

    assert refused(known) == ("tools[0].size", "invalid_value")
    assert unknown.status_code == 200
    assert unknown.json()["tools"][0]["model"] == "x"
    assert one.status_code == 200


def test_foundry_knows_agents(serve: Serve) -> None:
    base = "/api/projects/p/openai/v1"
    stored = {"painter": [image(quality="low")]}
    url = serve(create_simulator(behaviour="bits=0", stored_tools=stored))
    agent = {"type": "agent_reference", "name": "painter"}
    header = {DEPLOYMENT: "img"}

    painted = asked(url, base, header, model=None, agent_reference=agent)
    both = asked(url, base, header, agent_reference=agent, tools=[image()])
    old = asked(url, base, header, agent=agent)

    assert painted.json()["tools"][0]["quality"] == "low"
    assert painted.json()["output"][0]["result"]
    assert refused(both) == ("tools", None)
    assert refused(old) == ("agent", None)


@pytest.mark.parametrize(
    ("key", "value"), [("prompt", {"id": "known"}), ("conversation", "known")]
)
def test_stored_state_brings_its_tools(serve: Serve, key: str, value: Any) -> None:
    stored = {"known": [image(quality="high")]}
    url = serve(create_simulator(behaviour="bits=0", stored_tools=stored))
    hidden: Any = {"simulator": "hide_items"}

    seen = asked(url, **{key: value})
    unseen = asked(url, **{key: value, "metadata": hidden})

    assert seen.json()["tools"][0]["quality"] == "high"
    assert unseen.json()["tools"] == []
    assert unseen.json()["output"][0]["quality"] == "high"


@pytest.mark.parametrize("key", ["prompt", "conversation"])
def test_unknown_state_is_not_found(url: str, key: str) -> None:
    missing: Any = {"id": "x_none"}

    answer = asked(url, **{key: missing})

    assert answer.status_code == 404
    assert answer.json()["error"]["param"] == key
