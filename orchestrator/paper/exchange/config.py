"""What an account of the paper venue is opened with."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.model.money import ZERO, AccountId, Currency

FINANCING_MODES = ("DAILY", "SECOND_BY_SECOND", "NO_FINANCING")


class Commission(msgspec.Struct, frozen=True, kw_only=True):
    """`amount` of home money for each `units_traded`, a fill at least `minimum`."""

    amount: Decimal
    units_traded: Decimal = Decimal(100_000)
    minimum: Decimal = ZERO


class AccountConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`conversion_charge`: part of the mid that a conversion costs, instead of bid and ask.

    Source: fact sheet, section 10 (0.005 in the divisions that have it, 0 elsewhere).
    `financing`: one of FINANCING_MODES. `guaranteed`: guaranteed stops are allowed.
    """

    account_id: AccountId
    currency: Currency
    balance: Decimal
    hedging: bool = False
    margin_rate: Decimal = Decimal("0.02")
    conversion_charge: Decimal = ZERO
    financing: str = "DAILY"
    commission: Commission | None = None
    guaranteed: bool = False
