"""What images cost: by the table, or unknown."""

from __future__ import annotations

from decimal import Decimal

import pytest

from imagegate import shipped
from imagegate.engine.errors import PricesError
from imagegate.engine.prices import Cost, Made, Prices, read_prices

CATALOGUE = shipped.catalogue()
TABLE = """
date = "2026-11-21"
currency = "USD"
sources = { "own contract" = "our price list of 2026" }
[providers.openai.gpt-image-2]
source = "own contract"
as_of = "2026-10-01"
tokens = { text_input = 5, image_input = 8.00, image_output = 30.00 }
images = { low = { 1024x1024 = 0.006 }, high = { 1024x1024 = 0.211 } }
[providers.openai.gpt-image-1-mini]
source = "own contract"
as_of = "2026-10-01"
tokens = { image_output = 8.00 }
"""
LOW = ("low", "1024x1024")


def table(text: str = TABLE) -> Prices:
    return read_prices(text.encode(), catalogue=CATALOGUE)


def cost(
    usage: dict[str, int], *made: Made, model: str = "gpt-image-2"
) -> tuple[str, str] | None:
    found = table().estimate("openai", ["x", model], usage, made)
    return None if found is None else (found.text, found.basis)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_text_tokens": 40, "input_image_tokens": 0, "output_tokens": 196},
         "0.00608"),
        ({"input_text_tokens": 40, "input_image_tokens": 1_000_000,
          "output_image_tokens": 196, "output_tokens": 200}, "8.00608"),
        ({"input_text_tokens": 0, "input_image_tokens": 0, "output_tokens": 0}, "0"),
        ({"input_text_tokens": 40, "input_image_tokens": 0, "output_tokens": 196,
          "output_text_tokens": 0, "cached_tokens": 30}, "0.00608"),
        ({"input_tokens": 40, "output_tokens": 196}, None),
        ({"input_text_tokens": 40, "output_tokens": 196}, None),
        ({"input_text_tokens": 40, "input_image_tokens": 0}, None),
        ({"input_text_tokens": 40, "input_image_tokens": 0, "output_tokens": 196,
          "output_text_tokens": 9}, None),
        ({"input_text_tokens": 4, "input_image_tokens": 0, "output_image_tokens": 5,
          "output_text_tokens": 9}, None),
    ],
)  # fmt: skip
def test_tokens_are_multiplied_where_all_are_known(
    usage: dict[str, int], expected: str | None
) -> None:
    """A number that is not known is never zero, and makes the whole unknown."""
    assert cost(usage, LOW) == (expected and (expected, "usage"))


def test_images_are_counted_where_the_table_has_no_price_of_their_tokens() -> None:
    told = {"input_text_tokens": 40, "input_image_tokens": 0, "output_tokens": 196}
    none = dict.fromkeys(told, 0)
    prices = shipped.prices()

    def spent(usage: dict[str, int], *made: Made) -> tuple[str, str] | None:
        found = prices.estimate("openai", ["gpt-image-2"], usage, made)
        return None if found is None else (found.text, found.basis)

    assert spent(told, LOW) == ("0.006", "per_image")
    assert spent(told, ("auto", "1024x1024")) is None
    assert spent(none) == ("0", "usage")


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ([LOW], "0.006"),
        ([LOW, ("high", "1024x1024")], "0.217"),
        ([LOW, ("high", "1536x1024")], None),
        ([("medium", "1024x1024")], None),
        ([(None, "1024x1024")], None),
        ([], None),
    ],
)
def test_images_are_counted_where_no_tokens_are(
    made: list[Made], expected: str | None
) -> None:
    """Each at its price, if each has one; nothing made is nothing known."""
    assert cost({}, *made) == (expected and (expected, "per_image"))


@pytest.mark.parametrize(
    ("models", "made", "expected"),
    [
        (["x", "gpt-image-2"], ("low", "1024x1024"), "0.006"),
        (["gpt-image-2"], ("auto", "1024x1024"), "0.211"),
        (["gpt-image-2"], (None, None), "0.211"),
        (["gpt-image-2"], ("low", "auto"), "0.006"),
        (["gpt-image-2"], ("low", "2048x1024"), "0.012"),
        (["gpt-image-2"], ("xhigh", "512x1024"), "0.1055"),
        (["gpt-image-1-mini"], ("low", "1024x1024"), "0.211"),  # it has tokens alone
        (["gpt-image-1.5"], ("low", "1024x1024"), None),
        (None, (None, None), "0.211"),
    ],
)
def test_what_an_image_costs_at_most(
    models: list[str] | None, made: Made, expected: str | None
) -> None:
    found = table().dearest("openai", models, made)

    assert found == (expected and Decimal(expected))


def test_where_no_image_has_a_price_nothing_is_the_dearest() -> None:
    tokens = TABLE.replace("images = {", "tokens2 = {").splitlines()
    bare = table("\n".join(x for x in tokens if not x.startswith("tokens2")))

    assert bare.dearest("openai") is None
    assert bare.dearest("openai", ["gpt-image-2"]) is None
    assert table().dearest("azure") is None
    assert table().dearest(None) is None


def test_a_kind_without_a_price_costs_nothing_only_if_there_was_none() -> None:
    """This table knows the output of the model alone."""
    output = {"input_text_tokens": 0, "input_image_tokens": 0, "output_tokens": 1000}

    assert cost(output, model="gpt-image-1-mini") == ("0.008", "usage")
    assert cost({**output, "input_text_tokens": 1}, model="gpt-image-1-mini") is None


