"""The OANDA v20 client: meets `model.ports.Venue` for practice, live and the paper venue."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from orchestrator.adapters.oanda.address import endpoint
from orchestrator.adapters.oanda.answers import (
    READ_BODY_MAX,
    TOO_MANY,
    WRITE_BODY_MAX,
    error_without,
    read_error,
    retry_after_s,
    without,
    worth_asking_again,
    write_outcome,
)
from orchestrator.adapters.oanda.changes import ChangesAnswer, applied
from orchestrator.adapters.oanda.http import Answer, Bounds, End, plain_body
from orchestrator.adapters.oanda.limiter import TokenBucket
from orchestrator.adapters.oanda.lists import Lists, reading
from orchestrator.adapters.oanda.offset import ClockOffset, date_of
from orchestrator.adapters.oanda.outbox import Job, Outbox, Rank, Unsent
from orchestrator.adapters.oanda.pool import Backoff, ClientStats, Dialer, Pool
from orchestrator.adapters.oanda.requests import Requests
from orchestrator.adapters.oanda.seams import Nest
from orchestrator.adapters.oanda.streams import ReadLine, Stream, StreamPlan
from orchestrator.adapters.oanda.turns import ConnectTurns
from orchestrator.adapters.oanda.wire import (
    AccountAnswer,
    AccountList,
    CandleList,
    InstrumentList,
    PriceList,
    TransactionList,
    candle_of,
    checked_account,
    price_line,
    read,
    spec_of,
    tick_of,
    transaction_line,
    transaction_of,
    usable,
    whole_number,
)
from orchestrator.model.errors import VenueError, VenueNonsense, VenueRefused
from orchestrator.model.market import Candle, StreamBeat, Tick
from orchestrator.model.money import AccountId, InstrumentName, InstrumentSpec
from orchestrator.model.orders import GateQuestion, NotSent, WriteRequest
from orchestrator.model.ports import StreamSink, VenueClock, WriteDone
from orchestrator.model.time import NS_PER_S, Instant, format_time, parse_time
from orchestrator.model.venue import Account, Transaction

W = TypeVar("W")

_NAME = re.compile(r"[A-Za-z0-9_]{1,40}")
_CANDLES_MAX = 5000  # in one answer; fact sheet, section 14
_OANDA = ".oanda.com"
_NOT_FOUND = 404
_CHANGES_UNKNOWN = frozenset({400, _NOT_FOUND, 416})
_PRICE_LINES_BAD_MAX = 20


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the client allows itself. Rates: OANDA's are 120 requests and 2 connects a second.

    A second's rate, `request_burst`, `urgent_debt` and the requests of two new streams are 120
    together, so that no second ever has more. `queue_max`: for each account and rank.
    """

    requests_per_s: float = 100.0
    request_burst: float = 8.0
    urgent_debt: float = 10.0
    connects_per_s: float = 2.0  # on loopback: without limit; never two at once
    connect_s: float = 2.0
    answer_s: float = 5.0
    read_total_s: float = 30.0
    read_attempts: int = 3
    queue_max: int = 1000
    queue_s: float = 10.0
    stream_silence_s: float = 10.0
    backoff_first_s: float = 0.25
    backoff_most_s: float = 30.0


