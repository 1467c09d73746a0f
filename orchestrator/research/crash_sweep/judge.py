"""After the last life has settled: the store against the venue's books, which are the judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import msgspec

from orchestrator.adapters.oanda.wire import AccountAnswer, checked_account
from orchestrator.kernel.audit import verify
from orchestrator.kernel.engine import Kernel
from orchestrator.kernel.orders.reconcile import differences
from orchestrator.model.facts import Fact, IntentWritten, SignalAccepted, SignalEnded
from orchestrator.model.journal import Record
from orchestrator.model.limits import AccountPlan, KernelPlan
from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.research.crash_sweep.process import ACCOUNTS
from orchestrator.research.crash_sweep.scenes import Story


class Judged(Protocol):
    """What is judged: one service, or a whole house of them."""

    def journal(self) -> tuple[list[tuple[Record, Fact]], str]:
        """All records as they stand, and the installation's id."""
        ...

    def venue(self, path: str) -> Any:  # noqa: ANN401 -- JSON
        """The venue's own answer."""
        ...

    def mode(self) -> str: ...


def unsettled(service: Judged) -> str:
    """What still keeps the books from being judged; "" when nothing does."""
    records, _ = service.journal()
    open_signals = _accepted(records) - set(_ended(records))
    if open_signals:
        return f"{len(open_signals)} signals have no outcome yet: {sorted(open_signals)[:3]}"
    return "; ".join(_book_differences(service, records))


def violations(service: Judged, story: Story) -> Iterator[str]:
    """Each invariant that does not hold, in words."""
    records, installation = service.journal()
    broken = verify((record for record, _ in records), installation)
    if broken is not None:
        yield f"INV-11: record {broken.seq}: {broken.what}"
    yield from (
        f"INV-13: record {after.seq} is of epoch {after.epoch}, the one before of {before.epoch}"
        for (before, _), (after, _) in pairwise(records)
        if after.epoch < before.epoch
    )
    yield from (f"INV-06: {each}" for each in _book_differences(service, records))
    yield from _outcomes(records, story)
    yield from _orders(service, records)
    yield from _stop(service, story)


def _outcomes(records: list[tuple[Record, Fact]], story: Story) -> Iterator[str]:
    ended = Counter(_ended(records))
    yield from (f"INV-14: {who} ended {n} times" for who, n in ended.items() if n > 1)
    yield from (f"INV-14: {who} has no outcome" for who in _accepted(records) - set(ended))
    known = {name for name, _ in (*_accepted(records), *ended)}
    yield from (f"INV-15: {name} was answered 202 and is gone"
                for name in set(story.promised) - known)  # fmt: skip


def _orders(service: Judged, records: list[tuple[Record, Fact]]) -> Iterator[str]:
    intents = Counter(f.intent.intent_id for _, f in records if isinstance(f, IntentWritten))
    yield from (f"INV-02: intent {i} was written {n} times" for i, n in intents.items() if n > 1)
    sent = Counter(_client_ids(service))
    yield from (f"INV-02: {name} is at the venue {n} times" for name, n in sent.items() if n > 1)
    yield from (f"INV-03: order {name} has no intent" for name in sent if name not in intents)


def _client_ids(service: Judged) -> Iterator[str]:
    for account in ACCOUNTS:
        path = f"/v3/accounts/{account}/transactions/sinceid?id=0"
        for each in service.venue(path)["transactions"]:
            if each["type"] == "MARKET_ORDER" and "clientExtensions" in each:
                yield each["clientExtensions"]["id"]


def _stop(service: Judged, story: Story) -> Iterator[str]:
    stands = service.mode() == "stopped"
    if story.stopped and story.resumed is False:
        if not stands:
            yield "INV-07: the stop does not stand any more"
        for account in ACCOUNTS:
            found = service.venue(f"/v3/accounts/{account}")["account"]
            entries = [o for o in found["orders"] if o["type"] in {"LIMIT", "STOP"}]
            if found["trades"] or entries:
                yield f"INV-10: {account} is not flat"
    elif story.resumed is True and stands:
        yield "INV-15: the resume was answered 200, and the stop stands"


# -- reading --------------------------------------------------------------------------------------


def _accepted(records: list[tuple[Record, Fact]]) -> set[tuple[str, str]]:
    return {(f.signal.signal_id, a) for _, f in records if isinstance(f, SignalAccepted)
            for a in f.accounts}  # fmt: skip


def _ended(records: list[tuple[Record, Fact]]) -> list[tuple[str, str]]:
    return [(f.signal_id, f.account_id) for _, f in records if isinstance(f, SignalEnded)]


def _book_differences(service: Judged, records: list[tuple[Record, Fact]]) -> list[str]:
    """Our ledger, made anew from the journal, against the venue's accounts at the same id."""
    told = {account: service.venue(f"/v3/accounts/{account}") for account in ACCOUNTS}
    kernel = Kernel(
        KernelPlan(
            accounts=tuple(AccountPlan(account_id=AccountId(a)) for a in ACCOUNTS),
            instruments=(InstrumentName("EUR_USD"), InstrumentName("USD_JPY")), calendar="always",
        )
    )  # fmt: skip
    for record, fact in records:
        kernel.apply(fact, record.ts)
    return [
        f"{name}: {each}" for name, raw in told.items() for each in _differences(kernel, name, raw)
    ]


def _differences(kernel: Kernel, name: str, raw: object) -> tuple[str, ...]:
    answer = msgspec.json.decode(msgspec.json.encode(raw), type=AccountAnswer)
    book = kernel.books.get(AccountId(name))
    if book is None:
        return ("no book",)
    return differences(book, checked_account(answer, AccountId(name)))


def words_of(folder: Path) -> str:
    """The last words of the lives, for who looks for the cause."""
    try:
        return "\n".join((folder / "out.txt").read_text(errors="replace").splitlines()[-25:])
    except OSError:
        return ""
