"""What lists may be asked for: their query parameters, each with its form, and no others."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from orchestrator.model.orders import IntentState
from orchestrator.model.queries import PAGE_ROWS_MAX
from orchestrator.model.signals import Outcome, Role
from orchestrator.model.time import Instant, from_datetime
from orchestrator.service.api.bodies import ID_PATTERN
from orchestrator.service.api.paging import CURSOR_PATTERN

_NS_MAX = 2**63 - 1
_FILTER = r"^[A-Za-z0-9_.:-]{0,64}$"
_TYPES = r"^[a-z0-9_.]{1,64}(,[a-z0-9_.]{1,64}){0,49}$"

Filter = Annotated[str, Field(pattern=_FILTER)]
AccountFilter = Annotated[str, Field(pattern=_FILTER, description="Only of this account.")]
InstrumentFilter = Annotated[
    str, Field(pattern=_FILTER, description="Only this instrument, as EUR_USD.")
]
StrategyFilter = Annotated[str, Field(pattern=_FILTER, description="Only of this strategy.")]
TypesFilter = Annotated[
    str | None,
    Field(
        pattern=_TYPES, description="Only these types, comma-separated: signal.ended,stop.raised"
    ),
]


class Asked(BaseModel):
    """Base of query parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageQuery(Asked):
    """How much of a list, and from where."""

    limit: Annotated[int, Field(ge=1, le=PAGE_ROWS_MAX, description="At most so many items.")] = 100
    cursor: Annotated[
        str | None,
        Field(pattern=CURSOR_PATTERN, description="`next` of the page before; none: the start."),
    ] = None

    @property
    def place(self) -> str:
        return self.cursor or ""


class AgentsQuery(PageQuery):
    role: Annotated[Role | None, Field(description="Only agents of this role.")] = None
    state: Annotated[
        Literal["starting", "healthy", "degraded", "unhealthy", "stopped"] | None,
        Field(description="Only agents in this state."),
    ] = None


class PositionsQuery(PageQuery):
    account: AccountFilter = ""
    instrument: InstrumentFilter = ""


class TradesQuery(PageQuery):
    state: Annotated[
        Literal["open", "closed", "all"],
        Field(description="open: live P/L; closed: history; all: first the open ones."),
    ] = "all"
    account: AccountFilter = ""
    instrument: InstrumentFilter = ""
    strategy: StrategyFilter = ""


class OrdersQuery(PageQuery):
    kind: Annotated[
        Literal["pending", "intent", "all"],
        Field(description="pending: waiting at the venue; intent: orders of ours, all their life."),
    ] = "all"
    account: AccountFilter = ""
    instrument: InstrumentFilter = ""
    strategy: StrategyFilter = ""
    state: Annotated[
        IntentState | None, Field(description="Only intents in this state (kind: intent).")
    ] = None


class BreakersQuery(PageQuery):
    tripped: Annotated[
        bool | None, Field(description="true: only those that block; false: only armed ones.")
    ] = None
    subject: Annotated[Filter, Field(description='"system", an account or an instrument.')] = ""


class SignalsQuery(PageQuery):
    account: AccountFilter = ""
    instrument: InstrumentFilter = ""
    strategy: StrategyFilter = ""
    outcome: Annotated[
        Outcome | None, Field(description="Only signals that ended so (at that account).")
    ] = None


class EventsQuery(PageQuery):
    type: TypesFilter = None
    account: Annotated[
        str, Field(pattern=_FILTER, description="Events whose subject is this account.")
    ] = ""
    subject: Annotated[
        Filter, Field(description='Account, intent, agent, instrument or "system".')
    ] = ""
    signal: Annotated[Filter, Field(description="Events of this signal's path.")] = ""
    since: Annotated[
        AwareDatetime | None, Field(description="Not older than this: RFC 3339 with a zone.")
    ] = None
    until: Annotated[
        AwareDatetime | None, Field(description="Older than this: RFC 3339 with a zone.")
    ] = None

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(self.type.split(",")) if self.type else ()

    @property
    def since_ns(self) -> Instant:
        return bounded(self.since)

    @property
    def until_ns(self) -> Instant:
        return bounded(self.until)


class PerformanceQuery(PageQuery):
    account: AccountFilter = ""
    strategy: StrategyFilter = ""


class ExplainQuery(Asked):
    account: Annotated[
        str,
        Field(pattern=_FILTER, description="Whose order or trade: accounts' numbers overlap."),
    ] = ""


def bounded(moment: AwareDatetime | None) -> Instant:
    """0: no bound. Years that nanoseconds in 63 bits cannot hold are cut."""
    if moment is None:
        return 0
    return max(1, min(from_datetime(moment), _NS_MAX))


__all__ = [
    "ID_PATTERN", "AgentsQuery", "Asked", "BreakersQuery", "EventsQuery", "ExplainQuery",
    "OrdersQuery", "PageQuery", "PerformanceQuery", "PositionsQuery", "SignalsQuery",
    "TradesQuery", "bounded",
]  # fmt: skip
