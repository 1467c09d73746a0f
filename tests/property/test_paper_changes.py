"""A snapshot, and the changes since, always make the new snapshot, as a client would make it."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.paper.call import encode
from orchestrator.paper.exchange.changes import changes_of, state_of
from orchestrator.paper.exchange.views import account_of
from orchestrator.paper.instruments import SPECS
from orchestrator.paper.state import read_transactions
from tests.unit.paper.acts import PAIRS, TERMS, acts, play
from tests.unit.paper.desk import Desk

LINKS = {
    "TAKE_PROFIT_ORDER": "takeProfitOrderID",
    "STOP_LOSS_ORDER": "stopLossOrderID",
    "TRAILING_STOP_LOSS_ORDER": "trailingStopLossOrderID",
    "GUARANTEED_STOP_LOSS_ORDER": "guaranteedStopLossOrderID",
}
NEVER_IN_STATE = {"orders", "trades", "positions"}


def snapshot(desk):
    return json.loads(encode(account_of(desk.exchange, desk.books, full=True)))


def keyed(account):
    """Lists by their keys: their order means nothing."""
    return account | {
        "orders": {o["id"]: o for o in account["orders"]},
        "trades": {t["id"]: t for t in account["trades"]},
        "positions": {p["instrument"]: p for p in account["positions"]},
    }


class Client:
    """What OANDA's development guide tells a client to do, and what transactions add to it."""

    def __init__(self, account):
        self.account = keyed(account)

    def apply(self, changes, state, last_id):
        orders, trades = self.account["orders"], self.account["trades"]
        orders |= {o["id"]: o for o in changes["ordersCreated"]}
        put = changes["tradesOpened"] + changes["tradesReduced"]
        trades |= {t["id"]: t for t in put}
        for tx in changes["transactions"]:
            self.hear(tx, {t["id"] for t in put})
        for gone in ("ordersCancelled", "ordersFilled", "ordersTriggered"):
            for order in changes[gone]:
                orders.pop(order["id"], None)
        for trade in changes["tradesClosed"]:
            trades.pop(trade["id"], None)
        self.account["positions"] |= {p["instrument"]: p for p in changes["positions"]}
        self.overwrite(state)
        self.account |= {
            "lastTransactionID": last_id,
            "openTradeCount": len(trades),
            "openPositionCount": len({t["instrument"] for t in trades.values()}),
            "pendingOrderCount": len(orders),
        }

    def hear(self, tx, fresh):
        account, trades = self.account, self.account["trades"]
        match tx["type"]:
            case "ORDER_FILL":
                account["lastOrderFillTimestamp"] = tx["time"]
                self.unlink(tx["orderID"])
            case "ORDER_CANCEL":
                self.unlink(tx["orderID"])
            case kind if kind in LINKS and tx["tradeID"] in trades:
                trades[tx["tradeID"]][LINKS[kind]] = tx["id"]
            case _:
                self.hear_rarer(tx, fresh)

    def hear_rarer(self, tx, fresh):
        account, trades = self.account, self.account["trades"]
        match tx["type"]:
            case "CLIENT_CONFIGURE":
                account |= {k: tx[k] for k in ("alias", "marginRate") if k in tx}
            case "RESET_RESETTABLE_PL":
                account["resettablePLTime"] = tx["time"]
            case kind if kind.startswith("MARGIN_CALL"):
                self.hear_margin_call(tx)
            case "ORDER_CLIENT_EXTENSIONS_MODIFY" if tx["orderID"] in account["orders"]:
                order = account["orders"][tx["orderID"]]
                order["clientExtensions"] = tx["clientExtensionsModify"]
            case "TRADE_CLIENT_EXTENSIONS_MODIFY" if tx["tradeID"] in trades:
                trades[tx["tradeID"]]["clientExtensions"] = tx["tradeClientExtensionsModify"]
            case "DELAYED_TRADE_CLOSURE":
                for trade_id in {*tx["tradeIDs"].split(",")} & {*trades}:
                    trades[trade_id]["state"] = "CLOSE_WHEN_TRADEABLE"
            case _:
                self.hear_money(tx, fresh)

    def hear_margin_call(self, tx):
        count, time = "marginCallExtensionCount", "lastMarginCallExtensionTime"
        match tx["type"]:
            case "MARGIN_CALL_ENTER":
                self.account["marginCallEnterTime"] = tx["time"]
            case "MARGIN_CALL_EXTEND":
                self.account |= {count: tx["extensionNumber"], time: tx["time"]}
            case _:
                for key in ("marginCallEnterTime", count, time):
                    self.account.pop(key, None)

    def hear_money(self, tx, fresh):
        for position in tx.get("positionFinancings", ()):
            for part in position["openTradeFinancings"]:
                self.pay(part["tradeID"], "financing", part["financing"], fresh)
        for part in tx.get("openTradeDividendAdjustments", ()):
            self.pay(part["tradeID"], "dividendAdjustment", part["dividendAdjustment"], fresh)

    def pay(self, trade_id, what, amount, fresh):
        trade = self.account["trades"].get(trade_id)
        if trade is not None and trade_id not in fresh:  # a fresh summary has it already
            trade[what] = f"{float(trade[what]) + float(amount):.4f}"

    def unlink(self, order_id):
        for trade in self.account["trades"].values():
            for link in LINKS.values():
                if trade.get(link) == order_id:
                    del trade[link]

    def overwrite(self, state):
        self.account |= {k: v for k, v in state.items() if k not in NEVER_IN_STATE}
        for order in state["orders"]:
            self.account["orders"][order["id"]]["trailingStopValue"] = order["trailingStopValue"]
        for trade in state["trades"]:
            self.account["trades"][trade["id"]] |= trade
        for position in state["positions"]:
            mine = self.account["positions"][position["instrument"]]
            mine |= {
                "unrealizedPL": position["netUnrealizedPL"], "marginUsed": position["marginUsed"],
            }  # fmt: skip
            mine["long"]["unrealizedPL"] = position["longUnrealizedPL"]
            mine["short"]["unrealizedPL"] = position["shortUnrealizedPL"]


