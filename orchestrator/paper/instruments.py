"""The instruments that the paper venue knows, and its reference quotes for conversions.

Seventy of OANDA's: names, types, pips, precisions and sizes as its instrument list gives them,
margin rates as its European division asks, financing of the size of 2024's rates.
"""

from __future__ import annotations

from decimal import Decimal

from orchestrator.model.money import InstrumentName, InstrumentSpec

D = Decimal

LIQUIDITY = 100_000_000  # one level, as deep as the largest order (docs/paper-choices.md)

_COARSE = frozenset({"JPY", "HUF", "THB"})  # quoted with three decimals


def _currency(name: str, margin: str, long_rate: str, short_rate: str) -> InstrumentSpec:
    coarse = name.partition("_")[2] in _COARSE
    return InstrumentSpec(
        name=InstrumentName(name),
        type="CURRENCY",
        display_name=name.replace("_", "/"),
        pip_location=-2 if coarse else -4,
        display_precision=3 if coarse else 5,
        minimum_trailing_stop_distance=D("0.050") if coarse else D("0.00050"),
        maximum_trailing_stop_distance=D("100.000") if coarse else D("1.00000"),
        margin_rate=D(margin),
        financing_long_rate=D(long_rate),
        financing_short_rate=D(short_rate),
    )


def _metal(
    name: str, display: str, margin: str, units: int, long_rate: str, short_rate: str
) -> InstrumentSpec:
    fine = name.startswith("XAG")
    return InstrumentSpec(
        name=InstrumentName(name),
        type="METAL",
        display_name=display,
        pip_location=-4 if fine else -2,
        display_precision=5 if fine else 3,
        minimum_trailing_stop_distance=D("0.00050") if fine else D("0.050"),
        maximum_trailing_stop_distance=D("10.00000") if fine else D("1000.000"),
        maximum_order_units=D(units),
        margin_rate=D(margin),
        financing_long_rate=D(long_rate),
        financing_short_rate=D(short_rate),
    )


def _index(name: str, display: str, units: int, long_rate: str, short_rate: str) -> InstrumentSpec:
    """A share index: a pip is a point, and a tenth of a unit can be traded."""
    return InstrumentSpec(
        name=InstrumentName(name),
        type="CFD",
        display_name=display,
        pip_location=0,
        display_precision=1,
        trade_units_precision=1,
        minimum_trade_size=D("0.1"),
        minimum_trailing_stop_distance=D("5.0"),
        maximum_trailing_stop_distance=D("10000.0"),
        maximum_order_units=D(units),
        margin_rate=D("0.05"),
        financing_long_rate=D(long_rate),
        financing_short_rate=D(short_rate),
    )


def _commodity(
    name: str, display: str, margin: str, units: int, long_rate: str, short_rate: str
) -> InstrumentSpec:
    return InstrumentSpec(
        name=InstrumentName(name),
        type="CFD",
        display_name=display,
        pip_location=-2,
        display_precision=3,
        minimum_trailing_stop_distance=D("0.050"),
        maximum_trailing_stop_distance=D("100.000"),
        maximum_order_units=D(units),
        margin_rate=D(margin),
        financing_long_rate=D(long_rate),
        financing_short_rate=D(short_rate),
    )


