"""OANDA's own client: account, price, an order with stop and target, its close, the price stream.

    python examples/clients/with_v20.py [HOST] [PORT] [TOKEN]

With no arguments it talks to a paper venue on this machine. For OANDA's practice server say
`api-fxpractice.oanda.com 443` and your token.
"""

# ruff: noqa: T201, S107 -- a script that shows what it does, with a made-up token

import itertools
import sys

import v20


def main(host: str = "127.0.0.1", port: str = "8101", token: str = "secret") -> None:
    secure = port == "443"
    api = v20.Context(host, int(port), ssl=secure, token=token)
    account = api.account.list().get("accounts", 200)[0].id
    summary = api.account.summary(account).get("account", 200)
    print(f"account {account}: {summary.balance} {summary.currency}")

    price = api.pricing.get(account, instruments="EUR_USD").get("prices", 200)[0]
    bid, ask = price.bids[0].price, price.asks[0].price
    print(f"EUR_USD {bid} / {ask}")

    made = api.order.market(
        account,
        instrument="EUR_USD",
        units=1000,
        stopLossOnFill={"price": f"{bid - 0.01:.5f}"},
        takeProfitOnFill={"price": f"{ask + 0.01:.5f}"},
    )
    made.get("orderCreateTransaction", 201)
    if "orderFillTransaction" not in made.body:  # 201 is not a fill
        print("not filled:", made.body["orderCancelTransaction"].reason)
        return
    trade = made.body["orderFillTransaction"].tradeOpened.tradeID
    print(f"trade {trade} opened at {made.body['orderFillTransaction'].price}")

    closed = api.trade.close(account, trade).get("orderFillTransaction", 200)
    print(f"closed at {closed.price}, result {closed.pl}")

    # OANDA's streams have a host of their own; the paper venue's are on the same port.
    host = host.replace("api-", "stream-")
    streams = v20.Context(host, int(port), ssl=secure, token=token, stream_timeout=10)
    for _, message in itertools.islice(
        streams.pricing.stream(account, instruments="EUR_USD", snapshot=True).parts(), 3
    ):
        print(message.type, message.time)


if __name__ == "__main__":
    main(*sys.argv[1:])
