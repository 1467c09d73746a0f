"""The way of a write to the venue: the gate's question for each, and what came of it."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from orchestrator.kernel.engine import Kernel
from orchestrator.model.acts import SendOrder
from orchestrator.model.events import CredentialsSeen, Event, SendFinished, TransactionsSeen
from orchestrator.model.money import AccountId
from orchestrator.model.orders import Answered, NotSent, Rejected, WriteOutcome, WriteRequest
from orchestrator.model.ports import Clock, VenueWriter
from orchestrator.model.time import Instant
from orchestrator.service.gate import Gate
from orchestrator.service.journal import Journal
from orchestrator.service.reads import REFUSALS
from orchestrator.service.seams import mono_ns, wall_ns
from orchestrator.service.telemetry import Telemetry

log = structlog.get_logger()

_BEGUN_MAX = 10_000
UNWRITTEN = NotSent(reason="the intent could not be written down durably", by_gate=True)


class Sender:
    """The only one that hands orders of the kernel to the venue. `hear` is the engine's mailbox."""

    def __init__(
        self, kernel: Kernel, journal: Journal, writer: VenueWriter, gate: Gate, clock: Clock,
        telemetry: Telemetry, hear: Callable[[Event], None],
    ) -> None:  # fmt: skip
        self._kernel = kernel
        self._journal = journal
        self._writer = writer
        self._gate = gate
        self._clock = clock
        self._telemetry = telemetry
        self._hear = hear
        self._began: dict[str, int] = {}
        self._last_first_byte_ns: Instant = 0
        self.open = 0  # orders handed over whose outcome has not come back
        self.retired = ""  # why nothing leaves any more

    # -- orders -----------------------------------------------------------------------------------

    def begin(self, signal_id: str) -> None:
        """A signal is heard now: so long its orders take from here."""
        if len(self._began) >= _BEGUN_MAX:
            self._began.clear()
        self._began.setdefault(signal_id, mono_ns())

    def send(self, act: SendOrder) -> None:
        """Its intent is durable, or it may be sent twice."""
        began = mono_ns()
        asked_at = 0

        def gate() -> str | None:
            nonlocal asked_at
            objection = self._objection(act)
            asked_at = mono_ns()
            return objection

        def done(outcome: WriteOutcome, first_byte_ns: Instant) -> None:
            self.open -= 1
            now = mono_ns()
            if first_byte_ns:
                self._sent(act.request, asked_at)
                self._telemetry.took("venue", (now - began) / 1000)
            self._hear(
                SendFinished(
                    intent_id=act.intent_id, outcome=outcome, first_byte_ns=first_byte_ns,
                    latency_us=(self._clock.mono_ns() - virtual_began) // 1000,
                )
            )  # fmt: skip

        virtual_began = self._clock.mono_ns()
        self.open += 1
        self._writer.submit(act.request, gate, done)

    def _objection(self, act: SendOrder) -> str | None:
        """Asked right before the first byte, with the socket in hand (G1, G2)."""
        if self._gate.closed:
            return self._gate.why
        objection = self.retired or self._kernel.may_send(act.intent_id, self._clock.now())
        unwritten = self._kernel.generation != self._journal.generation
        if not objection and unwritten and not act.repeatable:
            # It may lean on a reset or a limit that a crash would take back (K4, INV-07).
            return "what has just changed is not written down yet"
        return objection or None

    def _sent(self, request: WriteRequest, at_mono_ns: int) -> None:
        self._last_first_byte_ns = wall_ns() - (mono_ns() - at_mono_ns)
        intent = self._kernel.intent(request.client_request_id)
        began = self._began.pop(intent.signal_id, 0) if intent is not None else 0
        if began:
            self._telemetry.took("signal_to_first_byte", (at_mono_ns - began) / 1000)

    @property
    def last_first_byte_at(self) -> Instant | None:
        """UTC of the last order's first byte in this life; None when none left."""
        return self._last_first_byte_ns or None

    # -- what only reduces ------------------------------------------------------------------------

    def reduce(self, request: WriteRequest) -> None:
        """A write that only reduces risk: no gate word, no limit stands before it (K1)."""

        def done(outcome: WriteOutcome, _: Instant) -> None:
            self.venue_said(request.account_id, outcome)

        self._writer.submit(request, self.may_reduce, done)

    def may_reduce(self) -> str | None:
        """The gate's answer to what only reduces risk (K1, INV-01): a node that leads may."""
        return self.retired or self._gate.bars_reducing()

    def venue_said(self, account_id: AccountId, outcome: WriteOutcome) -> None:
        """Transactions of an answer to anyone's write go through the one door."""
        match outcome:
            case Answered() | Rejected():
                if outcome.status in REFUSALS:
                    told = f"HTTP {outcome.status}"
                    self._hear(CredentialsSeen(account_id=account_id, ok=False, reason=told))
                if outcome.transactions:
                    self._hear(
                        TransactionsSeen(
                            account_id=account_id, transactions=outcome.transactions,
                            last_transaction_id=outcome.last_transaction_id, source="answer",
                        )
                    )  # fmt: skip
            case _:
                log.warning("write.failed", account=account_id, reason=outcome.reason)
