"""Who may do what: default deny, own pages only, bounded rates; and no input gives a 500."""

import json

import httpx2
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.service.api import front, limits
from orchestrator.service.api.app import ROUTES
from orchestrator.service.api.describe import access_of
from orchestrator.service.api.limits import CLIENTS_MAX, Buckets, Rate, Sockets
from tests.unit.service.api.fake_desk import ACCOUNT, FakeDesk, Ticking, api_of, client_of

APP = api_of(FakeDesk())
EACH = [(method, route) for route in ROUTES for method in route.methods]
SPEC_PATHS = {
    "GET /health", "POST /start", "POST /stop", "POST /emergency-stop", "GET /agents",
    "GET /agents/{agent_id}/health", "POST /agents/{agent_id}/restart", "GET /accounts",
    "GET /accounts/{account_id}/status", "POST /accounts/{account_id}/enable",
    "POST /accounts/{account_id}/disable", "GET /metrics", "GET /events", "GET /trades",
    "GET /positions",
}  # fmt: skip


NAMES = {
    "{agent_id}": "odd-1", "{account_id}": ACCOUNT, "{breaker}": "M2", "{signal_id}": "s",
    "{ref}": "6362", "{name}": "style.css",
}  # fmt: skip


def named(path):
    for name, value in NAMES.items():
        path = path.replace(name, value)
    return path


# -- the tree's habits -----------------------------------------------------------------------------


def test_every_route_of_the_specification_is_there():
    assert set(access_of(ROUTES)) >= SPEC_PATHS


def test_every_route_declares_its_access_and_the_front_layer_agrees():
    declared = access_of(ROUTES)
    assert declared
    for name, access in declared.items():
        assert access in {"public", "token"}, name
        assert front.is_public(name.split(" ")[1]) == (access == "public"), name


def test_nothing_public_acts():
    assert {n.split(" ")[0] for n, a in access_of(ROUTES).items() if a == "public"} == {"GET"}


@pytest.mark.parametrize(("method", "route"), EACH, ids=lambda x: getattr(x, "path", x))
def test_every_route_tells_a_stranger_what_it_does(method, route):
    operation = APP.openapi()["paths"][route.path][method.lower()]
    assert operation["summary"]
    assert operation["description"]
    assert operation["tags"]
    good = [code for code in operation["responses"] if code.startswith("2")]
    assert len(good) == 1
    content = operation["responses"][good[0]]["content"]
    assert all(media["schema"] for media in content.values())
    if "application/json" in content and route.path != "/openapi.json":
        assert content["application/json"]["example"]


def test_every_example_of_the_documentation_fits_its_schema():
    document = json.loads(json.dumps(APP.openapi()))
    checked = 0
    for methods in document["paths"].values():
        for operation in methods.values():
            medias = [r.get("content", {}).get("application/json", {}) for r in
                      operation["responses"].values()]  # fmt: skip
            medias.append(
                operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            )
            for media in medias:
                if "example" in media:
                    jsonschema.validate(
                        media["example"], {**media["schema"], "components": document["components"]}
                    )
                    checked += 1
    assert checked > 30


def test_every_reference_of_the_documentation_leads_somewhere():
    document = json.dumps(APP.openapi())
    names = set(APP.openapi()["components"]["schemas"])
    for part in document.split('"$ref": "#/components/schemas/')[1:]:
        assert part.split('"')[0] in names


# -- the token -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "route"), EACH, ids=lambda x: getattr(x, "path", x))
async def test_what_needs_the_token_refuses_a_stranger_in_words(stranger, desk, method, route):
    answer = await stranger.request(method, named(route.path))
    if access_of(ROUTES)[f"{method} {route.path}"] == "public":
        assert answer.status_code == 200
        return
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "api-token" in answer.json()["detail"]
    assert desk.calls == []


@pytest.mark.parametrize(
    "value",
    ["Bearer", "Bearer ", "Bearer wrong", "Basic ZmFrZTp0b2tlbg==", "fake-token-of-the-tests",
     "Bearer fake-token-of-the-tests x", "Bearer " + "x" * 8000],
    ids=lambda v: v[:30],
)  # fmt: skip
async def test_a_wrong_token_is_no_token(stranger, value):
    assert (await stranger.get("/accounts", headers={"Authorization": value})).status_code == 401


async def test_a_path_that_does_not_exist_tells_a_stranger_nothing(stranger):
    assert (await stranger.get("/admin")).status_code == 401


# -- pages of other sites --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://elsewhere.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:9"},
     {"Origin": "http://[bad"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "file://127.0.0.1:8000"}],
    ids=str,
)  # fmt: skip
async def test_a_page_of_another_site_cannot_act(api, desk, headers):
    assert (await api.post("/start", headers=headers)).status_code == 403
    assert desk.calls == []


