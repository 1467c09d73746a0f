"""What commands are given: strict request bodies, and the reading of JSON that trusts nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine, Iterable
from decimal import Decimal
from typing import Annotated, Any, Literal, NoReturn, TypeAlias, TypeVar, cast

import msgspec
from fastapi import Request

from orchestrator.model.money import AccountId, InstrumentName, Side
from orchestrator.service.api.problems import Problem
from orchestrator.service.desk import SignalWish

BODY_BYTES_MAX = 64 * 1024  # SAFETY X4
DEPTH_MAX = 20
_TOO_DEEP = f"It is nested deeper than {DEPTH_MAX} levels."
ID_PATTERN = r"^[A-Za-z0-9_.:-]{1,64}$"
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_NUMBER_MAX = Decimal(10) ** 12

Id: TypeAlias = Annotated[str, msgspec.Meta(pattern=ID_PATTERN)]
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=500)]
NeededText: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Several = Annotated[tuple[Id, ...], msgspec.Meta(max_length=500)]


def is_id(text: str) -> bool:
    """Whether it has the form of an id (SAFETY X5)."""
    return _ID.fullmatch(text) is not None


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of bodies. ValueError for texts that would garble a log or a terminal."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value: object = getattr(self, name)
            texts = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
            for text in texts:
                if isinstance(text, str) and not text.isprintable():
                    raise ValueError(f"`{name}` has a character that cannot be printed")


class ReasonBody(Body, frozen=True, kw_only=True):
    """Why; it is recorded in the audit trail."""

    reason: Text = ""


class StopBody(Body, frozen=True, kw_only=True):
    """`positions`: "keep" leaves them with their stops at the venue, "close" closes them."""

    positions: Literal["keep", "close"] = "keep"
    reason: Text = ""


class OverrideBody(Body, frozen=True, kw_only=True):
    """`subject`: an account, an instrument, or "system". `value` missing: a breaker's early reset.

    `minutes` and `uses`: for what loosens. `role`: in which you act; it is recorded.
    """

    limit: Id
    subject: Id
    value: Decimal | None = None
    minutes: Annotated[int, msgspec.Meta(ge=1, le=525_600)] | None = None
    uses: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    reason: NeededText
    role: Literal["operator", "admin"] = "operator"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.value is not None and not (
            self.value.is_finite() and 0 <= self.value <= _NUMBER_MAX
        ):
            raise ValueError("`value` must be a number, not below 0")


class EndOverrideBody(Body, frozen=True, kw_only=True):
    """Why, and in which role."""

    reason: NeededText
    role: Literal["operator", "admin"] = "operator"


class EmergencyBody(Body, frozen=True, kw_only=True):
    """`liquidate`: cancel entry orders and close positions too. `accounts` empty: all of them."""

    reason: NeededText
    liquidate: bool = True
    accounts: Several = ()


class ResumeBody(Body, frozen=True, kw_only=True):
    """`stop_id` of the stop in force; `open_trades`: trades that you know to be still open."""

    stop_id: Id
    reason: NeededText
    open_trades: Several = ()


class BreakerBody(Body, frozen=True, kw_only=True):
    """`subject`: "system", an account or an instrument; needed where a breaker has several."""

    reason: NeededText
    subject: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{0,64}$")] = ""


class ResetBody(Body, frozen=True, kw_only=True):
    """As for a trip. `rebase`: A2 only: the peak begins anew at the NAV of now."""

    reason: NeededText
    subject: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{0,64}$")] = ""
    rebase: bool = False


_POSITIVE_UNITS = "`{}` must be a finite number above 0"
_COMMAND_ID = r"^[A-Za-z0-9_.:-]{0,64}$"


class ReducingBody(Body, frozen=True, kw_only=True):
    """A `command_id` of your own makes the call safe to repeat, as does an Idempotency-Key."""

    reason: Text = ""
    command_id: Annotated[str, msgspec.Meta(pattern=_COMMAND_ID)] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("units", "price"):
            value: Decimal | None = getattr(self, name, None)
            if value is not None and not (value.is_finite() and 0 < value < _NUMBER_MAX):
                raise ValueError(_POSITIVE_UNITS.format(name))


class CloseTradeBody(ReducingBody, frozen=True, kw_only=True):
    """`units`: so many of it; without, the whole trade. `instrument`: refused if it is another."""

    units: Decimal | None = None
    instrument: Annotated[str, msgspec.Meta(pattern=_COMMAND_ID)] = ""


class ClosePositionBody(ReducingBody, frozen=True, kw_only=True):
    """`units`: so many of it; without, all. `side`: needed only where both are held."""

    units: Decimal | None = None
    side: Literal["long", "short"] | None = None


class StopPriceBody(ReducingBody, frozen=True, kw_only=True):
    """`price`: the stop loss's new price, nearer to the market than the one that stands."""

    price: Decimal


