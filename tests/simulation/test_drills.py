"""Each drill, once, on the default settings; and settings on which a rule must fail."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from orchestrator.main.drills import OwnSettings, main
from orchestrator.research.drills.report import Report, as_html, as_markdown, write
from orchestrator.research.drills.run import STORIES, failed_rules, run_drill
from orchestrator.settings import Settings, load_settings


def settings_of(tmp_path: Path, **environment: str) -> Settings:
    return load_settings(env={"STATE_DIR": str(tmp_path), **environment}, env_file=None)


def drill(name: str, tmp_path: Path, size: float | None = None, **environment: str) -> Report:
    return run_drill(name, OwnSettings(settings_of(tmp_path, **environment)), size=size)


@pytest.mark.parametrize("name", STORIES)
def test_every_rule_holds_on_the_default_settings(name: str, tmp_path: Path) -> None:
    report = drill(name, tmp_path)
    assert failed_rules(report) == []
    assert report.passed
    assert report.counts["orders after a block"] == 0
    assert report.counts["orders sent"] > 0, "a drill without an order shows nothing"
    assert report.audit_head
    assert list(tmp_path.iterdir()) == [], "the user's own folder was touched"


def test_a_gap_beyond_all_stops_fails_the_loss_rule_and_says_by_how_much(tmp_path: Path) -> None:
    report = drill("weekend-gap", tmp_path, size=2.0)
    failed = [rule for rule in report.rules if not rule.passed]
    assert [rule.name for rule in failed] == ["worst loss within the daily limit"]
    assert not report.passed
    money = report.accounts[0]
    assert float(money.worst_loss_fraction.rstrip("%")) > float(money.limit.rstrip("%"))
    assert float(money.began.replace(",", "")) - float(money.ended.replace(",", "")) >= 0.99 * (
        float(money.worst_loss.replace(",", ""))
    )


def test_the_same_seed_is_the_same_drill(tmp_path: Path) -> None:
    one, two = (drill("disk-full", tmp_path) for _ in range(2))
    assert one.audit_head == two.audit_head
    assert as_markdown(one) == as_markdown(two)


def test_the_users_own_accounts_instruments_and_limits_are_drilled(tmp_path: Path) -> None:
    report = drill(
        "disk-full", tmp_path, INSTRUMENTS="GBP_USD", RISK_PER_TRADE="0.005",
        PAPER_ACCOUNTS="101-001-1-007:USD:25000",
    )  # fmt: skip
    assert report.passed, failed_rules(report)
    assert [(a.account_id, a.began, a.currency) for a in report.accounts] == [
        ("101-001-1-007", "25,000.00", "USD")
    ]
    told = dict(report.settings)
    assert (told["INSTRUMENTS"], told["RISK_PER_TRADE"]) == ("GBP_USD", "0.005")
    assert {m.text.split()[3] for m in report.timeline if " opens " in m.text} == {"GBP_USD"}


def test_a_practice_users_drill_never_asks_for_a_token_or_a_network(tmp_path: Path) -> None:
    report = drill(
        "stop", tmp_path, OANDA_ENVIRONMENT="practice", OANDA_API_KEY="secret-token",
        OANDA_ACCOUNT_IDS="101-004-1-001",
    )  # fmt: skip
    assert report.passed, failed_rules(report)
    assert "secret-token" not in msgspec.json.encode(report).decode()


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    return tmp_path


def test_the_command_ends_with_0_and_writes_its_report(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["disk-full", "--report", "drill.html"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# Drill disk-full: passed")
    page = (folder / "drill.html").read_text()
    assert "<h1>Drill disk-full: passed</h1>" in page
    assert 'class="good"' in page


def test_the_command_ends_with_1_when_a_rule_fails(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weekend-gap", "--size", "2", "--json", "--report", "drill.json"]) == 1
    told = msgspec.json.decode(capsys.readouterr().out, type=Report)
    assert not told.passed
    assert msgspec.json.decode((folder / "drill.json").read_bytes(), type=Report) == told


@pytest.mark.parametrize("words", [
    [], ["--all", "stop"], ["stop", "--size", "nan"], ["stop", "--size", "0"],
    ["stop", "--report", "drill.txt"], ["stop", "--report", "nowhere/drill.md"],
])  # fmt: skip
def test_words_that_make_no_drill_end_with_2(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("orchestrator: ")
    assert list(folder.iterdir()) == []


def test_a_report_shows_what_a_page_must_not_run(tmp_path: Path) -> None:
    report = drill("disk-full", tmp_path)
    spoilt = msgspec.structs.replace(report, about="<script>alert(1)</script> | x")
    assert "<script>" not in as_html(spoilt)
    with pytest.raises(ValueError, match=r"html, \.md or \.json"):
        write(report, tmp_path / "drill.pdf")
