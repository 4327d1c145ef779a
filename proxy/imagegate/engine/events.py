"""What an answer says about images, as small values.

The scanners in `scanner` report these and nothing else. No value here holds an
image, a prompt or a message text: payloads are known by their length and by
the facts in their first bytes, free text not at all, and every string has a
bound. So a list of events may be kept, compared and logged without a second
look.

A value that is absent, null or of another type than the contract says is None.
A string over the bound is `TOO_LONG`, which equals no word of any contract.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import msgspec

TOO_LONG: Final = "…"


class Observed(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="event"):
    """What every event has.

    Attributes:
        end: Bytes fed up to and with the blank line that ends the event. A
            stream may be cut there. Where lines end in CRLF the last LF is not
            counted, since it may not have come yet; whoever goes on writing at
            `end` starts with an LF, which is right in every form.
        incomplete: The stream ended before the blank line. By the letter of
            the standard a client drops such an event; some clients do not.
    """

    end: int = 0
    incomplete: bool = False


class ImageUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens spent on images; None is unknown, never zero."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_image_tokens: int | None = None
    input_text_tokens: int | None = None
    output_image_tokens: int | None = None
    output_text_tokens: int | None = None
    cached_tokens: int | None = None


class EchoedTool(msgspec.Struct, frozen=True, kw_only=True):
    """One image tool as the provider understood it.

    Attributes:
        at: Where it stood: `tools[0]`, `output[2].tools[0]`.
        settings: The tool's members. Long strings are `TOO_LONG`.
        exact: The type is `image_generation` to the letter; False for a
            spelling that only looks like it.
        whole: False when members were left out because they were too many or
            too deep.
    """

    at: str
    settings: dict[str, Any]
    exact: bool = True
    whole: bool = True


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """What can be known of an image without decoding it.

    Attributes:
        length: Characters of base64.
        media: png, jpeg, webp, gif or svg, by the first bytes.
        dimensions: WIDTHxHEIGHT by the image's own header, where the first
            few hundred bytes reach it.
    """

    length: int
    media: str | None = None
    dimensions: str | None = None


class ImageEvent(Observed, frozen=True, kw_only=True):
    """`response.image_generation_call.` in_progress, generating or completed."""

    type: str
    sequence_number: int | None = None
    output_index: int | None = None
    item_id: str | None = None


class PartialImage(Observed, frozen=True, kw_only=True):
    """A picture on the way; it may be the whole final one.

    Attributes:
        type: `response.image_generation_call.partial_image`, or of the Images
            API `image_generation.partial_image`, `image_edit.partial_image`.
    """

    type: str
    sequence_number: int | None = None
    output_index: int | None = None
    item_id: str | None = None


class ItemAdded(Observed, frozen=True, kw_only=True):
    """`response.output_item.added` for an image call."""

    sequence_number: int | None = None
    output_index: int | None = None
    item_id: str | None = None


class FinishedItem(Observed, frozen=True, kw_only=True):
    """An image call that will change no more, made or failed.

    The same item is usually reported twice: when it is done, and in the output
    of the response that ends the stream.

    Attributes:
        type: Where it was: `response.output_item.done`, the type of the
            response event, `response` for a JSON answer, or of the Images API
            `image_generation.completed`, `image_edit.completed`, `images`;
            `items` for what is read of a conversation, `batch` of what one made.
        status: As sent. Finished items often say `generating`, so whether
            there is an image is told by `image` alone.
        elsewhere: There is an image, at an address that is told in its place.
        usage: Only of the Images API, which has no response to tell it.
        response_id: The response that it is of, where one text tells of several.
    """

    type: str
    sequence_number: int | None = None
    output_index: int | None = None
    item_id: str | None = None
    status: str | None = None
    action: str | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    image: Payload | None = None
    elsewhere: bool = False
    error_code: str | None = None
    usage: ImageUsage | None = None
    response_id: str | None = None

    @property
    def has_result(self) -> bool:
        """Whether an image was made."""
        return self.image is not None or self.elsewhere


class ToolsAdded(Observed, frozen=True, kw_only=True):
    """An output item brought image tools into the conversation."""

    sequence_number: int | None = None
    output_index: int | None = None
    item_id: str | None = None
    tools: tuple[EchoedTool, ...] = ()


class ResponseEvent(Observed, frozen=True, kw_only=True):
    """The whole Response object, at a turn of its life or as a JSON answer.

    Attributes:
        type: `response.created`, `.queued`, `.in_progress`, `.completed`,
            `.failed`, `.incomplete`; `response` for a JSON answer; `images` for one
            of the Images API, of which `usage` alone is told.
        background: The mode, not the picture's.
        model: The mainline model.
        tools: The image tools echoed; empty when tools were echoed and none
            makes images, None when the member is absent.
        output_tools: Image tools inside items of the output.
        output: The types of the output items, in order; None when absent.
        items: Their ids, as far as they have ones that can be referred to.
    """

    type: str
    sequence_number: int | None = None
    response_id: str | None = None
    status: str | None = None
    background: bool | None = None
    model: str | None = None
    tools: tuple[EchoedTool, ...] | None = None
    output_tools: tuple[EchoedTool, ...] = ()
    output: tuple[str, ...] | None = None
    items: tuple[str, ...] = ()
    usage: ImageUsage | None = None
    error_code: str | None = None
    incomplete_reason: str | None = None


class StreamError(Observed, frozen=True, kw_only=True):
    """An `error` event, flat or nested, or a JSON error body.

    The message is not kept: providers quote prompts in it.

    Attributes:
        status: What the answer would have had over HTTP; said on WebSockets alone.
    """

    sequence_number: int | None = None
    status: int | None = None
    code: str | None = None
    error_type: str | None = None


class Undecodable(Observed, frozen=True, kw_only=True):
    """Data that is no JSON object. The scan goes on behind it."""

    reason: Literal["not_json", "not_an_object", "too_deep"]
    length: int


class Unobservable(Observed, frozen=True, kw_only=True):
    """An event with more members than is read. The scan goes on behind it.

    Attributes:
        type: The JSON type, when it is the first member.
        length: Bytes of data.
    """

    type: str | None = None
    length: int


Event: TypeAlias = (
    ImageEvent
    | PartialImage
    | ItemAdded
    | FinishedItem
    | ToolsAdded
    | ResponseEvent
    | StreamError
    | Undecodable
    | Unobservable
)
