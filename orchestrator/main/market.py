"""Which store takes the market data: a file of the state folder, or TIMESCALE_URL's server."""

from __future__ import annotations

from orchestrator.adapters.store.market_sqlite import SqliteMarketStore
from orchestrator.model.ports import MarketData
from orchestrator.service.seams import new_id
from orchestrator.settings import Settings
from orchestrator.settings.urls import is_postgres

MARKET_DATABASE = "timescale_url"
SPOOL = "market.spool"  # in the state folder: rows that wait for their server


def open_market(settings: Settings, *, replay: bool = False) -> MarketData:
    """StoreError with what to do. A replay's prices stay in its own folder: they are recorded
    already, and belong to another time than the server's.
    """
    if is_postgres(settings.timescale_url):
        if replay:
            return SqliteMarketStore(settings.state_dir / "market.db", retention_days=0)
        return _on_server(settings)
    return SqliteMarketStore(
        settings.market_data_path, retention_days=0 if replay else settings.tick_retention_days
    )


def _on_server(settings: Settings) -> MarketData:
    from orchestrator.adapters.store.market_postgres import PostgresMarketStore

    def url() -> str:
        address = settings.address_of(MARKET_DATABASE)
        assert address is not None
        return address

    return PostgresMarketStore(
        url, settings.state_dir / SPOOL, writer=new_id("market"),
        retention_days=settings.tick_retention_days,
    )  # fmt: skip