GOLD = _metal("XAU_USD", "Gold", "0.05", 100_000, "-0.0620", "0.0180")

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
        _currency("EUR_CHF", "0.03", "-0.0010", "-0.0190"),
        _currency("EUR_AUD", "0.03", "-0.0220", "0.0020"),
        _currency("EUR_CAD", "0.03", "-0.0190", "0.0000"),
        _currency("EUR_NZD", "0.03", "-0.0260", "0.0060"),
        _currency("GBP_CHF", "0.03", "0.0170", "-0.0380"),
        _currency("GBP_AUD", "0.03", "-0.0080", "-0.0120"),
        _currency("GBP_CAD", "0.03", "-0.0060", "-0.0140"),
        _currency("GBP_NZD", "0.03", "-0.0120", "-0.0080"),
        _currency("AUD_JPY", "0.03", "0.0110", "-0.0330"),
        _currency("AUD_NZD", "0.03", "-0.0150", "-0.0050"),
        _currency("AUD_CAD", "0.03", "-0.0090", "-0.0110"),
        _currency("AUD_CHF", "0.03", "0.0120", "-0.0330"),
        _currency("CAD_JPY", "0.03", "0.0150", "-0.0370"),
        _currency("CAD_CHF", "0.03", "0.0140", "-0.0350"),
        _currency("CHF_JPY", "0.03", "-0.0090", "-0.0110"),
        _currency("NZD_JPY", "0.03", "0.0160", "-0.0380"),
        _currency("NZD_CAD", "0.03", "-0.0050", "-0.0150"),
        _currency("NZD_CHF", "0.03", "0.0160", "-0.0370"),
        _currency("EUR_SEK", "0.05", "-0.0130", "-0.0090"),
        _currency("EUR_NOK", "0.05", "-0.0060", "-0.0170"),
        _currency("EUR_DKK", "0.05", "-0.0120", "-0.0100"),
        _currency("EUR_PLN", "0.05", "-0.0380", "0.0090"),
        _currency("EUR_HUF", "0.05", "-0.0470", "0.0160"),
        _currency("EUR_CZK", "0.05", "-0.0230", "-0.0010"),
        _currency("EUR_TRY", "0.25", "-0.5800", "0.3600"),
        _currency("EUR_SGD", "0.05", "-0.0100", "-0.0120"),
        _currency("EUR_ZAR", "0.05", "-0.0650", "0.0280"),
        _currency("USD_SEK", "0.05", "0.0010", "-0.0250"),
        _currency("USD_NOK", "0.05", "-0.0030", "-0.0200"),
        _currency("USD_DKK", "0.05", "0.0040", "-0.0260"),
        _currency("USD_PLN", "0.05", "-0.0200", "-0.0060"),
        _currency("USD_HUF", "0.05", "-0.0330", "0.0020"),
        _currency("USD_CZK", "0.05", "-0.0080", "-0.0150"),
        _currency("USD_TRY", "0.25", "-0.5500", "0.3400"),
        _currency("USD_ZAR", "0.05", "-0.0480", "0.0140"),
        _currency("USD_MXN", "0.05", "-0.0720", "0.0340"),
        _currency("USD_SGD", "0.05", "0.0060", "-0.0270"),
        _currency("USD_HKD", "0.05", "0.0010", "-0.0210"),
        _currency("USD_CNH", "0.05", "0.0090", "-0.0350"),
        _currency("USD_THB", "0.05", "0.0150", "-0.0400"),
        _currency("SGD_JPY", "0.05", "0.0080", "-0.0330"),
        _currency("ZAR_JPY", "0.05", "0.0480", "-0.0890"),
        _metal("XAG_USD", "Silver", "0.10", 1_000_000, "-0.0680", "0.0160"),
        _metal("XPT_USD", "Platinum", "0.10", 10_000, "-0.0650", "0.0080"),
        _metal("XPD_USD", "Palladium", "0.10", 10_000, "-0.0650", "0.0080"),
        _metal("XAU_EUR", "Gold/EUR", "0.05", 100_000, "-0.0440", "0.0060"),
        _metal("XAG_EUR", "Silver/EUR", "0.10", 1_000_000, "-0.0500", "0.0040"),
        _index("SPX500_USD", "US SPX 500", 2_000, "-0.0780", "0.0280"),
        _index("NAS100_USD", "US Nas 100", 1_000, "-0.0780", "0.0280"),
        _index("US30_USD", "US Wall St 30", 500, "-0.0780", "0.0280"),
        _index("DE30_EUR", "Germany 30", 500, "-0.0640", "0.0140"),
        _index("EU50_EUR", "Europe 50", 3_000, "-0.0640", "0.0140"),
        _index("UK100_GBP", "UK 100", 1_000, "-0.0770", "0.0270"),
        _index("JP225_USD", "Japan 225", 500, "-0.0780", "0.0280"),
        _commodity("WTICO_USD", "West Texas Oil", "0.10", 100_000, "0.0310", "-0.0820"),
        _commodity("BCO_USD", "Brent Crude Oil", "0.10", 100_000, "0.0250", "-0.0760"),
        _commodity("NATGAS_USD", "Natural Gas", "0.10", 200_000, "-0.2900", "0.1900"),
        _commodity("CORN_USD", "Corn", "0.10", 300_000, "-0.1100", "0.0500"),
        _commodity("USB10Y_USD", "US 10Y T-Note", "0.20", 50_000, "-0.0300", "-0.0200"),
    )
}

# What the synthetic market prices unless it is asked for more (--instruments).
USUAL: tuple[InstrumentName, ...] = tuple(SPECS)[:11]

# Where the synthetic market starts, and what is published once as a constant quote when a replay
# has nothing that converts an account's home currency (docs/paper-venue.md).
REFERENCE_MIDS: dict[InstrumentName, Decimal] = {
    InstrumentName(name): D(mid)
    for name, mid in {
        "EUR_USD": "1.08500", "USD_JPY": "149.500", "GBP_USD": "1.27000", "NZD_USD": "0.60500",
        "XAU_USD": "2350.000", "AUD_USD": "0.66000", "USD_CAD": "1.36000", "USD_CHF": "0.88500",
        "USD_SEK": "10.50000", "USD_NOK": "10.70000", "USD_DKK": "6.87500", "USD_PLN": "3.95000",
        "USD_HUF": "362.000", "USD_CZK": "23.20000", "USD_TRY": "32.50000", "USD_ZAR": "18.40000",
        "USD_MXN": "17.20000", "USD_SGD": "1.34500", "USD_HKD": "7.81000", "USD_CNH": "7.24000",
        "USD_THB": "36.200", "XAG_USD": "28.50000", "XPT_USD": "985.000", "XPD_USD": "960.000",
    }.items()
}  # fmt: skip


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
