"""Answers as tables: what each column says, and which ones a narrow terminal goes without."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from orchestrator.service.cli.answers import (
    Account,
    AccountLimits,
    Agent,
    Breaker,
    EndedRow,
    Exported,
    Listed,
    MarketSpan,
    Order,
    Override,
    Performance,
    Position,
    SignalRow,
    Trade,
)
from orchestrator.service.cli.options import tell_next
from orchestrator.service.cli.screen import Cell, Column, Row, Screen, signed_style
from orchestrator.service.cli.texts import (
    UNKNOWN,
    count,
    latency,
    moment,
    money,
    number,
    percent,
    ratio,
    units,
)

_GOOD_WORDS = {"healthy", "open", "running", "armed", "filled", "ok", "ready", "done"}
_BAD_WORDS = {
    "unhealthy", "halt", "stopped", "latched", "tripped", "failed", "stopped_not_flat", "degraded",
    "unknown", "refused", "absent",
}  # fmt: skip
_WARN_WORDS = {
    "not_sent",
    "written",
    "reduce",
    "probing",
    "starting",
    "reconciling",
    "draining",
    "expired",
    "disabled",
}
ACCOUNT = Column("account")


def word(text: str) -> Cell:
    """A state, in the colour of its meaning."""
    if text in _GOOD_WORDS:
        return Cell(text, "good")
    if text in _BAD_WORDS:
        return Cell(text, "bad")
    return Cell(text, "warn" if text in _WARN_WORDS else "")


def pl(amount: Decimal | None, currency: str = "") -> Cell:
    return Cell(money(amount, currency, signed=True), signed_style(amount))


# --- Agents --------------------------------------------------------------------------------------

_AGENTS = (
    Column("agent"), Column("state"), Column("handled", right=True, drop=2),
    Column("errors", right=True), Column("p50", right=True, drop=1), Column("p99", right=True),
    Column("version", drop=4), Column("where", drop=3), Column("reason", fold=True),
)  # fmt: skip


def agents(screen: Screen, found: Listed[Agent]) -> None:
    rows: list[Row] = [
        (
            a.agent_id, word(a.state), f"{a.handled:,}", Cell(f"{a.errors:,}", _many(a.errors)),
            latency(a.p50_us), latency(a.p99_us), a.version, a.where, a.reason,
        )
        for a in found.items
    ]  # fmt: skip
    screen.table(_AGENTS, rows, "no agents are registered")


def _many(errors: int) -> str:
    return "warn" if errors else ""


def agent(screen: Screen, a: Agent) -> None:
    screen.line(f"{a.agent_id} ({a.role})", "bold")
    rows: list[tuple[str, str | Cell]] = [
        ("state", word(a.state)),
        ("reason", a.reason),
        ("since", f"{moment(a.since_at)} UTC"),
        ("last check", f"{moment(a.last_check_at)} UTC"),
        ("handled", f"{a.handled:,}"),
        ("errors", f"{a.errors:,} ({a.error_rate:.2%})"),
        ("last error", Cell(a.last_error, "warn")),
        ("response", f"p50 {latency(a.p50_us)}, p99 {latency(a.p99_us)}"),
        ("round trip", latency(a.round_trip_us)),
        ("available", f"{a.availability:.2%}"),
        ("restarts", f"{a.restarts:,}"),
        ("runs", f"{a.where}, instance {a.instance}, version {a.version}"),
        ("lease", "" if a.lease_ms is None else f"{a.lease_ms / 1000:.1f} s left"),
        ("hears", ", ".join(a.hears)),
        ("says", ", ".join(a.says)),
    ]
    screen.pairs([(label, value) for label, value in rows if _text(value)])


def _text(value: str | Cell) -> str:
    return value.text if isinstance(value, Cell) else value


# --- Accounts ------------------------------------------------------------------------------------

_ACCOUNTS = (
    ACCOUNT, Column("mode"), Column("NAV", right=True), Column("P/L of the day", right=True),
    Column("open P/L", right=True, drop=2), Column("drawdown", right=True, drop=3),
    Column("trades", right=True, drop=1),
)  # fmt: skip


def accounts(screen: Screen, found: Listed[Account]) -> None:
    rows: list[Row] = [
        (
            a.account_id, mode_of(a), money(a.nav, a.currency), pl(a.day_pl),
            pl(a.unrealized_pl), percent(a.drawdown_fraction), str(a.open_trades),
        )
        for a in found.items
    ]  # fmt: skip
    screen.table(_ACCOUNTS, rows, "no accounts are configured")
    for a in found.items:
        if a.blocked_by:
            blocks = ", ".join(a.blocked_by)
            screen.hanging(f"{a.account_id}  ", f"no new trades: {blocks}", "warn")


def mode_of(account: Account) -> Cell:
    return word(account.mode if account.enabled else "disabled")


def account(screen: Screen, a: Account) -> None:
    screen.line(f"{a.account_id} ({a.currency})", "bold")
    rows: list[tuple[str, str | Cell]] = [
        ("mode", mode_of(a)),
        ("blocked by", Cell(", ".join(a.blocked_by) or "nothing", "warn" if a.blocked_by else "")),
        ("NAV", money(a.nav, a.currency)),
        ("balance", money(a.balance, a.currency)),
        ("P/L of the day", pl(a.day_pl, a.currency)),
        ("open P/L", pl(a.unrealized_pl, a.currency)),
        ("day began with", money(a.equity_start, a.currency)),
        ("day's loss", percent(a.day_loss_fraction)),
        ("peak", money(a.peak, a.currency)),
        ("drawdown", percent(a.drawdown_fraction)),
        ("margin used", money(a.margin_used, a.currency)),
        ("open", f"{count(a.open_trades, 'trade')}, {count(a.pending_orders, 'pending order')}"),
        ("reconciled", "yes" if a.reconciled else Cell("no", "bad")),
        ("last transaction", str(a.last_transaction_id)),
        ("limits", ", ".join(f"{name} {value}" for name, value in a.limits.items()) or UNKNOWN),
        ("exposures", _exposures(a)),
    ]
    screen.pairs(rows)
    if a.positions:
        screen.line()
        positions(screen, Listed(items=a.positions))


def _exposures(a: Account) -> str:
    parts = [f"{e.currency} {money(e.amount, signed=True)}" for e in a.exposures]
    return f"{', '.join(parts)} (in {a.currency})" if parts else "none"


# --- Trades, positions, orders -------------------------------------------------------------------

_OPEN_TRADES = (
    ACCOUNT, Column("trade", right=True), Column("instrument"), Column("units", right=True),
    Column("price", right=True), Column("stop", right=True, drop=2),
    Column("target", right=True, drop=4), Column("open P/L", right=True),
    Column("opened (UTC)", drop=5), Column("strategy", drop=3), Column("signal", drop=6),
)  # fmt: skip
_CLOSED_TRADES = (
    ACCOUNT, Column("trade", right=True), Column("instrument"), Column("units", right=True),
    Column("opened at", right=True, drop=3), Column("closed at", right=True, drop=2),
    Column("result", right=True), Column("financing", right=True, drop=7),
    Column("closed by", drop=4), Column("closed (UTC)", drop=5), Column("strategy", drop=6),
    Column("signal", drop=8),
)  # fmt: skip


def trades(screen: Screen, found: Listed[Trade]) -> None:
    """Open ones, then closed ones, each with the columns that they have."""
    still = [t for t in found.items if t.state != "closed"]
    ended = [t for t in found.items if t.state == "closed"]
    if still or not ended:
        open_trades(screen, still)
    if still and ended:
        screen.line()
    if ended:
        screen.table(_CLOSED_TRADES, [_closed(t) for t in ended], "")
    tell_next(screen, found.next)


def open_trades(screen: Screen, found: list[Trade] | tuple[Trade, ...]) -> None:
    rows: list[Row] = [
        (
            t.account_id, t.trade_id, t.instrument, units(t.units), number(t.price),
            number(t.stop_price) if t.stop_price is not None else Cell("none", "bad"),
            number(t.target_price), pl(t.unrealized_pl), moment(t.opened_at),
            t.strategy if t.ours else Cell("not ours", "warn"), t.signal_id,
        )
        for t in found
    ]  # fmt: skip
    screen.table(_OPEN_TRADES, rows, "no trades")


def _closed(t: Trade) -> Row:
    return (
        t.account_id, t.trade_id, t.instrument, units(t.units), number(t.price),
        number(t.close_price), pl(t.realized_pl), pl(t.financing), t.close_reason.lower(),
        moment(t.closed_at), t.strategy if t.ours else Cell("not ours", "warn"), t.signal_id,
    )  # fmt: skip


_PRICE_DIGITS = 6
_POSITIONS = (
    ACCOUNT, Column("instrument"), Column("units", right=True),
    Column("average price", right=True), Column("open P/L", right=True),
    Column("trades", right=True, drop=1),
)  # fmt: skip


def positions(screen: Screen, found: Listed[Position]) -> None:
    rows: list[Row] = [
        (
            p.account_id, p.instrument, units(p.units), number(_shortened(p.average_price)),
            pl(p.unrealized_pl, p.currency), str(p.trades),
        )
        for p in found.items
    ]  # fmt: skip
    screen.table(_POSITIONS, rows, "no positions")
    tell_next(screen, found.next)


def _shortened(price: Decimal | None) -> Decimal | None:
    """An average has more digits than anyone reads."""
    if price is None or not price.is_finite():
        return price
    return round(price, _PRICE_DIGITS).normalize()


_PENDING = (
    ACCOUNT, Column("order", right=True), Column("type"), Column("instrument", drop=1),
    Column("units", right=True), Column("price", right=True), Column("trade", right=True, drop=2),
    Column("client id", drop=3),
)  # fmt: skip
_INTENTS = (
    Column("time (UTC)", drop=4), ACCOUNT, Column("instrument"), Column("units", right=True),
    Column("state"), Column("order", right=True, drop=1), Column("trade", right=True, drop=3),
    Column("took", right=True, drop=5), Column("strategy", drop=6),
    Column("reason", fold=True, drop=2), Column("intent", drop=7),
)  # fmt: skip


def orders(screen: Screen, found: Listed[Order]) -> None:
    """What waits at the venue, then what was sent."""
    waiting = [o for o in found.items if o.kind == "pending"]
    sent = [o for o in found.items if o.kind != "pending"]
    if waiting or not sent:
        pending_orders(screen, waiting)
    if waiting and sent:
        screen.line()
    if sent:
        screen.table(_INTENTS, [_intent(o) for o in sent], "")
    tell_next(screen, found.next)


def pending_orders(screen: Screen, found: list[Order] | tuple[Order, ...]) -> None:
    rows: list[Row] = [
        (
            o.account_id, o.order_id, o.type.lower(), o.instrument, units(o.units),
            number(o.price), o.trade_id, o.client_id,
        )
        for o in found
    ]  # fmt: skip
    screen.table(_PENDING, rows, "no orders")


def _intent(o: Order) -> Row:
    return (
        moment(o.written_at), o.account_id, o.instrument, units(o.units), word(o.state),
        o.order_id, o.trade_id, latency(o.latency_us) if o.latency_us else "", o.strategy,
        o.reason, o.client_id,
    )  # fmt: skip


# --- Signals and performance ---------------------------------------------------------------------

_SIGNALS = (
    Column("time (UTC)", drop=3), Column("signal"), Column("wish"), Column("strategy", drop=1),
    Column("outcome", fold=True), Column("reason", fold=True, drop=2),
)  # fmt: skip


def signals(screen: Screen, found: Listed[SignalRow]) -> None:
    rows: list[Row] = [
        (
            moment(s.at_at), s.signal_id, f"{s.signal.side} {s.signal.instrument}" if s.signal
            else UNKNOWN, s.signal.strategy if s.signal else UNKNOWN, _outcome(s),
            "; ".join(dict.fromkeys(_why(o) for o in s.outcomes if o.ended.reason)),
        )
        for s in found.items
    ]  # fmt: skip
    screen.table(_SIGNALS, rows, "no signals yet")
    tell_next(screen, found.next)


def _outcome(row: SignalRow) -> Cell:
    """`2 filled`, `1 filled, 1 rejected`, `open` while an account's is missing."""
    told = Counter(o.ended.outcome for o in row.outcomes)
    parts = [f"{n} {outcome}" for outcome, n in told.most_common()]
    missing = len(row.accounts) - len(row.outcomes)
    if missing > 0:
        parts.append(f"{missing} on the way")
    style = "good" if told["filled"] else "bad" if told["failed"] else ""
    return Cell(", ".join(parts) or UNKNOWN, style)


