#!/bin/sh
# The v20 API by curl: an order, what became of it, and ten seconds of the price stream.
#
#     sh examples/clients/with_curl.sh [URL] [TOKEN] [ACCOUNT]
set -eu
url=${1:-http://127.0.0.1:8101}
token=${2:-secret}
account=${3:-101-001-1000001-001}

ask() { # METHOD PATH [BODY]
    curl --silent --show-error --fail --compressed --request "$1" "$url/v3$2" \
        --header "Authorization: Bearer $token" --header "Content-Type: application/json" \
        ${3:+--data "$3"}
    echo
}

ask GET "/accounts/$account/summary"
ask POST "/accounts/$account/orders" \
    '{"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "100"}}'
ask GET "/accounts/$account/openPositions"
ask PUT "/accounts/$account/positions/EUR_USD/close" '{"longUnits": "ALL"}'
curl --silent --no-buffer --max-time "${SECONDS_OF_PRICES:-10}" \
    --header "Authorization: Bearer $token" \
    "$url/v3/accounts/$account/pricing/stream?instruments=EUR_USD" || true
