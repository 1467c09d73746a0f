"""C15: what the account, and all of them together, are exposed to stays within bounds."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.kernel.safety.exposure import Exposed, Load
from orchestrator.kernel.safety.view import View, money_text, notional_of
from orchestrator.model.limits import CheckLimits
from orchestrator.model.money import ZERO, Currency, InstrumentName
from orchestrator.model.signals import Proposal


def c15_exposure(order: Proposal, view: View) -> str | None:
    """Instrument <= 10, currency <= 12, gross <= 15 x NAV; total gross <= 15 x total NAV.

    All of them, not only those that the order touches: an account that is over somewhere takes no
    new risk anywhere.
    """
    funds, totals, now = view.funds, view.totals, view.exposed
    if funds is None or totals is None or now is None or view.gross_total is None:
        return "C15 exposures of the account, or of all accounts, are unknown"
    if view.market is None or view.factors is None:
        return "C15 the order's worth in home currency is unknown"
    value = notional_of(order, view.market, view.factors)
    after = with_order(now, order, value, hedging=view.hedging)
    found = _own(after, funds.nav, view.checks)
    if found is not None:
        return found
    total = view.gross_total + (after.gross - now.gross) * totals.rate
    limit = view.checks.gross_exposure_max * totals.nav
    if total > limit:
        return (
            f"C15 gross exposure of all accounts would be {money_text(total)}, limit "
            f"{money_text(limit)} ({view.checks.gross_exposure_max} x their NAV)"
        )
    return None


def _own(after: Exposed, nav: Decimal, checks: CheckLimits) -> str | None:
    for factor, sums in (
        (checks.instrument_exposure_max, after.instruments),
        (checks.currency_exposure_max, after.currencies),
    ):
        for name, load in sums.items():
            if load.worst > factor * nav:
                return _text(name, load.worst, factor, nav)
    if after.gross > checks.gross_exposure_max * nav:
        return _text("gross", after.gross, checks.gross_exposure_max, nav)
    return None


def _text(what: str, worst: Decimal, factor: Decimal, nav: Decimal) -> str:
    return (
        f"C15 {what} exposure would be {money_text(worst)}, limit {money_text(factor * nav)} "
        f"({factor} x NAV)"
    )


def with_order(now: Exposed, order: Proposal, value: Decimal, *, hedging: bool) -> Exposed:
    """The sums with one more order on its way; `value` is its unsigned worth."""
    signed = value * order.side.sign
    base, _, quote = order.instrument.partition("_")
    instrument = _more(now.of(order.instrument), signed)
    currencies = {
        Currency(base): _more(now.in_currency(Currency(base)), signed),
        Currency(quote): _more(now.in_currency(Currency(quote)), -signed),
    }
    grown = value if hedging else instrument.worst - now.of(order.instrument).worst
    return Exposed(
        {**now.instruments, order.instrument: instrument},
        {**now.currencies, **currencies},
        now.gross + grown,
    )


def _more(load: Load, value: Decimal) -> Load:
    more = Load(load.held, load.up, load.down)
    more.add(value, flying=True)
    return more


def room(view: View, name: InstrumentName, sign: int) -> Decimal:
    """The home worth that one more order of this side may have; not above 0: none."""
    funds, totals, now = view.funds, view.totals, view.exposed
    if funds is None or totals is None or now is None or view.gross_total is None:
        return ZERO
    checks, nav = view.checks, funds.nav
    every = checks.gross_exposure_max * totals.nav - view.gross_total
    if _own(now, nav, checks) is not None or every < 0 or totals.rate <= 0:
        return ZERO  # over somewhere: not even what would cost no gross passes
    base, _, quote = name.partition("_")
    own = now.of(name)
    # Up to its other end an instrument's worst does not grow: that part costs no gross.
    free = ZERO if view.hedging else own.worst - own.end(sign)
    gross = checks.gross_exposure_max * nav - now.gross
    total = every / totals.rate
    return min(
        checks.instrument_exposure_max * nav - own.end(sign),
        checks.currency_exposure_max * nav - now.in_currency(Currency(base)).end(sign),
        checks.currency_exposure_max * nav - now.in_currency(Currency(quote)).end(-sign),
        gross + free,
        total + free,
    )
