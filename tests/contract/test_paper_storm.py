"""Faults mixed by seed: whatever a client was told, the venue's books are whole and tell it all."""

import http.client
import random

import pytest

from tests.integration.paper_venue import USD, Venue

ORDERS = f"/v3/accounts/{USD}/orders"
TROUBLES = (
    {"drop": "before"}, {"drop": "after"}, {"status": 503}, {"status": 504, "when": "after"},
    {"status": 429}, {"body": "cut"}, {"body": "garbage"}, {"body": "empty"},
    {"status": 503, "body": "html"}, {"delay_ms": 20}, {"delay_ms": 20, "when": "after"},
)  # fmt: skip
ORDERS_SENT = 80


@pytest.fixture
def venue(tmp_path):
    with Venue(tmp_path, "--state", str(tmp_path / "state"), "--seed", "3") as venue:
        venue.price("EUR_USD", "1.10000", "1.10010")
        yield venue


def send(venue, client_id, units):
    """The fill's transaction, "refused", or "unknown"; nothing is ever sent again."""
    order = {
        "type": "MARKET", "instrument": "EUR_USD", "units": str(units),
        "clientExtensions": {"id": client_id},
    }  # fmt: skip
    try:
        status, body, _ = venue.ask("POST", ORDERS, {"order": order})
    except (OSError, http.client.HTTPException, ValueError):
        return "unknown"
    if status == 429:
        return "refused"
    return body["orderFillTransaction"] if status == 201 else "unknown"


def test_a_storm_of_faults_leaves_the_books_whole(venue):
    """Each order is in the history once or not at all, as the client was told where it was told."""
    dice = random.Random(5)
    told, units = {}, {}
    for trouble in TROUBLES:
        wish = {"operation": "orders.create", "probability": 0.06, "times": 1000} | trouble
        assert venue.ask("POST", "/control/faults", wish)[0] == 200
    for number in range(ORDERS_SENT):
        client_id = f"order-{number}"
        units[client_id] = dice.choice((100, -100, 250, -250))
        told[client_id] = send(venue, client_id, units[client_id])
    met = {}
    for waiting in venue.get("/control/faults")["faults"]:
        key = tuple((k, waiting[k]) for k in ("drop", "status", "body", "delay_ms", "when"))
        met[key] = waiting["met"]
    assert sum(1 for count in met.values() if count) >= 8, met
    assert venue.ask("DELETE", "/control/faults")[0] == 200

    history = venue.get(f"/v3/accounts/{USD}/transactions/sinceid?id=0")["transactions"]
    assert [int(t["id"]) for t in history] == list(range(1, len(history) + 1))
    fills = {}
    for t in history:
        if t["type"] == "ORDER_FILL":
            assert t["clientOrderID"] not in fills
            fills[t["clientOrderID"]] = t
    unknown = [c for c, outcome in told.items() if outcome == "unknown"]
    assert {c in fills for c in unknown} == {True, False}  # both happened: no one could have known
    for client_id, outcome in told.items():
        if outcome == "refused":
            assert client_id not in fills
        elif outcome != "unknown":
            assert fills[client_id] == outcome
    net = sum(units[client_id] for client_id in fills)
    position = venue.get(f"/v3/accounts/{USD}/positions/EUR_USD")["position"]
    assert int(position["long"]["units"]) + int(position["short"]["units"]) == net
    paid = sum(float(t["pl"]) for t in fills.values())
    balance = venue.get(f"/v3/accounts/{USD}/summary")["account"]["balance"]
    assert float(balance) == pytest.approx(100_000 + paid)


def test_the_same_seed_and_requests_meet_the_same_faults(tmp_path):
    def outcomes(folder):
        folder.mkdir()
        with Venue(folder, "--seed", "7") as venue:
            venue.price("EUR_USD", "1.10000", "1.10010")
            for trouble in TROUBLES[2:5]:
                wish = {"operation": "orders.create", "probability": 0.3, "times": 100} | trouble
                venue.ask("POST", "/control/faults", wish)
            return [type(send(venue, f"o{n}", 1)).__name__ for n in range(25)]

    first = outcomes(tmp_path / "one")
    assert len(set(first)) > 1
    assert outcomes(tmp_path / "two") == first