@pytest.mark.parametrize(
    ("provider", "models"),
    [
        ("openai", []),
        ("openai", ["gpt-image-1"]),
        ("azure", ["gpt-image-2"]),
        (None, []),
    ],
)
def test_what_is_not_in_the_table_is_unknown(
    provider: str | None, models: list[str]
) -> None:
    """Another provider's prices say nothing."""
    assert table().estimate(provider, models, {}, [LOW]) is None


def test_an_estimate_names_its_table() -> None:
    """By its date, with the currency."""
    assert table().estimate("openai", ["gpt-image-2"], {}, [LOW]) == Cost(
        amount=Decimal("0.006"), currency="USD", basis="per_image", prices="2026-11-21"
    )


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("date = ", ["the table cannot be read: Invalid value (at end of document)"]),
        (
            "",
            [
                'date: a day is expected, such as "2026-11-21"',
                "currency: a code of three capitals is expected, such as USD",
                "sources: a table is expected, with a sentence for each source",
                "providers: a table is expected, with the models of each provider",
            ],
        ),
        (
            (
                'date = 2026-11-21\ncurrency = "usd"\nsources = { a = 1 }\n'
                "providers = { openai = 7 }\nprice = 1"
            ),
            [
                "price: not known here, there are currency, date, providers, sources",
                'date: a day is expected, such as "2026-11-21"',
                "currency: a code of three capitals is expected, such as USD",
                "sources: a table is expected, with a sentence for each source",
                "providers: a table is expected, with the models of each provider",
            ],
        ),
        (
            TABLE.replace("openai.gpt-image-2]", "openei.gpt-image-2]").replace(
                "gpt-image-1-mini", "gpt-image-1-minni"
            ),
            [
                "providers.openei: the catalogue knows no such provider",
                (
                    "providers.openai.gpt-image-1-minni:"
                    " the catalogue knows no such image model"
                ),
            ],
        ),
        (
            TABLE.replace('as_of = "2026-10-01"', 'as_of = "soon"', 1)
            .replace('"own contract"\nas', '"ours"\nas', 1)
            .replace("text_input = 5", "text_inputs = true")
            .replace("8.00,", "-1,")
            .replace("30.00", "inf")
            .replace("low", "ultra")
            .replace("high = { 1024x1024 = 0.211", 'high = { 1024X1024 = "0.2"'),
            [
                (
                    "providers.openai.gpt-image-2.source:"
                    " one of the table's sources is expected"
                ),
                (
                    "providers.openai.gpt-image-2.as_of:"
                    ' a day is expected, such as "2026-11-21"'
                ),
                (
                    "providers.openai.gpt-image-2.tokens.text_inputs: not known here,"
                    " there are image_input, image_output, text_input"
                ),
                (
                    "providers.openai.gpt-image-2.tokens.text_inputs:"
                    " a price is expected, such as 2.50"
                ),
                (
                    "providers.openai.gpt-image-2.tokens.image_input:"
                    " a price is expected, such as 2.50"
                ),
                (
                    "providers.openai.gpt-image-2.tokens.image_output:"
                    " a price is expected, such as 2.50"
                ),
                (
                    "providers.openai.gpt-image-2.images.ultra: not known here,"
                    " there are auto, high, low, max, medium, xhigh"
                ),
                (
                    "providers.openai.gpt-image-2.images.high.1024X1024:"
                    " a price is expected, such as 2.50"
                ),
                (
                    "providers.openai.gpt-image-2.images.high.1024X1024:"
                    " a size is WIDTHxHEIGHT"
                ),
            ],
        ),
        (
            TABLE.replace("tokens = { image_output = 8.00 }", "")
            + "[providers.openai.gpt-image-1]\n"
            'source = "own contract"\nas_of = "2026-10-01"\ntokens = 1\nimages = 2\n',
            [
                (
                    "providers.openai.gpt-image-1-mini:"
                    " prices of `tokens` or of `images` are expected"
                ),
                "providers.openai.gpt-image-1.tokens: a table is expected",
                (
                    "providers.openai.gpt-image-1.images:"
                    " a table is expected, with the sizes of each quality"
                ),
            ],
        ),
        (
            TABLE + '[providers.azure]\ngpt-image-2 = "free"\n',
            ["providers.azure.gpt-image-2: a table of prices is expected"],
        ),
    ],
)
def test_everything_wrong_with_a_table_is_said_at_once(
    text: str, problems: list[str]
) -> None:
    """Each with its place, before the first request."""
    with pytest.raises(PricesError) as caught:
        table(text)

    assert list(caught.value.problems) == problems


def test_a_table_that_is_no_text_is_refused() -> None:
    """Whatever an editor made of it."""
    with pytest.raises(PricesError, match="cannot be read"):
        read_prices(b"\xff", catalogue=CATALOGUE)


def test_the_table_that_ships_names_a_source_and_a_day_for_each_model() -> None:
    """And agrees with itself: tokens and images of a model cost about the same."""
    found = shipped.prices()

    assert found.date == CATALOGUE.date
    for models in found.models.values():
        for prices in models.values():
            assert prices.source in found.sources
            assert prices.as_of <= found.date
    # 272 output tokens make a small square at low quality before gpt-image-2.
    mini = found.models["openai"]["gpt-image-1"]
    assert (
        round(272 * mini.tokens["image_output"] / 1_000_000, 3)
        == mini.images["low"]["1024x1024"]
    )
