"""What an account of the paper venue is opened with."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.model.money import AccountId, Currency


class AccountConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`conversion_charge`: part of the mid that a conversion costs, instead of bid and ask.

    Source: fact sheet, section 10 (0.005 in the divisions that have it, 0 elsewhere).
    """

    account_id: AccountId
    currency: Currency
    balance: Decimal
    hedging: bool = False
    margin_rate: Decimal = Decimal("0.02")
    conversion_charge: Decimal = Decimal(0)
