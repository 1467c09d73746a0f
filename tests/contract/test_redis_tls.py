"""Redis over TLS: by the server's own where its program has it; by a door before one without."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import hiredis
import pytest

from orchestrator.adapters.bus.redis.acl import line_of_agent, user_of_agent
from orchestrator.adapters.bus.redis.address import parse
from orchestrator.adapters.bus.redis.dialer import dial, meet
from orchestrator.adapters.bus.redis.names import Names
from orchestrator.model.errors import BusError
from tests.servers.redis import RedisServer, over_tls, speaks_tls
from tests.servers.tls import Certificate, certificate

ROLE, NAMES = "learning_safety", Names("tso")
USERS = ("user default off", line_of_agent("tso", ROLE, "1", "agent-password"))


class Serve(Protocol):
    """A server that speaks TLS with this certificate; its port."""

    def __call__(
        self, tls: Certificate, *, clients: bool = False, users: Sequence[str] = ()
    ) -> AbstractAsyncContextManager[int]: ...


@pytest.fixture(params=("own", "door") if speaks_tls() else ("door",))
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Serve:
    @contextlib.asynccontextmanager
    async def own(
        tls: Certificate, *, clients: bool = False, users: Sequence[str] = ()
    ) -> AsyncIterator[int]:
        with RedisServer(tmp_path / "r", tls=tls, clients=clients, users=users) as server:
            yield server.tls_port

    @contextlib.asynccontextmanager
    async def door(
        tls: Certificate, *, clients: bool = False, users: Sequence[str] = ()
    ) -> AsyncIterator[int]:
        with RedisServer(tmp_path / "r", users=users) as server:
            async with over_tls(server, tls, clients=clients) as port:
                yield port

    return own if request.param == "own" else door


async def why(url: str, limit_s: float = 4.0) -> str:
    with pytest.raises(BusError) as refused:
        async with asyncio.timeout(6):
            await meet(lambda: parse(url), limit_s)
    return str(refused.value)


async def test_tls_is_verified(tmp_path: Path, serve: Serve):
    good, other = certificate(tmp_path / "good"), certificate(tmp_path / "other")
    async with serve(good) as port:
        await meet(lambda: parse(f"rediss://127.0.0.1:{port}?ssl_ca_certs={good.ca}"))
        wrong = await why(f"rediss://127.0.0.1:{port}?ssl_ca_certs={other.ca}")
        assert "not trusted" in wrong
        assert "not trusted" in await why(f"rediss://127.0.0.1:{port}")


async def test_tls_at_a_server_that_speaks_none_there_is_said_so(tmp_path: Path):
    good = certificate(tmp_path / "good")
    with RedisServer(tmp_path / "r") as server:
        url = f"rediss://127.0.0.1:{server.port}?ssl_ca_certs={good.ca}"
        assert "TLS" in await why(url, 0.5)


async def test_a_certificate_of_another_host_is_refused(tmp_path: Path, serve: Serve):
    elsewhere = certificate(tmp_path / "elsewhere", "redis.example")
    async with serve(elsewhere) as port:
        assert "another" in await why(f"rediss://127.0.0.1:{port}?ssl_ca_certs={elsewhere.ca}")


async def test_a_certificate_of_the_past_is_refused(tmp_path: Path, serve: Serve):
    past = certificate(tmp_path / "past", "127.0.0.1", expired=True)
    async with serve(past) as port:
        assert "expired" in await why(f"rediss://127.0.0.1:{port}?ssl_ca_certs={past.ca}")


async def test_a_server_that_asks_for_certificates_lets_in_who_has_one_of_its_authority(
    tmp_path: Path, serve: Serve
):
    good = certificate(tmp_path / "good")
    mine = certificate(tmp_path / "good", name="node-1", client=True)
    strange = certificate(tmp_path / "other", name="node-1", client=True)
    async with serve(good, clients=True) as port:
        url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={good.ca}"
        await meet(lambda: parse(f"{url}&ssl_certfile={mine.cert}&ssl_keyfile={mine.key}"))
        for more in ("", f"&ssl_certfile={strange.cert}&ssl_keyfile={strange.key}"):
            assert "wants a certificate of us" in await why(url + more)


async def test_users_rights_hold_over_tls_as_well(tmp_path: Path, serve: Serve):
    good = certificate(tmp_path / "good")
    async with serve(good, users=USERS) as port:
        place = f"127.0.0.1:{port}?ssl_ca_certs={good.ca}"
        user = user_of_agent("tso", ROLE, "1")
        assert "password" in await why(f"rediss://{user}:wrong-password@{place}")
        pipe = await dial(lambda: parse(f"rediss://{user}:agent-password@{place}"), "agent")
        with contextlib.closing(pipe):
            assert await pipe.call("XADD", NAMES.sent(ROLE, "1"), "*", "id", "1", "d", "x")
            other, control = await pipe.batch(
                [("XADD", NAMES.sent(ROLE, "2"), "*", "id", "1"), ("PUBLISH", NAMES.stop, "x")]
            )
        for reply in (other, control):
            assert isinstance(reply, hiredis.ReplyError)
            assert str(reply).startswith("NOPERM")
