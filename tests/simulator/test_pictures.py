from __future__ import annotations

import io
from xml.etree import ElementTree

import pytest
from PIL import Image

from imagegate.simulator.pictures import Canvas, picture, picture_base64

FORMATS = ["png", "webp", "jpeg", "gif"]


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("bits", [0, 1, 6, 8])
@pytest.mark.parametrize("output_format", FORMATS)
def test_other_people_can_open_it(output_format: str, bits: int) -> None:
    image = opened(
        picture(Canvas(width=48, height=40, bits=bits), output_format=output_format)
    )

    assert (image.format, image.size) == (output_format.upper(), (48, 40))


@pytest.mark.parametrize("output_format", ["png", "webp"])
def test_a_transparent_one_has_an_alpha_channel(output_format: str) -> None:
    canvas = Canvas(width=32, height=32, bits=3, transparent=True)

    image = opened(picture(canvas, output_format=output_format))

    assert image.mode == "RGBA"
    assert image.getchannel("A").getextrema() != (255, 255)


@pytest.mark.parametrize("size", [(16, 16), (24, 8), (1, 1), (17, 9)])
@pytest.mark.parametrize("output_format", FORMATS)
def test_any_size_will_do(output_format: str, size: tuple[int, int]) -> None:
    width, height = size

    image = opened(
        picture(Canvas(width=width, height=height), output_format=output_format)
    )

    assert image.size == size


def test_an_animation_has_its_frames_and_its_pace() -> None:
    canvas = Canvas(width=64, height=48, frames=4, frame_duration_ms=120)

    image = opened(picture(canvas, output_format="gif"))

    assert getattr(image, "n_frames", 1) == 4
    assert image.info["duration"] == 120


def test_a_drawing_is_xml() -> None:
    root = ElementTree.fromstring(  # noqa: S314 - made here
        picture(Canvas(width=64, height=48), output_format="svg")
    )

    assert (root.get("width"), root.get("height")) == ("64", "48")


@pytest.mark.parametrize("output_format", ["png", "webp", "jpeg"])
def test_a_fine_image_weighs_a_few_megabytes_and_a_plain_one_less(
    output_format: str,
) -> None:
    low, high = (
        len(
            picture_base64(
                Canvas(width=1024, height=1024, bits=bits), output_format=output_format
            )
        )
        for bits in (1, 6)
    )

    assert low < 1_000_000
    assert 2_000_000 < high < 4_200_000


def test_the_same_settings_give_the_same_bytes_and_others_do_not() -> None:
    first, same, other = (
        picture(Canvas(width=32, height=32, seed=seed), output_format="png")
        for seed in ("a", "a", "b")
    )

    assert first == same
    assert first != other
