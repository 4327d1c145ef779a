"""The shipped catalogue says what its sources say, and a wrong one is refused."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

import imagegate
from imagegate.engine.catalogue import Cell, Provider, Unstated, read_catalogue
from imagegate.engine.errors import CatalogueError
from imagegate.engine.sizes import ArbitrarySizes, FixedSizes, Size

TEXT = (Path(imagegate.__file__).parent / "catalogue.toml").read_text("utf-8")
CATALOGUE = read_catalogue(TEXT.encode())
OPENAI = CATALOGUE.provider("openai")
AZURE = CATALOGUE.provider("azure")
CELLS = {
    "background",
    "complexity",
    "input_fidelity",
    "output_format",
    "quality",
    "size",
}


def cell(provider: Provider, model: str, field: str) -> Cell:
    found = provider.model(model)
    assert found is not None
    return found.cells[field]


def test_it_is_dated_and_names_its_sources() -> None:
    """A reader can tell how old it is and look up what it was read from."""
    assert date.fromisoformat(CATALOGUE.date) >= date(2026, 11, 21)
    assert CATALOGUE.sources.keys() >= {"openai-python", "azure-ai-projects"}
    assert CATALOGUE.providers.keys() == {"openai", "azure"}


def test_a_provider_it_does_not_hold_is_a_mistake_of_the_program() -> None:
    """Provider names are not user input."""
    with pytest.raises(KeyError):
        CATALOGUE.provider("example")


def test_the_model_used_when_none_is_named() -> None:
    """Known at OpenAI; at Azure the name is a deployment's."""
    assert OPENAI.default_model == "gpt-image-2.6-sunburst"
    assert AZURE.default_model is None
    assert AZURE.fields["model"].default is Unstated.UNKNOWN


def test_what_only_one_provider_knows() -> None:
    """Fields and words that Azure's types lack are marked, not left out."""
    new = {f for f in OPENAI.fields if f.startswith(("complexity", "frame_", "svg"))}
    old = {"name", "description", "tool_configs"}

    assert {f for f, field in AZURE.fields.items() if not field.known} == new | {"n"}
    assert AZURE.fields.keys() - OPENAI.fields.keys() == old
    assert {f for f, field in AZURE.fields.items() if field.deprecated} == old
    assert AZURE.fields["quality"].words == OPENAI.fields["quality"].words
    assert AZURE.fields["quality"].unlisted == ("xhigh", "max")
    assert OPENAI.fields["n"].server_only


def test_the_images_api_has_the_fields_of_the_tool_and_its_own() -> None:
    """What both have is judged alike."""
    images_api = OPENAI.images_api

    assert images_api["size"] is OPENAI.fields["size"]
    assert "action" not in images_api
    assert (images_api["n"].minimum, images_api["n"].maximum) == (1, 10)
    assert images_api["quality"].deprecated_words == ("standard", "hd")


@pytest.mark.parametrize("provider", [OPENAI, AZURE], ids=["openai", "azure"])
def test_every_model_says_something_about_every_cell(provider: Provider) -> None:
    """Not knowing is said, too."""
    assert {frozenset(model.cells) for model in provider.models.values()} == {
        frozenset(CELLS)
    }


@pytest.mark.parametrize(
    ("provider", "model", "field", "legal", "unknown"),
    [
        (OPENAI, "gpt-image-1-mini", "input_fidelity", "low", ""),
        (OPENAI, "gpt-image-2", "input_fidelity", "", ""),
        (AZURE, "gpt-image-2", "input_fidelity", "", "low high"),
        (AZURE, "gpt-image-1-mini", "input_fidelity", "", ""),
        (OPENAI, "gpt-image-2", "quality", "low medium high auto", ""),
        (OPENAI, "gpt-image-2", "background", "opaque auto", "transparent"),
        (
            OPENAI,
            "gpt-image-2.5-flare",
            "quality",
            "low medium high xhigh max auto",
            "",
        ),
        (
            OPENAI,
            "gpt-image-2.6-sunburst",
            "quality",
            "low medium high auto",
            "xhigh max",
        ),
        (
            OPENAI,
            "dall-e-3",
            "quality",
            "",
            "low medium high xhigh max auto standard hd",
        ),
        (
            OPENAI,
            "gpt-image-1-mini",
            "size",
            "1024x1024 1536x1024 1024x1536",
            "auto",
        ),
        (OPENAI, "gpt-image-2", "size", "1024x1024 1536x1024 1024x1536 auto", ""),
        (AZURE, "gpt-image-2.6-flare", "size", "", "auto"),
        (OPENAI, "dall-e-2", "size", "256x256 512x512 1024x1024", ""),
        (OPENAI, "chatgpt-image-latest", "size", "", "auto"),
    ],
)
def test_what_models_take(
    provider: Provider, model: str, field: str, legal: str, unknown: str
) -> None:
    """Closed, partly known, unknown or to be omitted, as the sources have it."""
    found = cell(provider, model, field)

    assert " ".join(found.legal) == legal
    assert " ".join(found.unknown) == unknown


