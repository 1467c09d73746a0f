"""The exchange: accounts, the latest prices, and every write that a client or a price can cause."""

from __future__ import annotations

from orchestrator.model.money import InstrumentName, InstrumentSpec
from orchestrator.model.time import Instant
from orchestrator.paper.exchange.account_writes import AccountWrites
from orchestrator.paper.exchange.admin_writes import AdminWrites
from orchestrator.paper.exchange.depth import DEEP, Depth
from orchestrator.paper.exchange.floor import Floor
from orchestrator.paper.exchange.order_writes import OrderWrites
from orchestrator.paper.exchange.position_writes import PositionWrites
from orchestrator.paper.exchange.trade_writes import TradeWrites


class Exchange:
    """Writes come in with their market time and leave as transactions; nothing here waits."""

    def __init__(self, specs: dict[InstrumentName, InstrumentSpec], depth: Depth = DEEP) -> None:
        self._floor = floor = Floor(specs, depth)
        self.specs = floor.specs
        self.quotes = floor.quotes
        self.accounts = floor.accounts
        self.matching = floor.matching
        self.listeners = floor.listeners
        self.restrictions = floor.restrictions
        self.admin = AdminWrites(floor)
        accounts, orders = AccountWrites(floor), OrderWrites(floor)
        trades, positions = TradeWrites(floor), PositionWrites(floor)
        self.open_account = accounts.open
        self.restore = accounts.restore
        self.configure = accounts.configure
        self.transfer = accounts.transfer
        self.create_order = orders.create
        self.replace_order = orders.replace
        self.cancel_order = orders.cancel
        self.order_extensions = orders.extensions
        self.close_trade = trades.close
        self.trade_orders = trades.orders
        self.trade_extensions = trades.extensions
        self.close_position = positions.close
        # For what no client asked for: triggers, expiry, financing, closeout.
        self.own_batch = floor.own_batch
        self.finish = floor.finish
        self.market_close = floor.market_close

    @property
    def now_ns(self) -> Instant:
        """The market time of the latest write."""
        return self._floor.now_ns
