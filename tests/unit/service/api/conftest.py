"""A desk, a clock and a client for each test."""

import asyncio

import pytest

from tests.unit.service.api.fake_desk import FakeDesk, Ticking, api_of, client_of


@pytest.fixture
def desk():
    return FakeDesk(asyncio.Event)


@pytest.fixture
def clock():
    return Ticking()


@pytest.fixture
async def api(desk, clock):
    async with client_of(api_of(desk, clock)) as client:
        yield client


@pytest.fixture
async def stranger(desk, clock):
    async with client_of(api_of(desk, clock), token=None) as client:
        yield client
