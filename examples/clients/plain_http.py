"""No client at all: the v20 API by urllib, as any language could do it.

    python examples/clients/plain_http.py [URL] [TOKEN]

With no arguments it talks to a paper venue on this machine.
"""

# ruff: noqa: T201, S107, S310 -- a script that shows what it does, with a made-up token

import json
import sys
import urllib.request


def main(url: str = "http://127.0.0.1:8101", token: str = "secret") -> None:
    def ask(method: str, path: str, body: object = None) -> dict:
        request = urllib.request.Request(
            f"{url}/v3{path}",
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    account = ask("GET", "/accounts")["accounts"][0]["id"]
    summary = ask("GET", f"/accounts/{account}/summary")["account"]
    print(f"account {account}: {summary['balance']} {summary['currency']}")

    order = {"type": "MARKET", "instrument": "EUR_USD", "units": "1000"}
    order["clientExtensions"] = {"id": f"example-{summary['lastTransactionID']}"}
    made = ask("POST", f"/accounts/{account}/orders", {"order": order})
    if "orderFillTransaction" not in made:  # 201 is not a fill
        print("not filled:", made["orderCancelTransaction"]["reason"])
        return
    trade = made["orderFillTransaction"]["tradeOpened"]["tradeID"]
    print(f"trade {trade} opened at {made['orderFillTransaction']['price']}")

    closed = ask("PUT", f"/accounts/{account}/trades/{trade}/close", {"units": "ALL"})
    print(f"closed, result {closed['orderFillTransaction']['pl']}")

    since = int(summary["lastTransactionID"])
    for transaction in ask("GET", f"/accounts/{account}/transactions/sinceid?id={since}")[
        "transactions"
    ]:
        print(transaction["id"], transaction["type"])


if __name__ == "__main__":
    main(*sys.argv[1:])
