"""The bus as the settings want it: within the process, or over the Redis of MESSAGE_BROKER_URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.model.errors import BusError
from orchestrator.service.seams import new_id
from orchestrator.settings import Settings

if TYPE_CHECKING:
    from orchestrator.adapters.bus.redis.address import Address
    from orchestrator.adapters.bus.redis.bus import RedisBus
    from orchestrator.adapters.bus.redis.stops import StopLine

VARIABLE = "MESSAGE_BROKER_URL"


def where(settings: Settings) -> Callable[[], Address]:
    """The broker's address, read anew for each connection: its password may have been changed."""
    from orchestrator.adapters.bus.redis.address import parse

    return lambda: parse(settings.address_of("message_broker_url") or "")


def redis_bus(settings: Settings, alarm: Callable[[str, str], None]) -> RedisBus | None:
    """None where MESSAGE_BROKER_URL is not set. `alarm(title, text)` is for a person."""
    if settings.message_broker_url is None:
        return None
    from orchestrator.adapters.bus.redis.bus import RedisBus

    mark = new_id("mark")
    return RedisBus(
        where(settings), node=new_id("node"), mark=mark, alarm=alarm,
        hours=settings.event_retention_hours, namespace=settings.message_broker_namespace,
        seed=int(mark[-8:], 16),
    )  # fmt: skip


def stop_line(settings: Settings, alarm: Callable[[str, str], None]) -> StopLine | None:
    """Stops called out between nodes; None where MESSAGE_BROKER_URL is not set."""
    if settings.message_broker_url is None:
        return None
    from orchestrator.adapters.bus.redis.stops import StopLine

    node = new_id("node")
    return StopLine(
        where(settings), node=node, namespace=settings.message_broker_namespace, alarm=alarm,
        seed=int(node[-8:], 16),
    )  # fmt: skip


async def meet_broker(settings: Settings) -> None:
    """BusError, naming the variable, when the broker is away or of no use; within 5 s."""
    if settings.message_broker_url is None:
        return
    from orchestrator.adapters.bus.redis.dialer import meet

    try:
        await meet(where(settings))
    except BusError as exc:
        raise type(exc)(
            f"{VARIABLE}: {exc}. Start it or mend the address; without the variable the broker"
            " within the process does"
        ) from exc