class OandaVenue:
    """All accounts of one host. Needs a running loop from the first call on; end with `close`.

    `now` gives the market's nanoseconds (stamped on ticks and first bytes), `mono` the machine's,
    `dice` numbers in [0, 1) for jitter. `token`: one for all accounts, or one for each.
    """

    def __init__(
        self,
        accounts: Sequence[AccountId],
        token: str | Mapping[AccountId, str],
        *,
        rest_url: str,
        stream_url: str,
        now: Callable[[], int],
        mono: Callable[[], int],
        dice: Callable[[], float],
        ca_file: str | None = None,
        limits: ClientLimits | None = None,
    ) -> None:
        self._limits = limits = limits or ClientLimits()
        self._now = now
        self._offset = ClockOffset(mono)
        self._own_speed = False  # a replay's market clock is the venue's own, at its own speed
        self._dice = dice
        self._tokens = _tokens(accounts, token)
        rest, stream = endpoint(rest_url, ca_file), endpoint(stream_url, ca_file)
        self._may_be_paper = not rest.host.endswith(_OANDA)
        self._requests = Requests(rest.authority, self._tokens)
        self._stream_requests = Requests(stream.authority, self._tokens)
        self.stats = ClientStats()
        self.lists = Lists(self._get)
        self._nest = Nest()
        per_s = 0.0 if rest.loopback else limits.connects_per_s
        turns = ConnectTurns(TokenBucket(per_s, 1.0), mono)
        self._dialer = Dialer(rest, turns, limits.connect_s, self.stats)
        self._stream_dialer = Dialer(stream, turns, limits.connect_s, self.stats)
        bucket = TokenBucket(limits.requests_per_s, limits.request_burst, limits.urgent_debt)
        self._outbox = Outbox(
            bucket, now, mono, self.stats, queue_max=limits.queue_max, queue_s=limits.queue_s
        )
        self._orders = {account: self._pool(warm=1, most=2) for account in self._tokens}
        self._urgents = {account: self._pool(warm=1, most=4) for account in self._tokens}
        # Not shared: an answer that is told twice must never be taken for another account's.
        self._reads = {account: self._pool(warm=0, most=2) for account in self._tokens}
        self._write_bounds = Bounds(
            limits.answer_s, limits.answer_s, WRITE_BODY_MAX, nameless_ends=True
        )
        self._read_bounds = Bounds(limits.answer_s, limits.read_total_s, READ_BODY_MAX)

    def _pool(self, *, warm: int, most: int) -> Pool:
        return Pool(self._dialer, self._nest, self._outbox, self._backoff(), warm=warm, most=most)

    def _backoff(self) -> Backoff:
        return Backoff(self._dice, self._limits.backoff_first_s, self._limits.backoff_most_s)

    def warm_up(self) -> None:
        """Start connecting the lanes of all accounts; they are then kept open."""
        for pool in (*self._orders.values(), *self._urgents.values()):
            pool.keep_warm()

    async def close(self) -> None:
        """What waits is not sent; what is on the wire is unknown; nothing works afterwards."""
        self._outbox.close()
        await self._nest.close()
        for pool in (*self._orders.values(), *self._urgents.values(), *self._reads.values()):
            await pool.close()
        await asyncio.sleep(0)  # the last `done` calls are on their way

    # writing

    def submit(self, request: WriteRequest, gate: GateQuestion, done: WriteDone) -> None:
        """See `model.ports.VenueWriter`. The first byte's instant is on the market's clock."""
        loop = asyncio.get_running_loop()

        def finished(end: End | Unsent, first_byte_ns: Instant) -> None:
            self._note(request.kind.value, end, first_byte_ns)
            outcome = without(write_outcome(request, end), self._requests.secrets)
            loop.call_soon(done, outcome, first_byte_ns)

        try:
            data = self._requests.write(request)
        except ValueError as error:
            loop.call_soon(done, NotSent(reason=str(error)), 0)
            return
        account = request.account_id
        orders, urgents = self._orders[account], self._urgents[account]
        job = Job(
            rank=Rank.URGENT if request.urgent else Rank.ORDER,
            account=account,
            data=data,
            bounds=self._write_bounds,
            pools=(urgents, orders) if request.urgent else (orders,),
            finished=finished,
            gate=gate,
            place=f"send.{request.kind}",
        )
        self._outbox.put(job)

    def _note(self, kind: str, end: End | Unsent, first_byte_ns: Instant) -> None:
        if isinstance(end, Answer):
            self.stats.count(kind, str(end.status))
            self._compare_clocks(end, first_byte_ns)
            if end.status == TOO_MANY:
                self._outbox.pause(retry_after_s(end))
        else:
            self.stats.count(kind, "unsent" if isinstance(end, Unsent) else "lost")

    # clocks

    def use_token(self, account_id: AccountId, token: str) -> None:
        """From the next request on. ValueError for what can be no token; the old one stays."""
        self._requests.use_token(account_id, token)
        self._stream_requests.use_token(account_id, token)

    @property
    def clock_offset_ns(self) -> int | None:
        """See `model.ports.VenueReader`."""
        return None if self._own_speed else self._offset.ns

    def _compare_clocks(self, answer: Answer, first_byte_ns: Instant) -> None:
        date = answer.headers.get(b"date")
        if date is None or not first_byte_ns or not self._offset.wants():
            return
        second_ns = date_of(date)
        if second_ns is not None:
            self._offset.answered(second_ns, second_ns + NS_PER_S, first_byte_ns, self._now())

    # reading

    async def account(self, account_id: AccountId) -> Account:
        self.warm_up()  # whoever reads accounts will trade: no order should wait for a connect
        body = await self._get("account", account_id, f"/v3/accounts/{account_id}")
        with reading("account"):
            return checked_account(read(body, AccountAnswer), account_id)

    async def refreshed(self, known: Account) -> Account:
        """Changes that cannot be had, or do not follow on `known`, are counted and read around."""
        query = {"sinceTransactionID": known.last_transaction_id}
        try:
            body = await self._get("changes", known.id, f"/v3/accounts/{known.id}/changes", query)
            with reading("changes"):
                answer = read(body, ChangesAnswer)
                account = applied(known, answer)
                whole = AccountAnswer(account=account, last_transaction_id="")
                return checked_account(whole, known.id)
        except VenueNonsense:
            self.stats.bad_changes += 1
        except VenueRefused as error:
            if error.status not in _CHANGES_UNKNOWN:
                raise
        return await self.account(known.id)

    async def account_ids(self) -> tuple[AccountId, ...]:
        """The accounts that the tokens may use, those configured and others."""
        asked: set[str] = set()
        found: dict[AccountId, None] = {}
        for account_id, token in self._tokens.items():
            if token in asked:
                continue
            asked.add(token)
            body = await self._get("accounts", account_id, "/v3/accounts")
            with reading("accounts"):
                found |= {one.id: None for one in read(body, AccountList).accounts}
        return tuple(found)

    async def instruments(self, account_id: AccountId) -> tuple[InstrumentSpec, ...]:
        """Instruments with rules that cannot be used are left out and counted."""
        path = f"/v3/accounts/{account_id}/instruments"
        body = await self._get("instruments", account_id, path)
        with reading("instruments"):
            answer = read(body, InstrumentList)
        return tuple(self._readable(spec_of, answer.instruments))

    async def candles(
        self, instrument: InstrumentName, granularity: str, count: int
    ) -> tuple[Candle, ...]:
        _check_names(instrument, granularity)
        found: dict[Instant, Candle] = {}
        while len(found) < count:
            query = {"price": "BA", "granularity": granularity}
            query["count"] = str(min(count - len(found), _CANDLES_MAX))
            if found:
                query["to"] = format_time(min(found))
            page = await self._candle_page(instrument, granularity, query)
            older = {one.start_ns: one for one in page if one.start_ns not in found}
            if not older:
                break
            found |= older
        return tuple(found[start] for start in sorted(found))[-count:]

    async def _candle_page(
        self, instrument: InstrumentName, granularity: str, query: Mapping[str, str]
    ) -> tuple[Candle, ...]:
        anyone = next(iter(self._tokens))
        path = f"/v3/instruments/{instrument}/candles"
        body = await self._get("candles", anyone, path, query)
        with reading("candles"):
            answer = read(body, CandleList)
            if (answer.instrument, answer.granularity) != (instrument, granularity):
                raise ValueError(f"candles of {answer.instrument} {answer.granularity}")
            return tuple(candle_of(one, instrument, granularity) for one in answer.candles)

    async def prices(
        self, account_id: AccountId, instruments: Sequence[InstrumentName]
    ) -> tuple[Tick, ...]:
        """Instruments without any price are left out and counted."""
        _check_names(*instruments)
        query = {"instruments": ",".join(instruments)}
        body = await self._get("pricing", account_id, f"/v3/accounts/{account_id}/pricing", query)
        with reading("prices"):
            answer = read(body, PriceList)
        seen_ns = self._now()
        return tuple(self._readable(lambda raw: tick_of(price_line(raw), seen_ns), answer.prices))

    def _readable(self, make: Callable[[msgspec.Raw], W], items: Sequence[msgspec.Raw]) -> list[W]:
        made: list[W] = []
        for item in items:
            try:
                made.append(make(item))
            except ValueError:
                self.stats.bad_items += 1
        return made

    async def transactions_since(
        self, account_id: AccountId, since: int
    ) -> tuple[tuple[Transaction, ...], int]:
        """Reads on while the venue answers a part only."""
        found: list[Transaction] = []
        last = since
        while True:
            page, stated = await self._transaction_page(account_id, last)
            found += page
            if page:
                last = page[-1].number
            if last >= stated or not page:
                return tuple(found), max(last if found else 0, stated)

    async def _transaction_page(
        self, account_id: AccountId, since: int
    ) -> tuple[list[Transaction], int]:
        path = f"/v3/accounts/{account_id}/transactions/sinceid"
        body = await self._get("transactions", account_id, path, {"id": str(since)})
        with reading("transactions"):
            answer = read(body, TransactionList)
            page = {one.number: one for one in map(transaction_of, answer.transactions)}
            for one in page.values():
                if one.account_id and one.account_id != account_id:
                    raise ValueError(f"transaction {one.id} belongs to another account")
            fresh = [page[number] for number in sorted(page) if number > since]
            return fresh, whole_number(answer.last_transaction_id)

    async def clock(self) -> VenueClock | None:
        """None at OANDA, which is not asked, and where there is no such path."""
        if not self._may_be_paper:
            return None
        try:
            body = await self._get("clock", next(iter(self._tokens)), "/control/clock")
        except VenueRefused as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        with reading("clock"):
            told = read(body, VenueClock)
        self._own_speed = told.speed != 1.0
        return told

    async def _get(
        self, kind: str, account_id: AccountId, path: str, query: Mapping[str, str] | None = None
    ) -> bytes:
        """The plain body of a 2xx answer. Only reads come here, so they may be repeated."""
        backoff = self._backoff()
        for attempt in range(1, self._limits.read_attempts + 1):
            end = await self._ask(kind, account_id, path, query or {})
            error = read_error(end)
            if error is None and isinstance(end, Answer):
                with reading(kind):
                    return plain_body(end, READ_BODY_MAX)
            assert error is not None
            if attempt == self._limits.read_attempts or not worth_asking_again(error):
                raise error_without(error, self._requests.secrets)
            await asyncio.sleep(backoff.next_s())
        raise VenueError("no attempt is allowed: read_attempts is 0")

    async def _ask(
        self, kind: str, account_id: AccountId, path: str, query: Mapping[str, str]
    ) -> End | Unsent:
        answered: asyncio.Future[End | Unsent] = asyncio.get_running_loop().create_future()

        def finished(end: End | Unsent, first_byte_ns: Instant) -> None:
            self._note(kind, end, first_byte_ns)
            if not answered.done():
                answered.set_result(end)

        try:
            data = self._requests.get(account_id, path, query)
        except ValueError as error:
            raise VenueError(str(error)) from error
        pools = (self._reads[account_id],)
        job = Job(Rank.READ, account_id, data, self._read_bounds, pools, finished)
        self._outbox.put(job)
        try:
            return await answered
        finally:
            self._outbox.cancel(job)

    # streams

    async def stream_prices(
        self, account_id: AccountId, instruments: Sequence[InstrumentName], sink: StreamSink
    ) -> None:
        _check_names(*instruments)

        def read_line(line: bytes, seen_ns: Instant) -> Tick | StreamBeat:
            price = price_line(line)
            if price.type == "PRICE":
                tick = tick_of(price, seen_ns)
                self.stats.bad_prices += not usable(tick)
                return tick
            if price.type != "HEARTBEAT":
                raise ValueError(f"unknown type {price.type[:40]!r}")
            venue_ns = parse_time(price.time)
            self._offset.heard(venue_ns, seen_ns)
            return StreamBeat(
                stream="prices", account_id=account_id, venue_ns=venue_ns, seen_ns=seen_ns
            )

        query = {"instruments": ",".join(instruments)}
        # A bad price is one price less; the next one comes.
        await self._stream("prices", account_id, query, read_line, _PRICE_LINES_BAD_MAX, sink)

    async def stream_transactions(self, account_id: AccountId, sink: StreamSink) -> None:
        self.warm_up()

        def read_line(line: bytes, seen_ns: Instant) -> Transaction | StreamBeat:
            item = transaction_line(line, account_id, seen_ns)
            if isinstance(item, StreamBeat):
                self._offset.heard(item.venue_ns, seen_ns)
            return item

        # A bad line may hide a fill: connect anew, so that the caller reads the gap.
        await self._stream("transactions", account_id, {}, read_line, 1, sink)

    async def _stream(
        self,
        name: str,
        account_id: AccountId,
        query: Mapping[str, str],
        read_line: ReadLine,
        bad_lines_max: int,
        sink: StreamSink,
    ) -> None:
        thing = "pricing" if name == "prices" else name
        path = f"/v3/accounts/{account_id}/{thing}/stream"
        try:
            request = self._stream_requests.get(account_id, path, query, gzip=False)
        except ValueError as error:
            raise VenueError(str(error)) from error
        plan = StreamPlan(
            name=name,
            account_id=account_id,
            request=request,
            read_line=read_line,
            bad_lines_max=bad_lines_max,
            silence_s=self._limits.stream_silence_s,
            answer_s=self._limits.answer_s,
        )
        await Stream(
            plan, sink, dialer=self._stream_dialer, backoff=self._backoff(), now=self._now
        ).run()


def _tokens(
    accounts: Sequence[AccountId], token: str | Mapping[AccountId, str]
) -> dict[AccountId, str]:
    if not accounts:
        raise ValueError("no account is configured")
    if isinstance(token, str):
        return dict.fromkeys(accounts, token)
    missing = [account for account in accounts if account not in token]
    if missing:
        raise ValueError(f"no token for {', '.join(missing)}")
    return {account: token[account] for account in accounts}


def _check_names(*names: str) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise VenueError(f"not a name of the venue's: {name[:50]!r}")
