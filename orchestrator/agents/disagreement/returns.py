"""Correlation of the accounts' own returns, from the NAVs that questions carry."""

from __future__ import annotations

import math
from collections.abc import Iterable

from orchestrator.agents.statistics import Ewma, Recent
from orchestrator.model.money import AccountId
from orchestrator.model.signals import AccountView
from orchestrator.model.time import NS_PER_S, Instant

_ACCOUNTS_MAX = 200
_PAIRS_MAX = 5_000
_RETURN_MAX = 0.2  # larger is a transfer of funds, not a result
_TINY = 1e-18

_Pair = tuple[AccountId, AccountId]


class AccountReturns:
    """EWMA of products of NAV returns, sampled at questions that are `step_s` apart or more."""

    def __init__(self, *, step_s: float, half_life: float, shrink: float, points_min: int) -> None:
        self._step_ns = round(step_s * NS_PER_S)
        self._half_life = half_life
        self._shrink = shrink
        self._points_min = points_min
        self._at_ns: Instant | None = None
        self._navs: dict[AccountId, float] = {}
        self._products: Recent[_Pair, Ewma] = Recent(_PAIRS_MAX)

    def sample(self, at_ns: Instant, views: Iterable[AccountView]) -> None:
        if self._at_ns is not None and at_ns < self._at_ns + self._step_ns:
            return
        self._at_ns = at_ns
        navs = {
            view.account_id: float(view.nav)
            for view in views
            if view.nav.is_finite() and view.nav > 0
        }
        returns = {
            account: navs[account] / before - 1
            for account, before in self._navs.items()
            if account in navs and abs(navs[account] / before - 1) < _RETURN_MAX
        }
        self._navs = dict(list(navs.items())[:_ACCOUNTS_MAX])
        for a, move in returns.items():
            for b, other in returns.items():
                if a <= b:
                    self._product((a, b)).add(move * other)

    def _product(self, pair: _Pair) -> Ewma:
        known = self._products.get(pair)
        if known is None:
            known = Ewma(self._half_life)
            self._products.set(pair, known)
        return known

    def correlation(self, a: AccountId, b: AccountId) -> float | None:
        """Shrunk to 0; None below the minimum of points or when an account has not moved."""
        cross = self._products.get((min(a, b), max(a, b)))
        own, other = self._products.get((a, a)), self._products.get((b, b))
        if cross is None or own is None or other is None or cross.count < self._points_min:
            return None
        size = own.value * other.value
        return (1 - self._shrink) * cross.value / math.sqrt(size) if size > _TINY**2 else None
