"""`[profiles.NAME]`: the rules of an account, as proprietary-trading firms prescribe them."""

import datetime as dt
import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from orchestrator.model.money import Currency, InstrumentName
from orchestrator.model.profiles import CLOCKS, Drawdown, Profile, Span, Tide, Window
from orchestrator.model.safety import Effect
from orchestrator.model.time import from_datetime
from orchestrator.settings.kinds import (
    DayFraction,
    DrawdownFraction,
    Frozen,
    InstrumentText,
    RiskFraction,
    TargetFraction,
    TradeCount,
)

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(
    r"(?P<first>[A-Za-z]{3})(?:-(?P<last>[A-Za-z]{3}))?\s+"
    r"(?P<from>\d{2}:\d{2})-(?P<to>\d{2}:\d{2})\s+(?P<zone>New York|London|UTC)"
)
_HOURS_FORM = 'must read as "Mon-Fri 08:00-17:00 New York" (or London, or UTC)'
_DAY_S = 86_400


def _clock_s(text: str) -> int:
    hour, minute = map(int, text.split(":"))
    if minute > 59 or hour * 60 + minute > _DAY_S // 60:  # noqa: PLR2004 -- a clock's face
        raise ValueError(f"{text} is no time of a day")
    return hour * 3600 + minute * 60


def window_of(text: str) -> Window:
    """ "Mon-Fri 08:00-17:00 New York" as a window; ValueError says what it must look like."""
    found = _HOURS.fullmatch(text.strip())
    if found is None:
        raise ValueError(_HOURS_FORM)
    first, last = found["first"].lower(), (found["last"] or found["first"]).lower()
    if first not in _DAYS or last not in _DAYS:
        raise ValueError(f"days are {', '.join(day.title() for day in _DAYS)}")
    begin, end = _DAYS.index(first), _DAYS.index(last)
    days = tuple((begin + step) % 7 for step in range((end - begin) % 7 + 1))
    from_s, to_s = _clock_s(found["from"]), _clock_s(found["to"])
    if from_s == to_s:
        raise ValueError("begins when it ends: nothing would be left, or everything")
    assert found["zone"] in CLOCKS, "the pattern names no other"
    return Window(days=days, from_s=from_s, to_s=to_s, zone=found["zone"])


def _readable(text: str) -> str:
    window_of(text)
    return text


def _zoned(moment: dt.datetime) -> dt.datetime:
    if moment.tzinfo is None:
        raise ValueError("must have a zone, as in 2026-12-04T13:30:00Z")
    return moment


Hours = Annotated[str, AfterValidator(_readable)]
Moment = Annotated[dt.datetime, AfterValidator(_zoned)]
CurrencyText = Annotated[str, Field(pattern="^[A-Z0-9]{3,12}$")]
ScaleFraction = Annotated[Decimal, Field(gt=0, le=1)]


class NewsSettings(Frozen):
    """A time without new risk; for the instruments of `currencies`, or for all."""

    start: Moment
    end: Moment
    text: Annotated[str, Field(min_length=1, max_length=200)] = "news"
    currencies: tuple[CurrencyText, ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> "NewsSettings":
        if self.start >= self.end:
            raise ValueError("end must come after start")
        return self

    def span(self) -> Span:
        return Span(
            from_ns=from_datetime(self.start), to_ns=from_datetime(self.end), text=self.text,
            currencies=tuple(Currency(name) for name in self.currencies),
        )  # fmt: skip


class ScheduleSettings(Frozen):
    """Within these hours risk per trade is multiplied by `scale`."""

    hours: Hours
    scale: ScaleFraction
    text: Annotated[str, Field(max_length=200)] = ""

    def tide(self) -> Tide:
        return Tide(window=window_of(self.hours), scale=self.scale, text=self.text or self.hours)


class ProfileSettings(Frozen):
    """`[profiles.NAME]`: unset = no such rule. Limits can only be tighter than the account's."""

    risk_per_trade: RiskFraction | None = None
    max_daily_loss: DayFraction | None = None
    max_drawdown: DrawdownFraction | None = None
    max_concurrent_trades: TradeCount | None = None
    drawdown: Literal["trailing", "static", "end_of_day"] = "trailing"
    start_balance: Annotated[Decimal, Field(gt=0, le=Decimal(10) ** 12)] | None = None
    profit_target: TargetFraction | None = None
    on_target: Literal["block", "flatten"] = "block"
    days_min: Annotated[int, Field(ge=0, le=1_000)] = 0
    days_max: Annotated[int, Field(ge=0, le=1_000)] = 0
    hours: tuple[Hours, ...] = ()
    off_hours: Literal["block", "flatten"] = "block"
    news: tuple[NewsSettings, ...] = ()
    weekend_flat: bool = False
    instruments: tuple[InstrumentText, ...] = ()
    strategies: tuple[Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,39}$")], ...] = ()
    orders_a_day: Annotated[int, Field(ge=0, le=100_000)] = 0
    schedule: tuple[ScheduleSettings, ...] = ()
    regimes: dict[Annotated[str, Field(pattern="^[a-z_]{1,40}$")], ScaleFraction] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _days_in_order(self) -> "ProfileSettings":
        if self.days_max and self.days_min > self.days_max:
            raise ValueError(
                f"days_min ({self.days_min}) must not be above days_max ({self.days_max})"
            )
        return self

    def profile(self, name: str) -> Profile:
        """The rules as the kernel knows them; limits stand in the account's limits."""
        return Profile(
            name=name, drawdown=Drawdown(self.drawdown), start_balance=self.start_balance,
            profit_target=self.profit_target, on_target=Effect(self.on_target),
            days_min=self.days_min, days_max=self.days_max,
            hours=tuple(window_of(text) for text in self.hours), off_hours=Effect(self.off_hours),
            news=tuple(each.span() for each in self.news), weekend_flat=self.weekend_flat,
            instruments=tuple(InstrumentName(each) for each in self.instruments),
            strategies=self.strategies, orders_a_day=self.orders_a_day,
            tides=tuple(each.tide() for each in self.schedule),
            regimes=tuple(sorted(self.regimes.items())),
        )  # fmt: skip
