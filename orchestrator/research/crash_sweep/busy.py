"""Settings under which orders flow: asked is what happens to them, not whether they pass."""

from pathlib import Path

AGENTS = Path(__file__).with_name("agents.py")

LIMITS = {
    "MAX_CONCURRENT_TRADES": "40", "RISK_PER_TRADE": "0.0005", "MAX_DAILY_LOSS": "0.3",
    "CIRCUIT_BREAKER_THRESHOLD": "0.6", "STORE_SYNC": "full",
}  # fmt: skip

# Everybody takes everything: accounts grow alike, and may stand against each other.
TOML = f"""
[agents.disagreement]
path = "{AGENTS}:Everyone"
where = "service"

[agents.strategy_analysis]
path = "{AGENTS}:Yes"
where = "service"

[agents.pattern_detection]
params = {{ account_orders = 1000000, strategy_orders = 1000000, signals_per_min = 1000000, \
duplicate_s = 0.000001, losses = 1000000, herd_accounts = 1000000 }}

[strategies.still]
path = "{AGENTS}:Still"

[limits]
orders_per_s = 100
orders_burst = 100
orders_per_min = 5000
orders_per_min_total = 9000
strategy_interval_s = 0
duplicate_window_s = 0
correlation_max = 1
opposition_allowed = true

[breakers]
entries_per_h = 1000000
orders_in_10_s = 100000
losing_run = 100
stop_outs = 100
rejects = 1000
unclean_starts = 1000
loop_lag_ms_max = 2000
"""
