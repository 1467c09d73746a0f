"""oandapyV20: account, candles, an order with stop and target, its close, the price stream.

    python examples/clients/with_oandapyv20.py [URL] [TOKEN]

With no arguments it talks to a paper venue on this machine. To use OANDA's practice server leave
out the two lines that change the environment's addresses, and give your token.
"""

# ruff: noqa: T201, S107 -- a script that shows what it does, with a made-up token

import itertools
import sys

import oandapyV20
from oandapyV20.endpoints import accounts, instruments, orders, pricing, trades


def main(url: str = "http://127.0.0.1:8101", token: str = "secret") -> None:
    environments = oandapyV20.oandapyV20.TRADING_ENVIRONMENTS
    environments["practice"] = {"api": url, "stream": url}
    api = oandapyV20.API(access_token=token, environment="practice")

    account = api.request(accounts.AccountList())["accounts"][0]["id"]
    summary = api.request(accounts.AccountSummary(account))["account"]
    print(f"account {account}: {summary['balance']} {summary['currency']}")

    wanted = {"granularity": "M5", "count": 3}
    for candle in api.request(instruments.InstrumentsCandles("EUR_USD", params=wanted))["candles"]:
        print(candle["time"][:16], candle["mid"]["c"], "" if candle["complete"] else "(running)")
    close = float(candle["mid"]["c"])

    order = {
        "type": "MARKET",
        "instrument": "EUR_USD",
        "units": "1000",
        "stopLossOnFill": {"price": f"{close - 0.01:.5f}"},
        "takeProfitOnFill": {"price": f"{close + 0.01:.5f}"},
    }
    made = api.request(orders.OrderCreate(account, data={"order": order}))
    if "orderFillTransaction" not in made:  # 201 is not a fill
        print("not filled:", made["orderCancelTransaction"]["reason"])
        return
    trade = made["orderFillTransaction"]["tradeOpened"]["tradeID"]
    print(f"trade {trade} opened at {made['orderFillTransaction']['price']}")

    closed = api.request(trades.TradeClose(account, trade))["orderFillTransaction"]
    print(f"closed at {closed['price']}, result {closed['pl']}")

    stream = api.request(pricing.PricingStream(account, {"instruments": "EUR_USD"}))
    for line in itertools.islice(stream, 3):
        print(line["type"], line["time"])


if __name__ == "__main__":
    main(*sys.argv[1:])
