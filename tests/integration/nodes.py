"""Several nodes on one database and one venue, each a real process with a folder of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from orchestrator.adapters.oanda.wire import AccountAnswer, checked_account
from orchestrator.adapters.store.postgres import PostgresStore
from orchestrator.kernel.audit import verify
from orchestrator.kernel.engine import Kernel
from orchestrator.kernel.ledger.book import Book
from orchestrator.kernel.orders.identity import epoch_of
from orchestrator.kernel.orders.reconcile import differences
from orchestrator.main.parts import kernel_plan
from orchestrator.model.facts import Fact, IntentWritten
from orchestrator.model.journal import Record
from orchestrator.model.money import AccountId
from orchestrator.model.venue import ClientExtensions
from orchestrator.settings import load_settings
from tests.integration.flow import BUSY, BUSY_TOML
from tests.integration.processes import (
    ACCOUNTS,
    EUR,
    ROOT,
    USD,
    Answer,
    Service,
    clean_environment,
    eventually,
)
from tests.servers.netns import NETWORK, Place
from tests.servers.postgres import PostgresServer
from tests.servers.tls import Certificate, certificate
from tests.servers.wire import Wire

TOKEN = "nodes-token"


class Venue:
    """`orchestrator paper` as an operator starts it by hand."""

    def __init__(self, folder: Path, tls: Certificate | None = None) -> None:
        """`tls`: it listens beyond loopback as well, over TLS."""
        folder.mkdir(parents=True, exist_ok=True)
        self.tls = tls
        listens = () if tls is None else (
            "--host", "0.0.0.0", "--tls-cert", str(tls.cert), "--tls-key", str(tls.key)
        )  # fmt: skip
        self.log = folder / "requests.log"
        port_file = folder / "port"
        self.process = subprocess.Popen(
            (sys.executable, "-m", "orchestrator", "paper", "--port", "0", "--token", TOKEN,
             "--account", f"{USD}:USD:100000", "--account", f"{EUR}:EUR:50000", "--control",
             "--port-file", str(port_file), "--log", str(self.log), "--feed", "synthetic",
             "--hours", "always", *listens),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=folder, env=clean_environment({"PYTHONPATH": str(ROOT)}),
        )  # fmt: skip
        eventually("the venue listens", port_file.exists, 30)
        self.port = int(port_file.read_text().split()[0])

    def end(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)


class Apart:
    """Each node in a network of its own, as on a machine of its own; database and venue on ours.

    For programs that run in a network apart (`netns.apart`). Used in `with`; what it makes ends
    with it.
    """

    def __init__(self, folder: Path, nodes: int) -> None:
        self._open = contextlib.ExitStack()
        self.places = [Place(number) for number in range(1, nodes + 1)]
        hosts = ("localhost", "127.0.0.1", *(place.here for place in self.places))
        self.certificate = certificate(folder, *hosts)

    def __enter__(self) -> Apart:
        with contextlib.ExitStack() as opened:
            for place in self.places:
                opened.enter_context(place)
            self._open = opened.pop_all()
        return self

    def __exit__(self, *failure: Any) -> None:
        self._open.__exit__(*failure)

    def postgres(self) -> PostgresServer:
        """Not yet started; it listens at our end of every cable."""
        server = PostgresServer("listen_addresses=*", tls=self.certificate)
        server.let_in(NETWORK)
        return server


class NodeService(Service):
    """One node. `wire`: between it and the database, to be cut; a node in a `place` of its own has
    a cable instead, to the database and the venue."""

    def __init__(
        self, folder: Path, name: str, database: str, venue: Venue, place: Place | None = None,
        **environment: str,
    ) -> None:  # fmt: skip
        parts = urlsplit(database)
        assert parts.port
        self.wire = Wire(parts.port)
        self.wire.__enter__()
        self.name = name
        self.place = place
        self.nodes_venue = venue
        self.database = database
        through = database.replace(f":{parts.port}/", f":{self.wire.port}/")
        venue_url, more = f"http://127.0.0.1:{venue.port}", dict[str, str]()
        if place is not None and venue.tls is not None:
            through = database.replace("@127.0.0.1:", f"@{place.here}:")
            through += f"?sslrootcert={venue.tls.ca}"
            venue_url, more = (
                f"https://{place.here}:{venue.port}", {"OANDA_CACERT": str(venue.tls.ca)}
            )  # fmt: skip
        super().__init__(
            folder / name, toml=BUSY_TOML, DATABASE_URL=through, NODE_NAME=name,
            OANDA_BASE_URL=venue_url, OANDA_API_KEY=TOKEN,
            OANDA_ACCOUNT_IDS=",".join(ACCOUNTS), INSTRUMENTS="EUR_USD,NZD_USD",
            **{**BUSY, **more, **environment},
        )  # fmt: skip
        self.environment["OANDA_ENVIRONMENT"] = "paper"
        self.prefix = () if place is None else place.within()
        self.venue_tls = None if venue.tls is None else venue.tls.client()

    def ask(
        self, method: str, path: str, body: object = None, *, token: str | None = None,
        timeout_s: float = 10.0, **headers: str,
    ) -> Answer:  # fmt: skip
        """As any service; one elsewhere is asked from over there."""
        ask = super().ask

        def asked() -> Answer:
            return ask(method, path, body, token=token, timeout_s=timeout_s, **headers)

        return asked() if self.place is None else self.place.do(asked)

    def venue_record(self) -> dict[str, Any]:
        return {"port": self.nodes_venue.port, "token": TOKEN, "pid": self.nodes_venue.process.pid}

    def writes_heard(self) -> list[dict[str, Any]]:
        if not self.nodes_venue.log.exists():
            return []
        lines = self.nodes_venue.log.read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def health(self) -> dict[str, Any]:
        """{} while nobody answers."""
        if not (self.state / "service.url").exists():
            return {}
        answer = self.try_ask("GET", "/health")
        return answer.body if answer is not None and "role" in answer.body else {}

    def role(self) -> str:
        return str(self.health().get("role", ""))

    def leads(self) -> bool:
        """And trades, or is stopped."""
        health = self.health()
        return health.get("role") == "leader" and health["mode"] in {"running", "stopped"}

    def trade(self, name: str, side: str = "buy", instrument: str = "EUR_USD") -> Answer | None:
        return self.signal(name, instrument, side)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        with contextlib.suppress(ProcessLookupError, AssertionError):
            self.send(signal.SIGCONT)
        super().__exit__(kind, *rest)
        self.wire.mend()
        self.wire.__exit__()


class Nodes:
    """Used in `with`: the venue and the nodes end with it, whatever happened."""

    def __init__(
        self, folder: Path, database: str, names: Sequence[str] = ("a", "b"),
        apart: Apart | None = None, **environment: str,
    ) -> None:  # fmt: skip
        self.database = database
        self._open = contextlib.ExitStack()
        self.venue = Venue(folder / "venue", None if apart is None else apart.certificate)
        self._open.callback(self.venue.end)
        places = [None] * len(names) if apart is None else apart.places
        self.nodes = [
            self._open.enter_context(
                NodeService(folder, name, database, self.venue, place, **environment)
            )
            for name, place in zip(names, places, strict=True)
        ]

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *failure: Any) -> None:
        self._open.__exit__(*failure)

    def start(self) -> tuple[NodeService, NodeService]:
        """The first leads and trades, the second stands by."""
        first, second, *others = self.nodes
        first.start()
        eventually("the first node leads", first.leads, 60)
        for each in (second, *others):
            each.start()
            eventually("another node stands by", lambda each=each: each.role() == "standby", 60)
        return first, second

    def orders_heard(self) -> list[dict[str, Any]]:
        """As the venue heard them, in order."""
        return self.nodes[0].orders_heard()

    # -- the judge --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def store(self) -> Iterator[PostgresStore]:
        store = PostgresStore(self.database, lease=True)
        try:
            yield store
        finally:
            store.close()

    def facts(self) -> list[tuple[Record, Fact]]:
        with self.store() as store:
            return list(store.facts_after(0))

    def judge(self) -> list[str]:
        """What is wrong: a broken chain, epochs that overlap, orders twice, books that differ."""
        found: list[str] = []
        with self.store() as store:
            facts = list(store.facts_after(0))
            broken = verify((record for record, _ in facts), store.installation_id())
            books = self._kernel(store).books
        if broken is not None:
            found.append(f"chain: {broken}")
        epochs = [record.epoch for record, _ in facts]
        if epochs != sorted(epochs):
            found.append("epochs go back")
        for epoch in set(epochs):
            nodes = {record.node for record, _ in facts if record.epoch == epoch}
            if len(nodes) > 1:
                found.append(f"epoch {epoch} was written by {sorted(nodes)}")
        return found + self._orders_wrong(facts) + self._late(facts) + self._books_wrong(books)

    def _orders_wrong(self, facts: list[tuple[Record, Fact]]) -> list[str]:
        """Each order at the venue has its intent, older than itself, none has two (INV-02, 03)."""
        intents = {fact.intent.intent_id: record.epoch for record, fact in facts
                   if isinstance(fact, IntentWritten)}  # fmt: skip
        found: list[str] = []
        for account_id in ACCOUNTS:
            ordered = [tx["clientExtensions"] for tx in self.nodes[0].venue_transactions(account_id)
                       if tx.get("reason") == "CLIENT_ORDER"]  # fmt: skip
            names = [each["id"] for each in ordered]
            found += [f"{name} was ordered twice" for name in {*names} if names.count(name) > 1]
            for each in ordered:
                epoch = intents.get(each["id"])
                if epoch is None:
                    found.append(f"order {each['id']} has no intent")
                elif epoch_of(ClientExtensions(**each)) > epoch:
                    found.append(
                        f"order {each['id']} bears {each['tag']}, its intent epoch {epoch}"
                    )
        return found

    def _late(self, facts: list[tuple[Record, Fact]]) -> list[str]:
        """Orders of an older epoch that reached the venue after one of a newer (INV-13)."""
        epochs = {fact.intent.intent_id: record.epoch for record, fact in facts
                  if isinstance(fact, IntentWritten)}  # fmt: skip
        highest, found = 0, list[str]()
        for order in self.orders_heard():
            epoch = epochs.get(order["client_request_id"], 0)
            if epoch < highest:
                found.append(f"{order} of epoch {epoch} came after one of epoch {highest}")
            highest = max(highest, epoch)
        return found

    def _books_wrong(self, books: Mapping[AccountId, Book]) -> list[str]:
        found: list[str] = []
        for name in ACCOUNTS:
            raw = self.nodes[0].venue(f"/v3/accounts/{name}")
            told = msgspec.json.decode(msgspec.json.encode(raw), type=AccountAnswer)
            account = checked_account(told, AccountId(name))
            book = books.get(AccountId(name))
            found += ["no book"] if book is None else differences(book, account)
        return found

    def _kernel(self, store: PostgresStore) -> Kernel:
        settings = load_settings(env=self.nodes[0].environment, env_file=None)
        kernel, seq = Kernel(kernel_plan(settings, "always")), 0
        saved = store.load_snapshot()
        if saved is not None:
            seq, state = saved
            kernel.restore(state)
        for record, fact in store.facts_after(seq):
            kernel.apply(fact, record.ts)
        return kernel
