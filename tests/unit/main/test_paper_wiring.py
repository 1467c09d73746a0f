"""How a service starts its paper venue: which prices, which instruments, and no secret in words."""

from orchestrator.main import venue as room
from orchestrator.main.venue import Replay, paper_arguments
from orchestrator.settings import load_settings


def settings(**given):
    return load_settings(env={name.upper(): text for name, text in given.items()}, env_file=None)


def after(words, flag):
    return words[words.index(flag) + 1]


def test_the_usual_instruments_need_no_word(tmp_path):
    words = paper_arguments(settings(), tmp_path, None)
    assert after(words, "--feed") == "synthetic"
    assert "--instruments" not in words


def test_what_is_traded_is_priced(tmp_path):
    words = paper_arguments(settings(instruments="EUR_USD,USD_SEK"), tmp_path, None)
    assert after(words, "--instruments").endswith(",USD_SEK")
    assert "GBP_USD" in after(words, "--instruments")


def test_live_prices_come_through_a_client_and_the_token_is_in_no_list_of_processes(
    tmp_path, monkeypatch
):
    given = settings(paper_feed="live", paper_source="live", oanda_api_key="t0ken",
                     paper_source_account="001-001-7-001", instruments="EUR_USD")  # fmt: skip
    seen = {}
    monkeypatch.setattr(room, "PaperProcess", lambda *words, **named: seen.update(
        words=words, named=named))  # fmt: skip
    room._process(given, tmp_path, None)
    words = seen["words"][1]
    assert (after(words, "--feed"), after(words, "--source")) == ("live", "live")
    assert after(words, "--instruments") == "EUR_USD"
    assert after(words, "--source-account") == "001-001-7-001"
    assert seen["named"]["module"] == "orchestrator.main.paper"
    assert seen["named"]["secrets"] == {"PAPER_SOURCE_TOKEN": "t0ken"}
    assert "t0ken" not in str(seen["words"])


def test_a_replay_has_its_own_prices_whatever_the_feed(tmp_path, monkeypatch):
    given = settings(paper_feed="live", oanda_api_key="t0ken")
    seen = {}
    monkeypatch.setattr(room, "PaperProcess", lambda *words, **named: seen.update(
        words=words, named=named))  # fmt: skip
    room._process(given, tmp_path, Replay(files=(tmp_path / "x.csv",), speed=1.0))
    assert after(seen["words"][1], "--feed").startswith("replay:")
    assert seen["named"] == {}