async def test_our_own_page_can_act(api):
    answer = await api.post("/start", headers={"Origin": "http://127.0.0.1:8000"})
    assert answer.status_code == 200


# -- rates -----------------------------------------------------------------------------------------


async def test_writes_are_held_back_and_let_through_again(api, clock):
    answers = [await api.post("/start") for _ in range(limits.WRITES.burst + 1)]
    assert [a.status_code for a in answers] == [200] * limits.WRITES.burst + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    clock.pass_s(1)
    assert (await api.post("/start")).status_code == 200


async def test_reads_have_a_rate_of_their_own(api):
    for _ in range(limits.WRITES.burst + 1):
        last = await api.post("/start")
    assert last.status_code == 429
    assert (await api.get("/accounts")).status_code == 200


async def test_strangers_at_an_address_do_not_hold_back_who_has_the_token(desk, clock):
    app = api_of(desk, clock)
    async with client_of(app, token=None) as stranger, client_of(app) as known:
        for _ in range(limits.READS.burst + 1):
            last = await stranger.get("/accounts")
        assert last.status_code == 429
        assert (await known.get("/accounts")).status_code == 200


def test_a_flood_of_addresses_does_not_fill_the_memory():
    buckets = Buckets(Rate(per_s=1, burst=1), Ticking())
    for number in range(CLIENTS_MAX * 2):
        assert buckets.take(str(number)) == 0
    assert len(buckets) == CLIENTS_MAX


def test_a_bucket_never_holds_more_than_its_burst():
    clock = Ticking()
    buckets = Buckets(Rate(per_s=5, burst=2), clock)
    clock.pass_s(3600)
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 1]


def test_a_client_may_hold_so_many_sockets_and_no_more():
    sockets = Sockets(each_max=2)
    assert [sockets.enter("a") for _ in range(3)] == [True, True, False]
    sockets.leave("a")
    assert sockets.enter("a")


# -- answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/docs", "/accounts", "/nope", "/assets/app.js"])
async def test_every_answer_carries_the_headers_that_protect_a_browser(api, path):
    answer = await api.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_the_pages_load_nothing_from_elsewhere_and_hold_no_script(stranger, path):
    page = (await stranger.get(path)).text
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("<script") == page.count('<script src="/assets/')
    assert "onclick" not in page
    assert "style=" not in page


async def test_what_the_pages_are_made_of_is_there(stranger):
    for name, kind in (("style.css", "text/css"), ("app.js", "text/javascript"),
                       ("docs.js", "text/javascript")):  # fmt: skip
        answer = await stranger.get(f"/assets/{name}")
        assert answer.headers["content-type"].startswith(kind)
    assert "innerHTML" not in (await stranger.get("/assets/app.js")).text
    assert (await stranger.get("/assets/index.html")).status_code == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"])
async def test_a_method_that_a_path_does_not_take_is_a_405_problem(api, method):
    answer = await api.request(method, "/accounts")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit=1e3", "limit=" + "9" * 5000,
     "limit=NaN", "cursor=", "cursor=%00", "cursor=" + "9" * 19, "cursor=abc", "colour=red",
     "type=;drop", "since=yesterday", "since=2014-05-08T00:00:00", "signal=a%20b", "since=1e400",
     "account=%ff", "subject=" + "a" * 65, "since=Infinity", "until=-99999999999999999"],
    ids=lambda q: q[:24],
)  # fmt: skip
async def test_a_question_in_the_wrong_form_is_a_422_problem(api, query):
    answer = await api.get(f"/events?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip
FIELDS = ["reason", "positions", "liquidate", "accounts", "stop_id", "open_trades", "subject",
          "instrument", "side", "stop_distance", "confidence", "ttl_ms", "note"]  # fmt: skip
BODIES = (
    st.binary(max_size=60)
    | st.dictionaries(st.sampled_from(FIELDS), ANY_VALUE, max_size=5).map(
        lambda found: json.dumps(found).encode("utf-8", "surrogatepass")
    )
    | ANY_VALUE.map(lambda found: json.dumps(found).encode("utf-8", "surrogatepass"))
)
PATHS = [named(r.path) for r in ROUTES] + ["/accounts/%2e%2e/status", "/explain/%00", "//", "/%ff"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST"]),
    path=st.sampled_from(PATHS) | st.text(max_size=20).map(lambda t: "/" + t),
    body=BODIES,
    query=st.dictionaries(
        st.sampled_from(["limit", "cursor", "type", "since", "state", "account", "x"]),
        st.text(max_size=12), max_size=3,
    ),
)  # fmt: skip
async def test_no_input_gives_a_500(method, path, body, query):
    async with client_of(api_of(FakeDesk())) as client:
        try:
            request = client.build_request(method, path, content=body, params=query)
        except (httpx2.InvalidURL, ValueError):
            return  # not even a client could send it
        answer = await client.send(request)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(answer.json()) == {"type", "title", "status", "detail", "instance", "errors"}
