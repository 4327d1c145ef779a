"""The Images API: `/images/generations` and `/images/edits`, whole or as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from imagegate.simulator import image_fields as known
from imagegate.simulator.behaviour import Behaviour, overlay
from imagegate.simulator.call import Call
from imagegate.simulator.counter import Counter, time_of
from imagegate.simulator.fields import Kind, Text, Truth, Whole
from imagegate.simulator.forms import Upload
from imagegate.simulator.image_tool import Tool, check_settings
from imagegate.simulator.picture_item import drawn, settled, tokens_of
from imagegate.simulator.refusal import (
    image_refusal,
    invalid_type,
    missing_parameter,
    unknown_parameter,
)
from imagegate.simulator.wire import Answer, framed, json_answer, stream_answer

Event = dict[str, Any]
_MANY = 10
_IMAGES = 16
_SHARED = (
    *("background", "complexity", "frame_count", "frame_duration_ms"),
    *("output_compression", "output_format", "partial_images", "quality", "size"),
    "svg",
)
_BOTH: dict[str, Kind] = {
    **{name: known.TOOL_FIELDS[name] for name in _SHARED},
    "model": Text(),
    "n": Whole(1, _MANY),
    "prompt": Text(),
    "safety_identifier": Text(),
    "stream": Truth(),
    "user": Text(),
}
# `response_format` and `style` are for models that have been retired, and refused by
# all others as unknown.
GENERATIONS: dict[str, Kind] = {**_BOTH, "moderation": known.TOOL_FIELDS["moderation"]}
EDITS: dict[str, Kind] = {
    **_BOTH,
    "input_fidelity": known.TOOL_FIELDS["input_fidelity"],
}
# As JSON, where images are named rather than sent.
REFERRED: dict[str, Kind] = {**EDITS, "moderation": known.TOOL_FIELDS["moderation"]}
_REFERENCE = known.TOOL_FIELDS["input_image_mask"]
_FILES = ("image", "mask", "markup")
_NAMED = ("images", "mask")


class Images:
    """Makes images that are asked for directly."""

    def __init__(self, counter: Counter, *, deployments: Mapping[str, str]) -> None:
        self._counter = counter
        self._deployments = deployments

    def generate(self, call: Call) -> Answer:
        """Answer with new images."""
        return self._answer(call, call.body, GENERATIONS, "image_generation")

    def edit(self, call: Call) -> Answer:
        """Answer with images made from others."""
        referred = "images" in call.body
        sources, check = (_NAMED, _check_named) if referred else (_FILES, _check_files)
        check(call.body)
        body = {key: v for key, v in call.body.items() if key not in sources}
        return self._answer(call, body, REFERRED if referred else EDITS, "image_edit")

    def _answer(
        self,
        call: Call,
        body: dict[str, Any],
        fields: Mapping[str, Kind],
        name: Literal["image_generation", "image_edit"],
    ) -> Answer:
        _check(body, fields)
        self._check_model(call, body)
        settings = known.DEFAULTS | {k: v for k, v in body.items() if v is not None}
        made = time_of(self._counter.next())
        if body.get("stream"):
            events = _events(settings, name, made, call.behaviour)
            return stream_answer(map(framed, events))
        return json_answer(_whole(settings, made, call.behaviour))

    def _check_model(self, call: Call, body: dict[str, Any]) -> None:
        """Raise unless the model makes images with these settings."""
        dialect, named = call.place.dialect, body.get("model")
        if dialect.azure:
            named = call.place.deployment or named
            if named is None:
                raise missing_parameter("model")
            named = self._deployments.get(named, named)
        check_settings(body, "", dialect=dialect, model=named)
        _check_together(body, call.body)


def _check(body: dict[str, Any], fields: Mapping[str, Kind]) -> None:
    for key, value in body.items():
        if key not in fields:
            raise unknown_parameter(key)
        if value is not None:
            fields[key].check(value, key)
    if not body.get("prompt"):
        raise missing_parameter("prompt")


def _check_files(body: dict[str, Any]) -> None:
    """Raise unless there is something to edit, and it came as files."""
    images = body.get("image")
    if images is None:
        raise missing_parameter("image")
    listed = images if isinstance(images, list) else [images]
    for value in (*listed, *(body[key] for key in _FILES[1:] if key in body)):
        if not isinstance(value, Upload):
            raise invalid_type("image", value, expected="a file")
    _check_many(listed, "image")


def _check_named(body: dict[str, Any]) -> None:
    """Raise unless there is something to edit, and it is named as it must be."""
    images = body["images"]
    if not isinstance(images, list):
        raise invalid_type("images", images, expected="an array of objects")
    if not images:
        raise missing_parameter("images")
    for place, value in enumerate(images):
        _REFERENCE.check(value, f"images[{place}]")
    if body.get("mask") is not None:
        _REFERENCE.check(body["mask"], "mask")
    _check_many(images, "images")


def _check_many(images: list[Any], param: str) -> None:
    if len(images) > _IMAGES:
        raise image_refusal(f"Expected at most {_IMAGES} images.", param=param)


def _check_together(body: dict[str, Any], whole: dict[str, Any]) -> None:
    """Raise where parameters contradict each other that the tool has not."""
    svg = body.get("output_format") == "svg"
    problems = {
        "n": svg and body.get("n", 1) != 1,
        "stream": svg and body.get("stream"),
        "mask": body.get("output_format") == "gif" and "mask" in whole,
        "markup": "mask" in whole and "markup" in whole,
    }
    for param, problem in problems.items():
        if problem:
            raise image_refusal(
                f"'{param}' cannot be used in this combination.",
                param=param,
                code="invalid_parameter_combination",
            )


def _picture(settings: Tool, seed: str, behaviour: Behaviour) -> str:
    return drawn(settings, bits=behaviour.bits, seed=seed)


def _whole(settings: Tool, made: int, behaviour: Behaviour) -> dict[str, Any]:
    images = [
        {"b64_json": _picture(settings, f"{index}/final", behaviour)}
        for index in range(settings["n"])
    ]
    answer = {
        "created": made,
        **settled(settings),
        "data": images,
        "usage": _usage(settings, settings["n"]),
    }
    return overlay(answer, behaviour.item)


def _events(
    settings: Tool, name: str, made: int, behaviour: Behaviour
) -> Iterator[Event]:
    """Yield each image as it becomes clearer, and then whole."""
    for number, event in enumerate(_untroubled(settings, name, made, behaviour)):
        if number == behaviour.error_at:
            error = {"type": "server_error", "code": "server_error", "param": None}
            yield {"type": "error", "error": {**error, "message": "It failed."}}
            return
        yield event


def _untroubled(
    settings: Tool, name: str, made: int, behaviour: Behaviour
) -> Iterator[Event]:
    for index in range(settings["n"]):
        told = {"created_at": made, **settled(settings)}
        for number in range(settings.get("partial_images", 0)):
            seed = f"{index}/partial {number}"
            yield {
                "type": f"{name}.partial_image",
                "b64_json": _picture(settings, seed, behaviour),
                "partial_image_index": number,
                **told,
            }
        final = {
            "type": f"{name}.completed",
            "b64_json": _picture(settings, f"{index}/final", behaviour),
            **told,
            "usage": _usage(settings, 1),
        }
        yield overlay(final, behaviour.item)


def _usage(settings: Tool, images: int) -> dict[str, Any]:
    asked, made = 40, images * tokens_of(settings)
    return {
        "input_tokens": asked,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": asked},
        "output_tokens": made,
        "output_tokens_details": {"image_tokens": made, "text_tokens": 0},
        "total_tokens": asked + made,
    }
