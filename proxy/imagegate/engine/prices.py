"""What images cost, by a dated table: an estimate, and unknown where it is unknown.

A provider counts the tokens of images apart from those of the text model. Where it
says how many there were, they are multiplied by the price of their kind; where it
says nothing, or the table has no prices of tokens, images are counted at a price
each, if the table has one for their quality and size. A price or a number that is not
known makes the whole unknown: an auditor must not read a part of the bill as the bill.
"""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias, TypeGuard

import msgspec

from imagegate.engine.catalogue import Catalogue
from imagegate.engine.errors import PricesError
from imagegate.engine.sizes import parse_size

_MILLION: Final = Decimal(1_000_000)
_KINDS: Final = ("text_input", "image_input", "image_output")
_HEAD: Final = {"date", "currency", "sources", "providers"}
_MODEL: Final = {"source", "as_of", "tokens", "images"}

Made: TypeAlias = tuple[str | int | None, str | int | None]
"""An image that was made: its quality, its size."""


class ModelPrices(msgspec.Struct, frozen=True, kw_only=True):
    """What one image model costs.

    Attributes:
        source: Which of the table's sources says so.
        as_of: The day on which it said so.
        tokens: A million tokens of each kind: `text_input`, `image_input`,
            `image_output`.
        images: One image, by quality and size.
    """

    source: str
    as_of: str
    tokens: Mapping[str, Decimal] = msgspec.field(default_factory=dict)
    images: Mapping[str, Mapping[str, Decimal]] = msgspec.field(default_factory=dict)


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate.

    Attributes:
        amount: In the table's currency, to the last digit that counts.
        currency: The table's.
        basis: Whether tokens were counted, or images at a price each.
        prices: The table's date.
    """

    amount: Decimal
    currency: str
    basis: Literal["usage", "per_image"]
    prices: str

    @property
    def text(self) -> str:
        """The amount as a plain decimal number."""
        return f"{self.amount.normalize():f}"


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """A price table.

    Attributes:
        date: The day on which it was put together.
        sources: What figures were taken from, by name.
        models: By provider, then by model.
    """

    date: str
    currency: str
    sources: Mapping[str, str]
    models: Mapping[str, Mapping[str, ModelPrices]]

    def estimate(
        self,
        provider: str | None,
        models: Sequence[str],
        usage: Mapping[str, int],
        made: Sequence[Made],
    ) -> Cost | None:
        """Estimate what images cost; None when that is not known.

        Args:
            provider: Who was asked.
            models: Which model drew, by its names; the first in the table counts.
            usage: The tokens that were counted, by the names of records.
            made: The images that were made.
        """
        table = self.models.get(provider or "", {})
        known = next((table[name] for name in models if name in table), None)
        if known is None:
            return None
        by_tokens = bool(usage and (known.tokens or not made))
        amount = _by_tokens(known, usage) if by_tokens else _by_image(known, made)
        if amount is None:
            return None
        return Cost(
            amount=amount,
            currency=self.currency,
            basis="usage" if by_tokens else "per_image",
            prices=self.date,
        )

    def dearest(
        self,
        provider: str | None,
        models: Sequence[str] | None = None,
        made: Made = (None, None),
    ) -> Decimal | None:
        """Return the most that one image may cost by the table; None if that is open.

        What a table prices by tokens alone is taken for the dearest image that it
        knows of the provider: how many tokens an image takes, only its answer tells.

        Args:
            provider: Who is asked.
            models: Which model draws, by its names; None where that is not known.
            made: Its quality and its size, as they are asked for.
        """
        table = self.models.get(provider or "", {})
        if models is None:
            return max(map(_dearest, table.values()), default=None) or None
        known = next((table[name] for name in models if name in table), None)
        if known is None:
            return None
        return _dearest(known, made) if known.images else self.dearest(provider)


def _by_tokens(prices: ModelPrices, usage: Mapping[str, int]) -> Decimal | None:
    """Multiply; what was read from a cache counts in full."""
    counted = {
        "text_input": usage.get("input_text_tokens"),
        "image_input": usage.get("input_image_tokens"),
        "image_output": usage.get("output_image_tokens"),
    }
    if counted["image_output"] is None and not usage.get("output_text_tokens"):
        # The kinds of output are only told apart where there are two.
        counted["image_output"] = usage.get("output_tokens")
    if usage.get("output_text_tokens"):
        return None  # nobody prices the text that an image model writes
    amount = Decimal(0)
    for kind, count in counted.items():
        price = prices.tokens.get(kind)
        if count is None or (price is None and count):
            return None
        amount += count * (price or Decimal(0)) / _MILLION
    return amount


def _by_image(prices: ModelPrices, made: Sequence[Made]) -> Decimal | None:
    found = [
        prices.images.get(str(quality), {}).get(str(size)) for quality, size in made
    ]
    known = [price for price in found if price is not None]
    return sum(known, Decimal(0)) if known and len(known) == len(found) else None


def _dearest(prices: ModelPrices, made: Made = (None, None)) -> Decimal:
    """Return what the dearest image costs that may be meant; 0 where none is priced.

    A quality that is not in the table, or that is left open, may be any of those that
    are. A size that is not there costs its pixels, at the dearest price of one.
    """
    quality, size = map(str, made)
    named = prices.images.get(quality)
    rows = prices.images.values() if named is None else (named,)
    return max((_dearest_of(row, size) for row in rows), default=Decimal(0))


def _dearest_of(row: Mapping[str, Decimal], size: str) -> Decimal:
    wanted = parse_size(size)
    if size in row or wanted is None:
        return row.get(size, max(row.values(), default=Decimal(0)))
    sizes = ((parse_size(name), price) for name, price in row.items())
    pixels = (price / found.pixels for found, price in sizes if found is not None)
    return wanted.pixels * max(pixels, default=Decimal(0))


def read_prices(data: bytes, *, catalogue: Catalogue) -> Prices:
    """Read a price table.

    Raises:
        PricesError: It is no TOML, or not a price table; with all that is wrong.
    """
    try:
        said = tomllib.loads(data.decode(), parse_float=Decimal)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PricesError((f"the table cannot be read: {error}",)) from error
    problems = tuple(_problems(said, catalogue))
    if problems:
        raise PricesError(problems)
    return Prices(
        date=said["date"],
        currency=said["currency"],
        sources=said["sources"],
        models={
            provider: {name: _prices(model) for name, model in models.items()}
            for provider, models in said["providers"].items()
        },
    )


def _prices(said: Mapping[str, Any]) -> ModelPrices:
    return ModelPrices(
        source=said["source"],
        as_of=said["as_of"],
        tokens={kind: Decimal(price) for kind, price in said.get("tokens", {}).items()},
        images={
            quality: {size: Decimal(price) for size, price in sizes.items()}
            for quality, sizes in said.get("images", {}).items()
        },
    )


def _problems(said: Mapping[str, Any], catalogue: Catalogue) -> Iterator[str]:
    yield from _strangers("", said, _HEAD)
    yield from _undated("date", said.get("date"))
    currency = said.get("currency")
    if not (isinstance(currency, str) and len(currency) == 3 and currency.isupper()):  # noqa: PLR2004 - as ISO 4217 has them
        yield "currency: a code of three capitals is expected, such as USD"
    sources, providers = said.get("sources"), said.get("providers")
    if not _is_table(sources) or not all(isinstance(x, str) for x in sources.values()):
        yield "sources: a table is expected, with a sentence for each source"
        sources = {}
    if not _is_table(providers) or not all(map(_is_table, providers.values())):
        yield "providers: a table is expected, with the models of each provider"
        return
    for name, models in providers.items():
        if name not in catalogue.providers:
            yield f"providers.{name}: the catalogue knows no such provider"
            continue
        known = catalogue.provider(name)
        words = known.fields["quality"].words
        for model, prices in models.items():
            where = f"providers.{name}.{model}"
            if known.model(model) is None:
                yield f"{where}: the catalogue knows no such image model"
            yield from _model_problems(where, prices, sources, words)


def _model_problems(
    where: str, said: object, sources: Mapping[str, str], qualities: Sequence[str]
) -> Iterator[str]:
    if not isinstance(said, Mapping):
        yield f"{where}: a table of prices is expected"
        return
    yield from _strangers(where, said, _MODEL)
    if said.get("source") not in sources:
        yield f"{where}.source: one of the table's sources is expected"
    yield from _undated(f"{where}.as_of", said.get("as_of"))
    tokens, images = said.get("tokens", {}), said.get("images", {})
    if not tokens and not images:
        yield f"{where}: prices of `tokens` or of `images` are expected"
    if not _is_table(tokens):
        yield f"{where}.tokens: a table is expected"
    else:
        yield from _strangers(f"{where}.tokens", tokens, set(_KINDS))
        yield from _unpriced(f"{where}.tokens", tokens)
    if not _is_table(images) or not all(map(_is_table, images.values())):
        yield f"{where}.images: a table is expected, with the sizes of each quality"
        return
    yield from _strangers(f"{where}.images", images, set(qualities))
    for quality, sizes in images.items():
        yield from _unpriced(f"{where}.images.{quality}", sizes)
        for size in sizes:
            if parse_size(size) is None:
                yield f"{where}.images.{quality}.{size}: a size is WIDTHxHEIGHT"


def _is_table(said: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(said, Mapping)


def _strangers(where: str, said: Mapping[str, Any], known: set[str]) -> Iterator[str]:
    words = ", ".join(sorted(known))
    for key in sorted(said.keys() - known):
        yield f"{where}.{key}: not known here, there are {words}".removeprefix(".")


def _undated(where: str, said: object) -> Iterator[str]:
    try:
        datetime.date.fromisoformat(said if isinstance(said, str) else "")
    except ValueError:
        yield f'{where}: a day is expected, such as "2026-11-21"'


def _unpriced(where: str, said: Mapping[str, Any]) -> Iterator[str]:
    for key, price in said.items():
        number = isinstance(price, int | Decimal) and not isinstance(price, bool)
        if not number or not Decimal(price).is_finite() or price < 0:
            yield f"{where}.{key}: a price is expected, such as 2.50"