def _why(row: EndedRow) -> str:
    return f"{row.ended.stage}: {row.ended.reason}" if row.ended.stage else row.ended.reason


_PERFORMANCE = (
    ACCOUNT, Column("strategy"), Column("trades", right=True), Column("won", right=True),
    Column("net", right=True), Column("profit factor", right=True, drop=1),
    Column("per trade", right=True, drop=2), Column("mean R", right=True, drop=3),
    Column("best", right=True, drop=5), Column("worst", right=True, drop=4),
)  # fmt: skip


def performance(screen: Screen, found: Listed[Performance]) -> None:
    rows: list[Row] = [
        (
            p.account_id, p.strategy or "all", f"{p.trades:,}", percent(p.win_rate),
            pl(p.net, p.currency), ratio(p.profit_factor), pl(p.expectancy), ratio(p.mean_r),
            pl(p.best), pl(p.worst),
        )
        for p in found.items
    ]  # fmt: skip
    screen.table(_PERFORMANCE, rows, "no trades of ours were closed yet")


# --- Market data ---------------------------------------------------------------------------------

_MARKET_DATA = (
    Column("instrument"), Column("minutes", right=True), Column("ticks", right=True),
    Column("first (UTC)"), Column("last (UTC)"),
)  # fmt: skip
_EXPORTED = (Column("file", fold=True), Column("rows", right=True), Column("left out", right=True))