class SignalBody(Body, frozen=True, kw_only=True):
    """A signal of yours: it takes the same path as any other. Distances are positive prices.

    `signal_id` of your own makes the call safe to repeat. `accounts` empty: any account.
    Decimals are best sent as strings.
    """

    instrument: Id
    side: Side
    stop_distance: Decimal
    target_distance: Decimal | None = None
    confidence: Decimal = Decimal("0.55")
    strategy: Id = "manual"
    ttl_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)] = 10_000
    accounts: Several = ()
    note: Text = ""
    signal_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{0,64}$")] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("stop_distance", "target_distance"):
            value: Decimal | None = getattr(self, name)
            if value is not None and not (value.is_finite() and 0 < value < _NUMBER_MAX):
                raise ValueError(f"`{name}` must be a finite number above 0")
        if not (self.confidence.is_finite() and 0 < self.confidence <= 1):
            raise ValueError("`confidence` must be above 0 and at most 1")

    def wish(self) -> SignalWish:
        return SignalWish(
            instrument=InstrumentName(self.instrument), side=self.side,
            stop_distance=self.stop_distance, target_distance=self.target_distance,
            confidence=self.confidence, strategy=self.strategy, ttl_ms=self.ttl_ms,
            accounts=tuple(map(AccountId, self.accounts)), note=self.note,
            signal_id=self.signal_id,
        )  # fmt: skip


B = TypeVar("B", bound=Body)


def check_form(raw: bytes) -> None:
    """Problem 422 unless it is UTF-8 JSON of bounded depth, each key once, every number finite."""
    if not raw.strip():
        return
    try:
        found = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_each_once, parse_constant=_refuse_constant, parse_int=str,
            parse_float=str,
        )  # fmt: skip
    except UnicodeDecodeError:
        raise unreadable("It is not UTF-8.") from None
    except RecursionError:
        raise unreadable(_TOO_DEEP) from None
    except ValueError as exc:
        raise unreadable(f"It is not JSON as it is needed here: {exc}.") from None
    _check_depth(found)


def _check_depth(found: object) -> None:
    level = [found]
    for _ in range(DEPTH_MAX + 1):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise unreadable(_TOO_DEEP)


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).values()
    return cast("list[object]", value) if isinstance(value, list) else ()


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def unreadable(detail: str, *errors: str) -> Problem:
    return Problem(422, "The body cannot be used", detail, errors=errors)


def read(kind: type[B], raw: bytes) -> B:
    """The body as this kind; an absent one is an empty object. Problem 422 says what is wrong."""
    try:
        return msgspec.json.decode(raw if raw.strip() else b"{}", type=kind)
    except msgspec.ValidationError as exc:
        what, _, where = str(exc).partition(" - at ")
        field = where.strip("`").removeprefix("$.").removeprefix("$")
        error = f"{field}: {what}" if field else what
        raise unreadable(f"It does not have the form that is needed: {error}.", error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise unreadable(f"It is not JSON: {exc}.") from None


def body_of(kind: type[B]) -> Callable[[Request], Coroutine[Any, Any, B]]:
    """A dependency that reads the request's body as this kind."""

    async def reading(request: Request) -> B:
        return read(kind, await request.body())

    return reading
