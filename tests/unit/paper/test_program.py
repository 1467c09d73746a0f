"""The program's flags, its clock, and its memory over a crash."""

import socket
from decimal import Decimal

import pytest

from orchestrator.model.errors import FeedError
from orchestrator.model.time import NS_PER_S
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.config import Commission
from orchestrator.paper.feeds.manual import ManualFeed
from orchestrator.paper.feeds.replay import ReplayFeed
from orchestrator.paper.instruments import SPECS
from orchestrator.paper.main import FlagError, PaperConfig, open_accounts, parse, parse_account, run
from orchestrator.paper.market import Market
from orchestrator.paper.state import StateFile
from tests.unit.paper.desk import ACCOUNT, NOON, Desk

D = Decimal

GOOD = ["--token", "t", "--account", f"{ACCOUNT}:USD:100000"]


def test_good_flags_are_read():
    config = parse([
        *GOOD, "--account", "101-001-1000001-002:EUR:50000.5:hedging", "--port", "0",
        "--speed", "60", "--seed", "9", "--hours", "fx", "--control",
    ])  # fmt: skip
    assert config.accounts[1].hedging
    assert config.accounts[1].balance == D("50000.5")
    assert (config.port, config.speed, config.seed, config.hours) == (0, 60.0, 9, "fx")
    assert parse([*GOOD, "--speed", "max"]).speed == 0


def test_an_account_has_terms_of_its_own():
    """Leverage, division, financing, commission, guaranteed stops: each as an option."""
    plain, rich = (
        parse_account(f"{ACCOUNT}:USD:1{rest}")
        for rest in ("", ":hedging:leverage=30:charge=0.5:financing=second:commission=5/100000/1")
    )
    assert (plain.margin_rate, plain.financing, plain.commission) == (D("0.02"), "DAILY", None)
    assert rich.hedging
    assert rich.margin_rate == D("0.03333")
    assert rich.conversion_charge == D("0.005")
    assert rich.financing == "SECOND_BY_SECOND"
    assert rich.commission == Commission(amount=D(5), units_traded=D(100_000), minimum=D(1))
    assert parse_account(f"{ACCOUNT}:USD:1:guaranteed").guaranteed
    depth = parse([*GOOD, "--depth", "1000:0,5000:0.3"]).depth
    assert [(level.units, level.pips) for level in depth.levels] == [(1000, D(0)), (5000, D("0.3"))]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--token", "t"], "--account"),
        (GOOD[2:], "--token"),
        ([*GOOD, "--account", f"{ACCOUNT}:USD:1"], "given twice"),
        ([*GOOD, "--account", "x:USD:1"], "four numbers"),
        ([*GOOD, "--account", "1-2-3-4:usd:1"], "currency"),
        ([*GOOD, "--account", "1-2-3-4:USD:NaN"], "balance"),
        ([*GOOD, "--account", "1-2-3-4:USD:-1"], "balance"),
        ([*GOOD, "--account", "1-2-3-4:USD:1:margin"], "--account"),
        ([*GOOD, "--account", "1-2-3-4:USD:1:leverage=0"], "leverage=0"),
        ([*GOOD, "--account", "1-2-3-4:USD:1:financing=weekly"], "financing=weekly"),
        ([*GOOD, "--account", "1-2-3-4:USD:1:commission=5"], "commission=5"),
        ([*GOOD, "--account", "1-2-3-4:USD:1:hedging=yes"], "hedging=yes"),
        ([*GOOD, "--depth", "1000:1"], "--depth"),
        ([*GOOD, "--depth", "1000:0,500:-1"], "--depth"),
        ([*GOOD, "--depth", "many"], "--depth"),
        ([*GOOD, "--stream-port", "x"], "--stream-port"),
        ([*GOOD, "--port", "70000"], "--port"),
        ([*GOOD, "--port", "-1"], "--port"),
        ([*GOOD, "--speed", "0"], "--speed"),
        ([*GOOD, "--speed", "nan"], "--speed"),
        ([*GOOD, "--seed", "1.5"], "--seed"),
        ([*GOOD, "--hours", "9-5"], "--hours"),
        ([*GOOD, "--feed", "oracle"], "--feed"),
        ([*GOOD, "--feed", "replay:none_here.csv"], "none_here.csv"),
        ([*GOOD, "--state", "no/such/folder/x"], "--state"),
        ([*GOOD, "--tls-cert", "none.pem", "--tls-key", __file__], "--tls-cert 'none.pem'"),
        ([*GOOD, "--tls-cert", __file__], "--tls-key"),
        ([*GOOD, "--tls-cert", __file__, "--tls-key", __file__], "test_program.py"),
        ([*GOOD, "--wrong"], "--wrong"),
    ],
)
def test_a_bad_flag_is_named(flags, named, capsys):
    assert run(flags) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--state", "--log", "--port-file"])
