"""The kinds of values that settings are made of: how each is read, and what it refuses."""

import math
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
)


class Frozen(BaseModel):
    """Base of all settings: no field can change, no unknown field is taken.

    An error never repeats its input: it might be a secret.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )


def percent(fraction: Decimal) -> str:
    """0.06 -> "6 %"."""
    return f"{(fraction * 100).normalize():f} %"


def _fraction(largest: Decimal) -> AfterValidator:
    def check(value: Decimal) -> Decimal:
        if value <= 0:
            raise ValueError(
                f"must be a fraction above 0 and at most {largest} ({percent(largest)})"
            )
        if value >= 1:
            hint = (value / 100).normalize()
            asked = f", did you mean {hint:f}?" if hint <= largest else ""
            raise ValueError(
                f"{value} is {percent(value)}; this is a fraction, not a percentage{asked}"
            )
        if value > largest:
            raise ValueError(f"{value} is {percent(value)}; at most {largest} ({percent(largest)})")
        return value

    return AfterValidator(check)


RiskFraction = Annotated[Decimal, _fraction(Decimal("0.10"))]
DayFraction = Annotated[Decimal, _fraction(Decimal("0.50"))]
DrawdownFraction = Annotated[Decimal, _fraction(Decimal("0.90"))]
TargetFraction = Annotated[Decimal, _fraction(Decimal(1))]
TradeCount = Annotated[int, Field(ge=1, le=100_000)]


def _split_csv(value: object) -> object:
    """ "a, b" -> ["a", "b"]; what is no text passes through."""
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


def _no_twins(values: tuple[Any, ...]) -> tuple[Any, ...]:
    twins = sorted({str(value) for value in values if values.count(value) > 1})
    if twins:
        raise ValueError(f"named twice: {', '.join(twins)}")
    return values


_QUOTED_MAX = 24


def _quoted(text: str) -> str:
    """The text, unless it is so long that it may be a token in the wrong place."""
    return repr(text) if len(text) <= _QUOTED_MAX else "a long entry"


ACCOUNT_ID = r"\d{3}-\d{3}-\d{1,12}-\d{3}"


def _account_id(value: str) -> str:
    if not re.fullmatch(ACCOUNT_ID, value):
        raise ValueError(
            f"{_quoted(value)} is not an OANDA v20 account id like 101-001-1000001-001"
        )
    return value


def _instrument(value: str) -> str:
    if not re.fullmatch(r"[A-Z0-9]{2,12}_[A-Z]{3}", value):
        raise ValueError(f"{_quoted(value)} is not an OANDA instrument name like EUR_USD")
    return value


AccountIdText = Annotated[str, AfterValidator(_account_id)]
InstrumentText = Annotated[str, AfterValidator(_instrument)]
AccountIds = Annotated[
    tuple[AccountIdText, ...], BeforeValidator(_split_csv), AfterValidator(_no_twins)
]
Instruments = Annotated[
    tuple[InstrumentText, ...],
    BeforeValidator(_split_csv),
    AfterValidator(_no_twins),
    Field(min_length=1),
]


class PaperAccount(Frozen):
    """An account of the paper venue, opened with `balance` of its home `currency`."""

    account_id: AccountIdText
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    balance: Annotated[Decimal, Field(gt=0, le=Decimal(10) ** 12, decimal_places=4)]


def _paper_accounts(value: object) -> object:
    parts = _split_csv(value)
    if not isinstance(value, str) or not isinstance(parts, list):
        return value
    accounts: list[PaperAccount] = []
    for part in value.split(","):
        if not part.strip():
            continue
        pieces = [piece.strip() for piece in part.split(":")]
        try:
            account_id, currency, balance = pieces
            account = PaperAccount(
                account_id=account_id, currency=currency, balance=Decimal(balance)
            )
        except (ValueError, ArithmeticError):
            raise ValueError(f"{_quoted(part.strip())} is not ACCOUNT:CURRENCY:BALANCE") from None
        accounts.append(account)
    return accounts


def _no_twin_accounts(accounts: tuple[PaperAccount, ...]) -> tuple[PaperAccount, ...]:
    _no_twins(tuple(account.account_id for account in accounts))
    return accounts


PaperAccounts = Annotated[
    tuple[PaperAccount, ...],
    BeforeValidator(_paper_accounts),
    AfterValidator(_no_twin_accounts),
    Field(min_length=1),
]


class ClassFile(Frozen):
    """A class of the user's own: a Python file and the class's name in it."""

    file: Path
    name: str

    def __str__(self) -> str:
        return f"{self.file}:{self.name}"


def _class_file(value: object, info: ValidationInfo) -> object:
    """ "file.py:ClassName" -> ClassFile; a relative file is looked for beside the TOML file."""
    if not isinstance(value, str):
        return value
    file, _, name = value.rpartition(":")
    if not file.endswith(".py") or not name.isidentifier():
        raise ValueError(f"{value!r} is not file.py:ClassName")
    context: dict[str, Any] = info.context or {}
    folder: Path = context.get("folder", Path())
    path = folder / Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return ClassFile(file=path, name=name)


ClassPath = Annotated[ClassFile, BeforeValidator(_class_file)]


def _parameter(value: object) -> object:
    """A parameter as TOML gives it; decimals become floats again, as they feed a statistic."""
    match value:
        case Decimal() | float():
            if not math.isfinite(value):
                raise ValueError("must be a finite number")
            return float(value)
        case bool() | int() | str():
            return value
        case list() | tuple():
            return tuple(_parameter(part) for part in cast("list[object]", value))
        case _:
            raise ValueError("must be a number, a text, true or false, or a list of these")


Params = dict[str, Annotated[Any, BeforeValidator(_parameter)]]
