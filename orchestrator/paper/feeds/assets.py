"""What the synthetic market is made of: assets, what moves them, and the spreads of instruments.

A pair is the quotient of its two currencies' values in dollars, so crosses always agree; gold in
euros is gold in dollars over the euro. Indices and commodities have a value of their own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from orchestrator.model.money import InstrumentName
from orchestrator.paper.instruments import REFERENCE_MIDS, SPECS

# What assets share, in the order of the loads below: the dollar, Europe, the mood for risk,
# oil, precious metals, Asia. The shares of EUR, GBP and NZD are set so that days correlate as
# recorded (docs/paper-venue.md), the others after the size of their usual day.
FACTORS = ("dollar", "europe", "risk", "oil", "metals", "asia")


class Asset(NamedTuple):
    """`loads`: percent of a day, a standard deviation for each factor; `own`: its own part.

    `season`: whose day it lives by. `rides`: the asset whose value this one is pegged to.
    """

    start: float  # in dollars; indices and commodities in the currency they are quoted in
    season: str
    loads: tuple[float, float, float, float, float, float]
    own: float
    rides: str = ""


def _in_dollars(currency: str) -> float:
    straight = REFERENCE_MIDS.get(InstrumentName(f"{currency}_USD"))
    if straight is not None:
        return float(straight)
    return 1.0 / float(REFERENCE_MIDS[InstrumentName(f"USD_{currency}")])


_NOTHING = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
# fmt: off
_CURRENCIES: dict[str, tuple[str, tuple[float, float, float, float, float, float], float, str]] = {
    #       season     dollar europe risk   oil   metals asia   own   pegged to
    "EUR": ("europe",  (0.38,  0.24,  0.03, 0.0,  0.0,   0.0),  0.23, ""),
    "GBP": ("europe",  (0.31,  0.21,  0.11, 0.0,  0.0,   0.0),  0.34, ""),
    "CHF": ("europe",  (0.35,  0.22, -0.08, 0.0,  0.04,  0.0),  0.26, ""),
    "JPY": ("pacific", (0.32,  0.0,  -0.22, 0.0,  0.0,   0.22), 0.40, ""),
    "AUD": ("pacific", (0.45,  0.0,   0.28, 0.06, 0.08,  0.15), 0.24, ""),
    "NZD": ("pacific", (0.48,  0.0,   0.24, 0.0,  0.05,  0.15), 0.33, ""),
    "CAD": ("europe",  (0.26,  0.0,   0.13, 0.14, 0.0,   0.0),  0.23, ""),
    "SEK": ("europe",  (0.40,  0.28,  0.12, 0.0,  0.0,   0.0),  0.31, ""),
    "NOK": ("europe",  (0.38,  0.20,  0.12, 0.20, 0.0,   0.0),  0.35, ""),
    "DKK": ("europe",  _NOTHING,                                0.015, "EUR"),
    "PLN": ("europe",  (0.06,  0.08,  0.14, 0.0,  0.0,   0.0),  0.24, "EUR"),
    "HUF": ("europe",  (0.08,  0.10,  0.18, 0.0,  0.0,   0.0),  0.36, "EUR"),
    "CZK": ("europe",  (0.03,  0.04,  0.06, 0.0,  0.0,   0.0),  0.20, "EUR"),
    "TRY": ("europe",  (0.12,  0.0,   0.12, 0.0,  0.0,   0.0),  0.50, ""),
    "ZAR": ("europe",  (0.40,  0.10,  0.42, 0.0,  0.15,  0.0),  0.58, ""),
    "MXN": ("europe",  (0.22,  0.0,   0.40, 0.06, 0.0,   0.0),  0.46, ""),
    "SGD": ("pacific", (0.22,  0.03,  0.05, 0.0,  0.0,   0.08), 0.11, ""),
    "HKD": ("pacific", _NOTHING,                                0.03, ""),
    "CNH": ("pacific", (0.14,  0.0,   0.05, 0.0,  0.0,   0.08), 0.14, ""),
    "THB": ("pacific", (0.22,  0.0,   0.08, 0.0,  0.06,  0.12), 0.28, ""),
    "XAU": ("metals",  (0.30,  0.0,  -0.05, 0.0,  0.68,  0.0),  0.35, ""),
    "XAG": ("metals",  (0.35,  0.0,   0.20, 0.0,  1.10,  0.0),  0.85, ""),
    "XPT": ("metals",  (0.30,  0.0,   0.30, 0.0,  0.60,  0.0),  0.95, ""),
    "XPD": ("metals",  (0.25,  0.0,   0.45, 0.0,  0.40,  0.0),  1.50, ""),
}
_ALONE: dict[str, Asset] = {
    #                      start      season     dollar europe risk   oil  metals asia   own
    "SPX500": Asset(5200.0,  "america", (0.0,   0.0,  0.75, 0.0,  0.0, 0.0),  0.42),
    "NAS100": Asset(18100.0, "america", (0.0,   0.0,  1.00, 0.0,  0.0, 0.0),  0.65),
    "US30":   Asset(39200.0, "america", (0.0,   0.0,  0.62, 0.05, 0.0, 0.0),  0.38),
    "DE30":   Asset(18300.0, "europe",  (-0.08, 0.15, 0.70, 0.0,  0.0, 0.0),  0.55),
    "EU50":   Asset(5000.0,  "europe",  (-0.08, 0.15, 0.72, 0.0,  0.0, 0.0),  0.50),
    "UK100":  Asset(8200.0,  "europe",  (-0.05, 0.05, 0.50, 0.15, 0.0, 0.0),  0.45),
    "JP225":  Asset(38700.0, "pacific", (-0.15, 0.0,  0.65, 0.0,  0.0, -0.30), 0.85),
    "WTICO":  Asset(78.5,    "america", (0.10,  0.0,  0.35, 1.70, 0.0, 0.0),  0.60),
    "BCO":    Asset(82.5,    "america", (0.10,  0.0,  0.35, 1.65, 0.0, 0.0),  0.50),
    "NATGAS": Asset(2.55,    "america", (0.0,   0.0,  0.10, 0.40, 0.0, 0.0),  3.10),
    "CORN":   Asset(4.45,    "america", (0.15,  0.0,  0.10, 0.15, 0.0, 0.0),  1.35),
    "USB10Y": Asset(109.5,   "america", (0.05,  0.0, -0.12, 0.0,  0.0, 0.0),  0.30),
}

# In pips, in a quiet hour of the day (EUR_USD, NZD_USD as recorded; others after OANDA's own page).
SPREADS: dict[str, float] = {
    "EUR_USD": 1.12, "USD_JPY": 1.3, "GBP_USD": 1.5, "NZD_USD": 2.25, "EUR_GBP": 1.4,
    "XAU_USD": 28.0, "AUD_USD": 1.4, "USD_CAD": 1.8, "USD_CHF": 1.6, "EUR_JPY": 1.8,
    "GBP_JPY": 2.8, "EUR_CHF": 1.9, "EUR_AUD": 2.6, "EUR_CAD": 2.5, "EUR_NZD": 4.2,
    "GBP_CHF": 3.0, "GBP_AUD": 3.4, "GBP_CAD": 3.4, "GBP_NZD": 5.4, "AUD_JPY": 1.8,
    "AUD_NZD": 3.0, "AUD_CAD": 2.2, "AUD_CHF": 2.2, "CAD_JPY": 2.2, "CAD_CHF": 2.3,
    "CHF_JPY": 2.6, "NZD_JPY": 2.3, "NZD_CAD": 2.8, "NZD_CHF": 2.7, "EUR_SEK": 45.0,
    "EUR_NOK": 48.0, "EUR_DKK": 15.0, "EUR_PLN": 25.0, "EUR_HUF": 22.0, "EUR_CZK": 130.0,
    "EUR_TRY": 600.0, "EUR_SGD": 4.5, "EUR_ZAR": 130.0, "USD_SEK": 38.0, "USD_NOK": 40.0,
    "USD_DKK": 14.0, "USD_PLN": 22.0, "USD_HUF": 19.0, "USD_CZK": 110.0, "USD_TRY": 500.0,
    "USD_ZAR": 95.0, "USD_MXN": 45.0, "USD_SGD": 2.8, "USD_HKD": 3.5, "USD_CNH": 7.0,
    "USD_THB": 6.0, "SGD_JPY": 2.6, "ZAR_JPY": 1.6, "XAG_USD": 220.0, "XPT_USD": 180.0,
    "XPD_USD": 420.0, "XAU_EUR": 32.0, "XAG_EUR": 240.0, "SPX500_USD": 0.5, "NAS100_USD": 1.6,
    "US30_USD": 2.2, "DE30_EUR": 1.4, "EU50_EUR": 1.6, "UK100_GBP": 1.3, "JP225_USD": 8.0,
    "WTICO_USD": 3.0, "BCO_USD": 3.0, "NATGAS_USD": 0.6, "CORN_USD": 1.2, "USB10Y_USD": 1.0,
}
# fmt: on

ASSETS: dict[str, Asset] = {
    name: Asset(_in_dollars(name), season, loads, own, rides)
    for name, (season, loads, own, rides) in _CURRENCIES.items()
} | _ALONE
INDEX = {name: place for place, name in enumerate(ASSETS)}

Legs = tuple[tuple[int, float], ...]  # place among the assets, and +1 or -1


def legs_of(name: InstrumentName) -> Legs:
    """Which assets' log values make the instrument's. KeyError when one of them is unknown."""
    base, _, quote = name.partition("_")
    if base in _ALONE:
        return ((INDEX[base], 1.0),)
    return tuple(
        (INDEX[each], sign) for each, sign in ((base, 1.0), (quote, -1.0)) if each != "USD"
    )


def log_start(name: InstrumentName) -> float:
    """The logarithm of the mid that the market starts at."""
    values = tuple(ASSETS.values())
    return math.fsum(sign * math.log(values[place].start) for place, sign in legs_of(name))


def can_price(name: InstrumentName) -> bool:
    """Whether the synthetic market knows the instrument."""
    return name in SPECS and name in SPREADS
