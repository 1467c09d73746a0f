"""Settings: the TOML file, its accounts and profiles, each mistake by its path."""

from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator.kernel.safety.limits import LIMITS
from orchestrator.model.limits import AccountLimits
from orchestrator.model.profiles import PLAIN
from orchestrator.model.signals import Role
from orchestrator.settings import (
    LimitSettings,
)
from orchestrator.settings.profiles import ProfileSettings
from tests.unit.settings_parts import ACCOUNT, SECRET, load, refusal, toml


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a `.env` nor an `orchestrator.toml` of the checkout may reach these tests."""
    monkeypatch.chdir(tmp_path)


# --- The TOML file -------------------------------------------------------------------------------


def test_limits_of_an_account_go_before_the_general_ones(tmp_path: Path):
    config = toml(
        tmp_path,
        f'[accounts."{ACCOUNT}"]\nrisk_per_trade = 0.005\nmax_concurrent_trades = 1\nenabled=false',
    )
    settings = load(config)
    assert settings.account_limits(ACCOUNT) == AccountLimits(
        risk_per_trade=Decimal("0.005"), max_concurrent_trades=1
    )
    assert settings.account_limits("101-001-1000001-002") == AccountLimits()
    assert not settings.accounts[ACCOUNT].enabled


def test_a_profile_tightens_the_limits_of_its_accounts_and_brings_its_rules(tmp_path: Path):
    config = toml(
        tmp_path,
        f'[accounts."{ACCOUNT}"]\nprofile = "firm"\nrisk_per_trade = 0.01\n'
        '[profiles.firm]\nmax_daily_loss = 0.05\ndrawdown = "static"\nprofit_target = 0.08\n'
        'hours = ["Sun-Thu 22:00-06:00 UTC"]\nregimes = {volatile = 0.5}\n'
        "news = [{start = 2026-12-04T13:15:00Z, end = 2026-12-04T14:00:00Z, "
        'currencies = ["USD"]}]\n'
        'schedule = [{hours = "Fri 12:00-16:00 New York", scale = 0.5}]\n',
    )
    settings = load(config)
    limits = settings.account_limits(ACCOUNT)
    assert (limits.risk_per_trade, limits.max_daily_loss) == (Decimal("0.01"), Decimal("0.05"))
    profile = settings.profile_of(ACCOUNT)
    assert (profile.name, profile.drawdown, profile.profit_target) == (
        "firm", "static", Decimal("0.08")
    )  # fmt: skip
    assert profile.hours[0].days == (6, 0, 1, 2, 3)
    assert (profile.hours[0].from_s, profile.hours[0].to_s) == (22 * 3600, 6 * 3600)
    assert profile.tides[0].scale == Decimal("0.5")
    assert profile.regimes == (("volatile", Decimal("0.5")),)
    assert profile.news[0].currencies == ("USD",)
    assert settings.profile_of("101-001-1000001-002") == PLAIN
    assert settings.fingerprint() != load().fingerprint()


def test_fine_numbers_reach_the_kernel_exactly(tmp_path: Path):
    config = toml(tmp_path, "[limits]\ncollar = 0.003\n[breakers]\nspread_factor = 3.5\n")
    settings = load(config, MAX_ORDER_NOTIONAL="5000")
    assert settings.check_limits().collar == Decimal("0.003")
    assert settings.check_limits().order_notional_max == 5000
    assert settings.breaker_limits().spread_factor == Decimal("3.5")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[limits]\ncolar = 0.1", "limits.colar: unknown key"),
        ("[limits]\ncollar = 0.9", "limits.collar: must be less than or equal to 0.05"),
        ("[limits]\nprice_age_s_max = 6", "limits.price_age_s_max: must be less"),
        ("[limits]\ncollar = nan", "limits.collar: must be a finite number"),
        ("[limit]\n", "limit: unknown table; known are accounts"),
        ("max_daily_loss = 0.05", "belongs into the environment or .env, as MAX_DAILY_LOSS=..."),
        (f'[accounts."{ACCOUNT}"]\nrisk = 1', f'accounts."{ACCOUNT}".risk: unknown key'),
        (f'[accounts."{ACCOUNT}"]\nmax_daily_loss = 3', "did you mean 0.03?"),
        (f'[accounts."{ACCOUNT}"]\nmax_drawdown = 0.05', "must be risk_per_trade"),
        ('[accounts."101-001-9-001"]\n', "this account is not configured"),
        ("accounts = 3", "accounts: "),
        ("[agents.broker]\n", "agents.broker: must be one of market_analysis, "),
        ("[agents.execution_engine]\n", "cannot be replaced"),
        ('[agents.disagreement]\npath = "x.py"', "'x.py' is not file.py:ClassName"),
        ('[agents.disagreement]\npath = "x.py:Mine"', "there is no file"),
        ("[strategies.trend]\nparams = {fast = nan}", "strategies.trend.params.fast: "),
        ('[strategies."Not a name"]\n', 'strategies."Not a name": has a form'),
        ("[breakers]\nscale_half_at=0.4\nscale_quarter_at=0.3", "scale_half_at (0.4) must not"),
        ("[limits\n", "is not readable TOML"),
        (f'[accounts."{ACCOUNT}"]\nprofile = "p"', "there is no profile p (profiles: none)"),
        ("[profiles.p]\nmax_daily_loss = 5", "did you mean 0.05?"),
        ("[profiles.p]\nprofit_target = 8", "did you mean 0.08?"),
        ('[profiles.p]\ndrawdown = "weekly"', "must be one of trailing, static or end_of_day"),
        ('[profiles.p]\nhours = ["always"]', 'must read as "Mon-Fri 08:00-17:00 New York"'),
        ('[profiles.p]\nhours = ["Xxx 08:00-17:00 UTC"]', "days are Mon, Tue"),
        ('[profiles.p]\nhours = ["Mon 08:00-08:00 UTC"]', "begins when it ends"),
        ('[profiles.p]\nhours = ["Mon 08:61-09:00 UTC"]', "08:61 is no time of a day"),
        ('[profiles.p]\nschedule = [{hours = "Mon 08:00-09:00 UTC", scale = 1.5}]', "scale"),
        ("[profiles.p]\nregimes = {volatile = 2}", "must be less than or equal to 1"),
        ("[profiles.p]\ndays_min = 5\ndays_max = 4", "days_min (5) must not be above days_max"),
        (
            "[profiles.p]\nnews = [{start = 2026-12-04T13:30:00, end = 2026-12-04T14:00:00Z}]",
            "must have a zone",
        ),
        (
            "[profiles.p]\nnews = [{start = 2026-12-04T14:30:00Z, end = 2026-12-04T14:00:00Z}]",
            "end must come after start",
        ),
        ("[limits]\ninstrument_exposure_max = 20", "which would always hide it"),
        ("[limits]\ncorrelation_max = 70", "must be less than or equal to 1"),
        (
            f'[accounts."{ACCOUNT}"]\nprofile = "p"\n[profiles.p]\nmax_daily_loss = 0.07',
            "profiles.p.max_daily_loss: 0.07 is looser than MAX_DAILY_LOSS (0.06)",
        ),
        (
            f"""[accounts."{ACCOUNT}"]
