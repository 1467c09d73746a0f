"""Which store takes the market data: a file of the state folder, or TIMESCALE_URL's server."""

from __future__ import annotations

import asyncio

from orchestrator.adapters.store.market_sqlite import SqliteMarketStore
from orchestrator.model.errors import StoreError
from orchestrator.model.ports import MarketData
from orchestrator.service.cli.backend import Check
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

    return PostgresMarketStore(
        lambda: _address(settings), settings.state_dir / SPOOL, writer=new_id("market"),
        retention_days=settings.tick_retention_days,
    )  # fmt: skip


def look(settings: Settings) -> Check:
    """How the market data's database does; nothing is made or changed."""
    if not is_postgres(settings.timescale_url):
        return Check(name="market data", ok=True, text=f"{settings.market_data_path}", hint="")
    from orchestrator.adapters.store import market_schema

    waiting = len(list((settings.state_dir / SPOOL).glob("*.batch")))
    aside = f"; {waiting:,} batches wait in {SPOOL}" if waiting else ""
    try:
        text = asyncio.run(market_schema.told(lambda: _address(settings)))
    except StoreError as exc:
        hint = "trading goes on without it; docs/market-data.md"
        return Check(name="market data", ok=False, text=f"{exc}{aside}", hint=hint)
    return Check(name="market data", ok=True, text=text + aside, hint="")


def _address(settings: Settings) -> str:
    """Asked for each connection: the password may have changed."""
    address = settings.address_of(MARKET_DATABASE)
    assert address is not None
    return address
