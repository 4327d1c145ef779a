"""What is sent to Azure is what Azure's own types have, by a deployment's name."""

from __future__ import annotations

from typing import Any

import pytest
from asking import AZURE, HEADER, ask, request, tool
from azure.ai.projects.models import ImageGenTool
from hypothesis import given
from hypothesis import strategies as st

from imagegate.simulator.dialect import DIALECTS
from imagegate.simulator.image_tool import check_image_tool

POLICY = """
models:
  gpt-image-1-mini: {}
  gpt-image-2: {}
  default: gpt-image-1-mini
  otherwise: { use: gpt-image-1-mini }
deployments: { img-mini: gpt-image-1-mini, img-two: gpt-image-2 }
settings:
  quality: { max: medium, default: low, otherwise: lower }
  size: { max: 1536x1024, default: 1024x1024, otherwise: lower }
  moderation: { allow: [auto], otherwise: { use: auto } }
  background: { allow: [opaque], default: opaque, otherwise: { use: opaque } }
  output_format: { allow: [png], default: png, otherwise: { use: png } }
  partial_images: { max: 1, default: 0, otherwise: lower }
  complexity: { max: low, default: low, otherwise: lower }
  action: { allow: [generate], default: generate, otherwise: { use: generate } }
  frame_count: { max: 4, default: 2, otherwise: lower }
"""
DEPRECATED = {"name", "description", "tool_configs"}
DEPLOYMENTS = {"img-mini": "gpt-image-1-mini", "img-two": "gpt-image-2"}
FOUNDRY = next(dialect for dialect in DIALECTS if dialect.name == "foundry")


def azure_fields() -> set[str]:
    """Read the members of the SDK's own type."""
    return set(ImageGenTool.__annotations__)


def test_the_type_of_the_sdk_is_what_is_read() -> None:
    assert {"type", "model", "quality", "size", "moderation"} <= azure_fields()
    assert azure_fields() >= DEPRECATED
    assert "complexity" not in azure_fields()


SAID = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["img-mini", "img-two", "gpt-image-1.5", "x"]),
        "quality": st.sampled_from(["low", "medium", "high", "auto", "max"]),
        "size": st.sampled_from(["auto", "1024x1024", "2048x2048", "1536x1024"]),
        "moderation": st.sampled_from(["auto", "low"]),
        "background": st.sampled_from(["auto", "opaque", "transparent"]),
        "output_format": st.sampled_from(["png", "webp", "jpeg", "gif"]),
        "partial_images": st.integers(0, 3),
        "action": st.sampled_from(["auto", "generate", "edit"]),
        "name": st.just("old"),
        "description": st.just("old"),
    },
)


@given(said=SAID)
def test_a_tool_for_azure_has_azures_fields_and_a_deployment(
    said: dict[str, Any],
) -> None:
    """Whatever the policy has a default for, and whatever is asked."""
    answer = ask(POLICY, request(tool(**said)), at=AZURE)

    sent = answer.tool
    assert sent.keys() <= azure_fields() - DEPRECATED
    assert sent["model"] in DEPLOYMENTS
    assert dict(answer.headers)[HEADER] == sent["model"]
    check_image_tool(
        sent, "tools[0]", dialect=FOUNDRY, model=DEPLOYMENTS[sent["model"]]
    )


@pytest.mark.parametrize("model", ["gpt-image-1-mini", "gpt-image-2", "IMG-MINI"])
def test_the_name_of_a_model_is_none_of_a_deployment(model: str) -> None:
    """On Azure somebody may have given it to a deployment of another model."""
    answer = ask(POLICY, request(tool(model=model)), at=AZURE)

    assert answer.word == "block" or answer.tool["model"] == "img-mini"
