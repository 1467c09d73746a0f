"""The instruments that the paper venue knows, and its reference quotes for conversions."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.model.money import InstrumentName, InstrumentSpec

D = Decimal

LIQUIDITY = 100_000_000  # one level, as deep as the largest order (docs/paper-choices.md)


def _currency(name: str, margin: str, long_rate: str, short_rate: str) -> InstrumentSpec:
    yen = name.endswith("_JPY")
    return InstrumentSpec(
        name=InstrumentName(name),
        type="CURRENCY",
        display_name=name.replace("_", "/"),
        pip_location=-2 if yen else -4,
        display_precision=3 if yen else 5,
        minimum_trailing_stop_distance=D("0.050") if yen else D("0.00050"),
        maximum_trailing_stop_distance=D("100.000") if yen else D("1.00000"),
        margin_rate=D(margin),
        financing_long_rate=D(long_rate),
        financing_short_rate=D(short_rate),
    )


GOLD = InstrumentSpec(
    name=InstrumentName("XAU_USD"),
    type="METAL",
    display_name="Gold",
    pip_location=-2,
    display_precision=3,
    minimum_trailing_stop_distance=D("0.050"),
    maximum_trailing_stop_distance=D("1000.000"),
    maximum_order_units=D(100_000),
    margin_rate=D("0.05"),
    financing_long_rate=D("-0.0620"),
    financing_short_rate=D("0.0180"),
)

SPECS: dict[InstrumentName, InstrumentSpec] = {
    spec.name: spec
    for spec in (
        _currency("EUR_USD", "0.02", "-0.0240", "0.0060"),
        _currency("USD_JPY", "0.03", "0.0210", "-0.0430"),
        _currency("GBP_USD", "0.03", "-0.0130", "-0.0060"),
        _currency("NZD_USD", "0.03", "-0.0120", "-0.0070"),
        _currency("EUR_GBP", "0.03", "-0.0260", "0.0070"),
        GOLD,
        _currency("AUD_USD", "0.03", "-0.0130", "-0.0060"),
        _currency("USD_CAD", "0.02", "0.0010", "-0.0210"),
        _currency("USD_CHF", "0.03", "0.0190", "-0.0410"),
        _currency("EUR_JPY", "0.03", "0.0020", "-0.0240"),
        _currency("GBP_JPY", "0.03", "0.0170", "-0.0400"),
    )
}

# Where the synthetic market starts, and what is published once as a constant quote when a replay
# has nothing that converts an account's home currency (docs/paper-venue.md).
REFERENCE_MIDS: dict[InstrumentName, Decimal] = {
    InstrumentName("EUR_USD"): D("1.08500"),
    InstrumentName("USD_JPY"): D("149.500"),
    InstrumentName("GBP_USD"): D("1.27000"),
    InstrumentName("NZD_USD"): D("0.60500"),
    InstrumentName("XAU_USD"): D("2350.000"),
    InstrumentName("AUD_USD"): D("0.66000"),
    InstrumentName("USD_CAD"): D("1.36000"),
    InstrumentName("USD_CHF"): D("0.88500"),
}


def spec_of(name: InstrumentName) -> InstrumentSpec:
    """The table's rules, else those that OANDA would have for a currency pair of that name.

    ValueError when the name is not of the form BASE_QUOTE.
    """
    known = SPECS.get(name)
    if known is not None:
        return known
    base, _, quote = name.partition("_")
    if not (base.isalnum() and quote.isalnum() and name == name.upper()):
        raise ValueError(f"not an instrument (BASE_QUOTE): {name!r}")
    return _currency(name, "0.05", "-0.0200", "-0.0200")
