"""`[hours]`: holidays and news that close every account to new risk (SAFETY T3)."""

import datetime as dt

from orchestrator.model.profiles import Span
from orchestrator.model.time import from_datetime, trading_day
from orchestrator.settings.kinds import Frozen
from orchestrator.settings.profiles import NewsSettings


class HoursSettings(Frozen):
    """`holidays`: trading days by their date, each from 17:00 New York of the evening before."""

    holidays: tuple[dt.date, ...] = ()
    news: tuple[NewsSettings, ...] = ()

    def spans(self) -> tuple[Span, ...]:
        return (*map(_holiday, self.holidays), *(each.span() for each in self.news))


def _holiday(day: dt.date) -> Span:
    noon = dt.datetime.combine(day, dt.time(12), dt.UTC)
    _, start, end = trading_day(from_datetime(noon))
    return Span(from_ns=start, to_ns=end, text=f"holiday {day.isoformat()}")