def test_what_models_make() -> None:
    """A list, arithmetic, arithmetic that is only assumed, or nothing known."""
    models = OPENAI.models
    arbitrary = models["gpt-image-2"].sizes
    assumed = models["gpt-image-2.6-flare"].sizes

    assert isinstance(arbitrary, ArbitrarySizes)
    assert isinstance(assumed, ArbitrarySizes)
    assert (arbitrary.assumed, assumed.assumed) == (False, True)
    assert models["chatgpt-image-latest"].sizes is None
    assert models["dall-e-2"].sizes == FixedSizes(
        sizes=tuple(Size(width=edge, height=edge) for edge in (256, 512, 1024))
    )


@pytest.mark.parametrize(
    ("provider", "name", "retires"),
    [
        (OPENAI, "gpt-image-1", "2026-10-23"),
        (OPENAI, "dall-e-2", "2026-05-12"),
        (OPENAI, "dall-e-3", "2026-05-12"),
        (OPENAI, "gpt-image-1-mini", None),
        (AZURE, "gpt-image-1", None),
    ],
)
def test_when_models_retire(provider: Provider, name: str, retires: str | None) -> None:
    """The providers' dates differ."""
    assert provider.models[name].retires == retires


def test_names_of_models() -> None:
    """Snapshots lead to their row; the one moving alias is marked."""
    snapshot = OPENAI.model("gpt-image-2.5-sunburst-2026-09-08")

    assert snapshot is OPENAI.models["gpt-image-2.5-sunburst"]
    assert OPENAI.model("gpt-image-2.5") is None
    assert [model.name for model in OPENAI.models.values() if model.moving] == [
        "chatgpt-image-latest"
    ]


def test_every_provider_has_every_rule() -> None:
    """Their order is that of the file."""
    ids = [rule.id for rule in OPENAI.rules]

    assert [rule.id for rule in AZURE.rules] == ids
    assert len(ids) == 8


@pytest.mark.parametrize(
    "data",
    [b"\xff", b"date = ", b"date = 1", b"", b'date = "2026-01-01"', TEXT.encode()[:-9]],
    ids=["not-utf-8", "not-toml", "wrong-type", "empty", "incomplete", "cut"],
)
def test_what_is_no_catalogue_is_refused(data: bytes) -> None:
    """Whatever is wrong, it is one kind of error."""
    with pytest.raises(CatalogueError):
        read_catalogue(data)