profile = "p"
max_concurrent_trades = 2
[profiles.p]
max_concurrent_trades = 3""",
            f'is looser than accounts."{ACCOUNT}".max_concurrent_trades (2)',
        ),
    ],
)
def test_a_mistake_in_the_toml_file_is_named_by_its_path(tmp_path: Path, text: str, said: str):
    config = toml(tmp_path, text)
    found = refusal(config)
    assert said in found
    assert str(config) in found


def test_classes_of_the_users_own_are_found_beside_the_toml_file(tmp_path: Path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "orchestrator.toml").write_text(
        '[strategies.mine]\npath = "mine.py:Mine"\n'
        'params = {fast = 5, slow = 20.5, name = "x", on = true, steps = [1, 2.5]}\n'
        '[agents.disagreement]\npath = "mine.py:Judge"\n'
    )
    (folder / "mine.py").write_text("")
    settings = load(ORCHESTRATOR_CONFIG="mine/orchestrator.toml")
    strategy = settings.strategies["mine"]
    assert strategy.path is not None
    assert (strategy.path.file, strategy.path.name) == (Path("mine/mine.py"), "Mine")
    assert strategy.params == {
        "fast": 5, "slow": 20.5, "name": "x", "on": True, "steps": (1, 2.5),
    }  # fmt: skip
    assert [type(value) for value in strategy.params.values()] == [int, float, str, bool, tuple]
    assert str(settings.agents[Role.DISAGREEMENT].path) == "mine/mine.py:Judge"
    assert ("strategies.mine.path", "mine/mine.py:Mine", "mine/orchestrator.toml") in (
        settings.describe()
    )


def test_an_account_may_have_a_token_of_its_own(tmp_path: Path):
    config = toml(tmp_path, f'[accounts."{ACCOUNT}"]\ntoken_env = "TOKEN_ONE"\n')
    env = {"OANDA_ENVIRONMENT": "practice", "OANDA_ACCOUNT_IDS": ACCOUNT}
    settings = load(config, **env, TOKEN_ONE=SECRET)
    token = settings.token_of(ACCOUNT)
    assert token is not None
    assert token.get_secret_value() == SECRET
    assert SECRET not in str(settings.describe()) + repr(settings)
    assert "TOKEN_ONE: is unset, but accounts" in refusal(config, **env)


EXAMPLES = Path(__file__).parents[2] / "examples" / "profiles"
DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["plain", "static-drawdown", "trailing-drawdown", "evaluation"])
def test_the_shipped_profiles_load_and_tighten(name: str):
    settings = load(EXAMPLES / f"{name}.toml")
    profile = settings.profile_of(ACCOUNT)
    assert profile.name == name.replace("-", "_")
    limits, general = settings.account_limits(ACCOUNT), AccountLimits()
    assert limits != general
    for key in ("risk_per_trade", "max_daily_loss", "max_drawdown", "max_concurrent_trades"):
        assert getattr(limits, key) <= getattr(general, key)


def test_no_shipped_profile_is_left_untested():
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == {
        "plain", "static-drawdown", "trailing-drawdown", "evaluation",
    }  # fmt: skip


def test_every_key_of_a_profile_is_documented():
    text = (DOCS / "profiles.md").read_text()
    missing = [key for key in ProfileSettings.model_fields if f"`{key}`" not in text]
    assert missing == []


def test_every_limit_that_can_be_named_is_documented_and_may_go_as_far_as_the_settings():
    text = (DOCS / "limits.md").read_text()
    assert [name for name in LIMITS if f"`{name}`" not in text] == []
    for name, rule in LIMITS.items():
        if name in LimitSettings.model_fields:
            edges = LimitSettings.model_fields[name].metadata
            bound = "le" if rule.higher_is_looser else "ge"
            found = [getattr(edge, bound) for edge in edges if hasattr(edge, bound)]
            assert found == [rule.loosest], name