def test_what_the_machine_refuses_is_told_with_its_flag(flag, tmp_path, capsys):
    where = f"/proc/{tmp_path.name}"  # nobody may write there, not even root
    assert run([*GOOD, "--port", "0", "--feed", "manual", flag, where]) == 1
    assert f"orchestrator paper: {flag} {where}: " in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_told_with_its_flag_and_line(tmp_path, capsys):
    state, ticks = tmp_path / "state", tmp_path / "EUR_USD_20140508.csv"
    state.write_text('{"account":"1-2-3-4"}\nnonsense\n')
    ticks.write_text("1,1.1,1.2\n2,x,1.2\n")
    for flags, told in (
        (["--feed", "manual", "--state", str(state)], f"--state {state}: line 2: "),
        (["--feed", f"replay:{ticks}"], f"--feed {ticks}: line 2: "),
    ):
        assert run([*GOOD, "--port", "0", *flags]) == 1
        assert f"orchestrator paper: {told}" in capsys.readouterr().err


def test_a_port_that_is_taken_is_told_with_its_flag(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run([*GOOD, "--feed", "manual", "--port", port]) == 1
    assert f"--host 127.0.0.1 --port {port}: " in capsys.readouterr().err


def test_market_time_runs_at_its_speed_and_never_back():
    machine = [0]
    clock = VenueTime(NOON, 60.0, lambda: machine[0], held=True)
    machine[0] = 5 * NS_PER_S
    assert clock.now() == NOON
    clock.release()
    machine[0] = 6 * NS_PER_S
    assert clock.now() == NOON + 60 * NS_PER_S
    assert clock.machine_seconds_until(NOON + 120 * NS_PER_S) == 1.0
    machine[0] = 0
    assert clock.now() == NOON + 60 * NS_PER_S


def test_at_full_speed_only_prices_move_time():
    clock = VenueTime(NOON, 0, lambda: 10**18)
    assert clock.now() == NOON
    clock.advance_to(NOON + 5)
    assert clock.now() == NOON + 5
    assert clock.machine_seconds_until(NOON + 10**12) == 0


def market():
    return Market(ManualFeed(NOON, tuple(SPECS)), VenueTime(NOON, 1.0, lambda: 0))


def test_a_state_file_gives_the_account_back_and_a_torn_line_is_cut(tmp_path):
    path = tmp_path / "state"
    desk = Desk()
    first = market()
    file = StateFile(path)
    open_accounts(first, [desk.config], file)
    first.put_price("EUR_USD", D("1.10000"), D("1.10010"))
    books = first.exchange.accounts[ACCOUNT]
    desk.exchange, desk.books = first.exchange, books
    desk.order("1000", stopLossOnFill={"price": "1.09"})
    file.close()
    with path.open("ab") as torn:
        torn.write(b'{"account":"101-001-1000001-001","transactions":[{"id":"8","ty')
    second = market()
    again = StateFile(path)
    open_accounts(second, [desk.config], again)
    with pytest.raises(FeedError, match="another paper venue"):
        StateFile(path)
    rebuilt = second.exchange.accounts[ACCOUNT]
    assert rebuilt.history == books.history
    assert rebuilt.trades == books.trades
    assert rebuilt.pending == books.pending
    desk.exchange, desk.books = second.exchange, rebuilt
    desk.cancel(next(iter(rebuilt.pending)))
    again.close()
    third = market()
    open_accounts(third, [desk.config], StateFile(path))
    assert third.exchange.accounts[ACCOUNT].history == rebuilt.history


def test_a_trailing_stop_stands_where_it_stood_before_the_crash(tmp_path):
    path = tmp_path / "state"
    first, config = market(), parse_account(f"{ACCOUNT}:USD:100000")
    file = StateFile(path)
    open_accounts(first, [config], file)
    desk = Desk()
    desk.exchange, desk.books = first.exchange, first.exchange.accounts[ACCOUNT]
    first.put_price("EUR_USD", D("1.10000"), D("1.10010"))
    trailing = desk.order("1000", trailingStopLossOnFill={"distance": "0.00500"}).made[-1].id
    touched = desk.order("1000", type="MARKET_IF_TOUCHED", price="1.20000").made[0].id
    first.put_price("EUR_USD", D("1.12000"), D("1.12010"))
    file.close()
    second = market()
    open_accounts(second, [config], StateFile(path))
    pending = second.exchange.accounts[ACCOUNT].pending
    assert pending[trailing].trailing_stop_value == D("1.11500")
    assert pending[touched].initial_market_price == D("1.10010")
    assert pending == first.exchange.accounts[ACCOUNT].pending


def open_with(path, currency):
    state = StateFile(path)
    try:
        open_accounts(market(), [parse_account(f"{ACCOUNT}:{currency}:1")], state)
    finally:
        state.close()


def test_a_state_file_that_cannot_be_read_or_disagrees_is_refused(tmp_path):
    path = tmp_path / "state"
    path.write_text("{}\n")
    with pytest.raises(FeedError, match="line 1"):
        open_with(path, "USD")
    path.write_text("")
    open_with(path, "USD")
    with pytest.raises(FlagError, match="USD"):
        open_with(path, "EUR")


def test_a_replay_that_cannot_convert_gets_constant_quotes_that_nobody_can_trade(tmp_path):
    file = tmp_path / "NZD_USD_20140502.csv"
    file.write_text("1,0.86,0.861\n")
    feed = ReplayFeed([file])
    venue = Market(feed, VenueTime(feed.start_ns, 1.0, lambda: 0))
    config = PaperConfig(token="t", accounts=(parse_account(f"{ACCOUNT}:EUR:50000"),))
    open_accounts(venue, config.accounts, None)
    assert venue.references == ("EUR_USD",)
    quote = venue.exchange.quotes.get("EUR_USD")
    assert quote is not None
    assert not quote.tradeable
    venue.publish(feed.due(feed.start_ns))
    desk = Desk("EUR")
    desk.exchange, desk.books = venue.exchange, venue.exchange.accounts[ACCOUNT]
    desk.now = feed.start_ns
    assert desk.order("1000", "NZD_USD").made[1].type == "ORDER_FILL"
    assert desk.order("1000", "EUR_USD").made[1].reason == "MARKET_HALTED"


def test_help_tells_every_flag_and_every_option_of_an_account(capsys):
    with pytest.raises(SystemExit) as ended:
        run(["--help"])
    told = capsys.readouterr().out
    assert ended.value.code == 0
    flags = ("account token feed speed seed hours depth hold host port stream-port port-file "
             "control limits state log tls-cert tls-key")  # fmt: skip
    options = "hedging leverage= charge= financing= commission= guaranteed"
    for word in (*(f"--{flag} " for flag in flags.split()), *options.split()):
        assert word in told.replace("\n", " "), word
    assert "%" not in told