def market_data(screen: Screen, found: Listed[MarketSpan]) -> None:
    rows: list[Row] = [
        (s.instrument, f"{s.minutes:,}", f"{s.ticks:,}", moment(s.first_at), moment(s.last_at))
        for s in found.items
    ]
    screen.table(_MARKET_DATA, rows, "no prices are stored yet")


def exported(screen: Screen, found: Listed[Exported]) -> None:
    rows: list[Row] = [(e.file, f"{e.rows:,}", f"{e.left_out:,}") for e in found.items]
    screen.table(_EXPORTED, rows, "nothing was written")


# --- Breakers ------------------------------------------------------------------------------------

_BREAKERS = (
    Column("breaker"), Column("name"), Column("subject"), Column("state"), Column("effect", drop=2),
    Column("reset", drop=3), Column("since (UTC)", drop=4), Column("until (UTC)", drop=5),
    Column("evidence", fold=True, drop=1),
)  # fmt: skip


def breakers(screen: Screen, found: tuple[Breaker, ...], empty: str) -> None:
    """What blocks stands first."""
    rows: list[Row] = [
        (
            b.breaker, b.name, b.subject, word(b.state), b.effect, b.reset, moment(b.since_at),
            moment(b.until_at), b.evidence,
        )
        for b in sorted(found, key=lambda b: b.state == "armed")
    ]  # fmt: skip
    screen.table(_BREAKERS, rows, empty)