def plain(account):
    """Amounts as numbers, so that 0 and 0.0000 are one."""
    if isinstance(account, dict):
        return {k: plain(v) for k, v in account.items()}
    if isinstance(account, list):
        return [plain(v) for v in account]
    try:
        return float(account)
    except (TypeError, ValueError):
        return account


@given(
    acts, st.integers(0, 29),
    st.sampled_from(TERMS),
    st.sampled_from(["2000", "100000"]),
)  # fmt: skip
@settings(max_examples=120)
def test_snapshot_and_changes_make_the_new_snapshot(played, cut, terms, balance):
    desk = Desk(balance=balance, **terms)
    for name, price in PAIRS.items():
        desk.price(name, str(price), str(price + 10 * SPECS[name].tick))
    desk.price("GBP_USD", "1.27000", "1.27010")
    for act in played[:cut]:
        play(desk, act)
    client, since = Client(snapshot(desk)), desk.books.last_id
    for act in played[cut:]:
        play(desk, act)
    made = read_transactions(desk.books.history[since:])
    changes = json.loads(encode(changes_of(desk.exchange, desk.books, made)))
    state = json.loads(encode(state_of(desk.exchange, desk.books)))
    client.apply(changes, state, str(desk.books.last_id))
    assert plain(client.account) == plain(keyed(snapshot(desk)))
    assert [t["id"] for t in changes["transactions"]] == [
        str(n) for n in range(since + 1, desk.books.last_id + 1)
    ]


def test_a_night_changes_the_positions_that_paid_for_it():
    desk = Desk()
    desk.price("EUR_USD", "1.10000", "1.10010")
    desk.order("10000")
    client, since = Client(snapshot(desk)), desk.books.last_id
    play(desk, ("night",))
    made = read_transactions(desk.books.history[since:])
    assert [tx.type for tx in made] == ["DAILY_FINANCING"]
    changes = json.loads(encode(changes_of(desk.exchange, desk.books, made)))
    [position] = changes["positions"]
    assert float(position["financing"]) < 0
    client.apply(changes, json.loads(encode(state_of(desk.exchange, desk.books))), str(since + 1))
    assert plain(client.account) == plain(keyed(snapshot(desk)))
