"""E0, P and L of a trading day."""

from decimal import Decimal

import msgspec

from orchestrator.kernel.ledger.day import DayBook
from tests.unit.kernel.ledger_makers import dec


def day(**fields):
    base = {"day": "2026-01-05", "equity_start": Decimal(1000), "peak": Decimal(1200)}
    return DayBook(**(base | fields))


def test_loss_counts_from_the_days_start_and_drawdown_from_the_peak():
    assert day().loss(dec(940)) == 60
    assert day().loss_fraction(dec(940)) == dec("0.06")
    assert day().drawdown_fraction(dec(1080)) == dec("0.1")


def test_a_winning_account_has_neither_loss_nor_drawdown():
    assert day().loss(dec(1300)) == 0
    assert day().loss_fraction(dec(1300)) == 0
    assert day().drawdown_fraction(dec(1300)) == 0


def test_a_transfer_is_neither_profit_nor_loss():
    book = day()
    book.shift(dec(-500))
    assert (book.equity_start, book.peak, book.transfers) == (500, 700, -500)
    assert book.loss(dec(440)) == 60
    book.shift(dec(500))
    assert (book.equity_start, book.peak, book.transfers) == (1000, 1200, 0)


def test_without_anything_at_the_start_the_fraction_is_unknown():
    assert day(equity_start=dec(0)).loss_fraction(dec(-1)) is None
    assert day(equity_start=dec(-5)).loss_fraction(dec(-5)) is None
    assert day(peak=dec(0)).drawdown_fraction(dec(0)) is None


def test_a_new_peak_is_told_in_steps():
    book = day()
    assert book.new_peak(dec(1200)) is None
    assert book.new_peak(dec("1200.1199")) is None
    assert book.new_peak(dec("1200.12")) == dec("1200.12")
    assert book.peak == 1200  # only the fact moves it


def test_a_new_day_begins_with_its_own_equity_and_the_same_peak():
    book = day()
    book.shift(dec(10))
    book.realized = dec("-3.5")
    book.start_day("2026-01-06", dec(900))
    assert book == day(day="2026-01-06", equity_start=dec(900), peak=dec(1210))


def test_a_day_survives_a_snapshot():
    assert msgspec.json.decode(msgspec.json.encode(day()), type=DayBook) == day()