# --- Limits --------------------------------------------------------------------------------------

_LIMITS = (
    Column("account"), Column("profile", drop=1), Column("limit"), Column("in force", right=True),
    Column("settings", right=True),
)  # fmt: skip
_TIGHTENED = (
    Column("account"), Column("limit"), Column("to"), Column("by"), Column("until (UTC)", drop=2),
    Column("where", drop=1), Column("why", fold=True),
)  # fmt: skip
_OVERRIDES = (
    Column("override"), Column("limit"), Column("value", right=True), Column("subject"),
    Column("does"), Column("uses left", right=True, drop=3), Column("until (UTC)", drop=2),
    Column("by"), Column("why", fold=True, drop=1),
)  # fmt: skip
# What most people look for; `whole` shows all.
_SHORT = ("risk_per_trade", "max_daily_loss", "max_drawdown", "max_concurrent_trades")


def limits(screen: Screen, found: tuple[AccountLimits, ...], *, whole: bool) -> None:
    """Limits of each account; then who has tightened what."""
    rows: list[Row] = [
        (
            account.account_id, account.profile, name,
            Cell(value, "" if value == account.limits.get(name) else "warn"),
            account.limits.get(name, UNKNOWN),
        )
        for account in found
        for name, value in account.in_force.items()
        if whole or name in _SHORT or value != account.limits.get(name)
    ]  # fmt: skip
    screen.table(_LIMITS, rows, "no such account")
    tightened: list[Row] = [
        (
            account.account_id, each.limit, f"{each.value}" if each.scale is None
            else f"x {each.scale}", each.by, moment(each.until_at), each.subject, each.why,
        )
        for account in found
        for each in account.tightened
    ]  # fmt: skip
    screen.line("")
    screen.table(_TIGHTENED, tightened, "nothing is tightened just now")


def overrides(screen: Screen, found: tuple[Override, ...]) -> None:
    """Those that loosen stand first."""
    rows: list[Row] = [
        (
            each.override_id, each.limit, f"{each.value}", each.subject,
            Cell("loosens", "warn") if each.loosens else Cell("tightens", "good"),
            UNKNOWN if each.uses_left is None else str(each.uses_left), moment(each.until_at),
            f"{each.actor} ({each.role})", each.reason,
        )
        for each in sorted(found, key=lambda each: not each.loosens)
    ]  # fmt: skip
    screen.table(_OVERRIDES, rows, "no override stands")