TWO = "[providers.openai.models.gpt-image-2]\n"
SIZE = '{ arbitrary = "gpt-image-2", standard = "standard", auto = "legal" }'


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ('date = "2026-11-21"', 'date = "today"', "date: 'today' is no ISO date"),
        ('"512x512"', '"512 x 512"', "sizes.fixed.dall-e-2: not every size is"),
        ('id = "gif-refuses-mask"', 'id = "svg-needs-svg"', "rules: a name occurs"),
        (
            'words = ["generate", "edit", "auto"]',
            'words = ["edit", "edit", "auto"]',
            "openai.action: a name occurs twice",
        ),
        ('moderation = "generations"', 'm = "edits"', "images_api.only: 'm' is not"),
        ('usual = ["responses=exp', 'usual = ["x=exp', "interface.previews: 'x=exp"),
        ('["v1", "preview"', '["v1", "v1"', "interface.api_versions: a name"),
        ('"beta=true", "agents=v1"', '"agents=v1", "agents=v1"', "a name occurs"),
        ('unlisted = ["xhigh"', 'unlisted = ["ultra"', "azure.quality: 'ultra' is"),
        ('deprecated_words = ["standard"', 'deprecated_words = ["s"', "'s' is not"),
        (
            '{ kind = "word", words = ["low", "auto"], default = "auto" }',
            '{ kind = "word" }',
            "openai.moderation: a word field needs words",
        ),
        ("maximum = 10,", "", "images_api.n: a range has two ends"),
        ('default = "gpt-image-2.6-sunburst"', "default = 1", "openai.model: the"),
        ("maximum = 16, default = 9", "maximum = 8, default = 9", "the default 9 is"),
        (
            'words = ["low", "auto"], default = "auto"',
            'words = ["low", "auto"], default = "no"',
            "openai.moderation: the default 'no' is no value of the field",
        ),
        ('"svg.model" =', '"swg.model" =', "openai.swg.model: 'swg' is no object"),
        ('"svg.model" =', '"size.model" =', "'size' is no object"),
        ('shares = [\n  "background"', 'shares = [\n  "x"', "images_api: 'x' is not"),
        ('rules = [\n  "transparent-', 'rules = [\n  "x-', "openai.rules: 'x-needs-"),
        ('fields = ["n"]', 'fields = ["m"]', "svg-makes-one-image: 'm' is not known"),
        (
            'when = { words = ["transparent"] }',
            'when = { words = ["clear"] }',
            "transparent-needs-alpha: 'clear' is not known",
        ),
        (
            'field = "output_format", among = ["png"',
            'field = "format", among = ["png"',
            "transparent-needs-alpha: no field 'format'",
        ),
        ('among = ["png", "webp"]', 'among = ["bmp"]', "alpha: 'bmp' is not known"),
        ('not_among = ["gif"]', "among = []", "needs either among or not_among"),
        (
            TWO + "snapshots = [",
            TWO + 'aliases = ["dall-e-2"]\nsnapshots = [',
            "openai.models: a name occurs twice",
        ),
        (
            'model = { kind = "name", default = "g',
            'm = { kind = "name", default = "g',
            "openai.fields: there must be a field 'model'",
        ),
        ('default = "gpt-image-2.6-sunburst"', 'default = "g"', "openai.model: 'g' is"),
        ('retires = "2026-10-23"', 'retires = "soon"', "gpt-image-1: 'soon' is no ISO"),
        ("input_fidelity = []", "", "gpt-image-2: no cell for 'input_fidelity'"),
        ("input_fidelity = []", "i = []", "gpt-image-2.cells: 'i' is not known"),
        (
            "input_fidelity = []",
            'input_fidelity = ["x"]',
            "openai.gpt-image-2.input_fidelity: 'x' is not known",
        ),
        (
            'legal = ["opaque", "auto"]',
            'legal = ["transparent"]',
            "openai.gpt-image-2.background: a name occurs twice",
        ),
        (SIZE, '{ auto = "legal" }', "size: either fixed or arbitrary"),
        (
            SIZE,
            '{ arbitrary = "gpt-image-2", fixed = "standard", auto = "legal" }',
            "size: either fixed or arbitrary",
        ),
        (
            SIZE,
            '{ arbitrary = "gpt-image-2", auto = "illegal" }',
            "size: auto can be illegal only where sizes are fixed",
        ),
        (SIZE, '{ fixed = "x", auto = "legal" }', "gpt-image-2.size: 'x' is not known"),
        (SIZE, '{ arbitrary = "x", auto = "legal" }', "size: 'x' is not known"),
    ],
)
def test_a_catalogue_that_contradicts_itself_is_refused(
    right: str, wrong: str, fault: str
) -> None:
    """The message says where, and what is wrong there."""
    assert right in TEXT

    with pytest.raises(CatalogueError) as caught:
        read_catalogue(TEXT.replace(right, wrong, 1).encode())

    assert fault in str(caught.value)


def test_everything_wrong_is_said_at_once() -> None:
    """Whoever updates the file need not run it once for each mistake."""
    text = TEXT.replace('retires = "2026', 'retires = "early 2026')

    with pytest.raises(CatalogueError) as caught:
        read_catalogue(text.encode())

    assert str(caught.value).count("is no ISO date") == 3


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("[sources]", "[source]"), ("per_model", "per_models"), ('id = "', 'ids = "')],
)
def test_a_misspelt_key_is_refused(right: str, wrong: str) -> None:
    """It would otherwise be a fact that silently does not hold."""
    with pytest.raises(CatalogueError):
        read_catalogue(TEXT.replace(right, wrong, 1).encode())
