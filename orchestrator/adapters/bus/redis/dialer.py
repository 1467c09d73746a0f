"""Making a connection: address looked up, TLS, login, and whether this broker is of use to us."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from typing import TypeAlias

import hiredis

from orchestrator.adapters.bus.redis.address import Address, Host
from orchestrator.adapters.bus.redis.pipe import Pipe
from orchestrator.adapters.bus.redis.words import Reply, Word, number, rows, text
from orchestrator.model.errors import BrokerAway, BrokerRefused, BrokerSilent, BusError
from orchestrator.model.tls import tls_trouble

# Asked at each connection anew: a password may have been changed meanwhile (X7).
Where: TypeAlias = "Callable[[], Address]"

CONNECT_S = 2.0
FIRST_S = 4.0
_NOT_ALLOWED = ("NOPERM", "ERR unknown command")


async def dial(where: Where, name: str, connect_s: float = CONNECT_S) -> Pipe:
    """A connection that is logged in. BrokerAway or BrokerRefused, in words for a person."""
    try:
        address = where()
    except ValueError as exc:
        raise BrokerAway(f"the broker's address {exc}") from exc
    try:
        async with asyncio.timeout(connect_s):
            if address.master:
                address = await _looked_up(address, connect_s / (len(address.hosts) + 1))
            pipe = await _open(address)
            try:
                await _log_in(pipe, address, name)
            except BaseException as exc:
                pipe.close()
                if isinstance(exc, BrokerSilent) and address.tls:
                    raise _hung_up(address) from exc
                raise
    except TimeoutError:
        hint = ", or it does not speak TLS there" if address.tls else ""
        raise BrokerAway(f"no Redis answers at {address} within {connect_s:g} s{hint}") from None
    except ssl.SSLError as exc:
        why = tls_trouble(exc) or exc.reason or exc
        raise BrokerAway(f"no TLS with the Redis at {address}: {why}") from exc
    except OSError as exc:
        raise BrokerAway(f"no Redis answers at {address}: {_plain(exc)}") from exc
    return pipe


def _hung_up(address: Address) -> BusError:
    """TLS tells us that our certificate is refused only after it has let us in, if at all."""
    return BrokerAway(
        f"the Redis at {address} hung up before it answered; if it wants a certificate of us"
        " (tls-auth-clients), give ssl_certfile and ssl_keyfile of the authority that it trusts"
    )


def _plain(exc: OSError) -> str:
    """asyncio puts sentences of its own around what the machine says."""
    return os.strerror(exc.errno).lower() if exc.errno and exc.errno > 0 else str(exc)


async def meet(where: Where, limit_s: float = FIRST_S) -> None:
    """Whether the broker is there and of use: BusError, in words for a person, by then."""
    (await dial(where, "first", limit_s)).close()


async def _open(address: Address) -> Pipe:
    loop = asyncio.get_running_loop()
    if address.path:
        return (await loop.create_unix_connection(Pipe, address.path))[1]
    host = address.hosts[0]
    tls = address.tls_context()
    return (await loop.create_connection(Pipe, host.name, host.port, ssl=tls))[1]


async def _looked_up(address: Address, each_s: float) -> Address:
    """Where the sentinels say that the master is now; the first that knows decides.

    None may take so long that the others are not asked any more.
    """
    reasons: list[str] = []
    for host in address.hosts:
        try:
            async with asyncio.timeout(each_s):
                found = await _ask_sentinel(address.at(host), address.master)
        except TimeoutError:
            reasons.append(f"{host}: no answer within {each_s:.1f} s")
        except OSError as exc:
            reasons.append(f"{host}: {_plain(exc)}")
        except BusError as exc:
            reasons.append(f"{host}: {exc}")
        else:
            if found is not None:
                return address.at(found)
            reasons.append(f"{host}: knows no master {address.master}")
    raise BrokerAway(f"no sentinel tells where {address.master} is: {'; '.join(reasons)}")


async def _ask_sentinel(sentinel: Address, master: str) -> Host | None:
    pipe = await _open(sentinel)
    try:
        told = rows(await pipe.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", master))
    finally:
        pipe.close()
    if len(told) == 2 and number(told[1]):  # noqa: PLR2004 -- an address and a port
        return Host(text(told[0]), number(told[1]))
    return None


async def _log_in(pipe: Pipe, address: Address, name: str) -> None:
    login: list[tuple[Word, ...]] = []
    if address.password:
        login.append(("AUTH", *((address.user,) if address.user else ()), address.password))
    login.append(("CLIENT", "SETNAME", name))
    if address.database:
        login.append(("SELECT", address.database))
    questions: list[tuple[Word, ...]] = [("ROLE",), ("INFO", "cluster")]
    replies = await pipe.batch(login + questions)
    for reply in replies[: len(login)]:
        _refuse_error(reply, address)
    _refuse_role(replies[-2], address)
    if "cluster_enabled:1" in text(replies[-1]):
        raise BrokerRefused(
            f"the Redis at {address} is a cluster, which this bus does not use: streams of one"
            " group must stand together; give one Redis, or Sentinel (redis+sentinel://)"
        )


def _refuse_error(reply: Reply, address: Address) -> None:
    if not isinstance(reply, hiredis.ReplyError):
        return
    words = str(reply)
    if words.startswith(("WRONGPASS", "NOAUTH", "ERR AUTH", "ERR Client sent AUTH")):
        raise BrokerRefused(f"the Redis at {address} refuses this user or password")
    if words.startswith("LOADING"):
        raise BrokerAway(f"the Redis at {address} still loads its data")
    if not words.startswith(_NOT_ALLOWED):
        raise BrokerRefused(f"the Redis at {address} answered {words}")


def _refuse_role(reply: Reply, address: Address) -> None:
    """A replica takes no writes; asking for the role is not everyone's right."""
    if isinstance(reply, hiredis.ReplyError):
        _refuse_error(reply, address)
    elif (told := rows(reply)) and text(told[0]) != "master":
        raise BrokerRefused(
            f"the Redis at {address} is a read-only {text(told[0])}; give its master's address,"
            " or the sentinels' (redis+sentinel://)"
        )
