"""The example of each client runs against the venue, given nothing but its address and token."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.paper_venue import TOKEN, Venue

CLIENTS = Path(__file__).parents[2] / "examples" / "clients"


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("venue")
    with Venue(folder, "--speed", "10", feed=("synthetic",)) as venue:
        yield venue


def told(*command, **more):
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, env=os.environ | more
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("script", "by_host"),
    [("with_v20.py", True), ("with_oandapyv20.py", False), ("plain_http.py", False)],
)
def test_a_python_example_trades(venue, script, by_host):
    where = ["127.0.0.1", str(venue.port)] if by_host else [f"http://127.0.0.1:{venue.port}"]
    out = told(sys.executable, "-W", "ignore", str(CLIENTS / script), *where, TOKEN)
    assert "account 101-001-1000001-001" in out
    assert "opened at" in out
    assert "result -" in out  # the spread


def test_the_curl_example_trades(venue):
    """curl is asked for where it is; the requests themselves are plain HTTP/1.1."""
    script = CLIENTS / "with_curl.sh"
    if shutil.which("curl") is None:
        assert "curl --silent" in script.read_text()
        return
    url = f"http://127.0.0.1:{venue.port}"
    out = told("sh", str(script), url, TOKEN, SECONDS_OF_PRICES="1")
    assert "orderFillTransaction" in out
    assert "longOrderFillTransaction" in out
    assert '"type":"PRICE"' in out
