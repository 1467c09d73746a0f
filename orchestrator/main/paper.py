"""The paper venue as a program, with the client that its live prices come through."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

from orchestrator.adapters.oanda.address import LIVE, PRACTICE, Urls
from orchestrator.adapters.oanda.client import OandaVenue
from orchestrator.model.money import AccountId
from orchestrator.paper.feeds.live import Source
from orchestrator.paper.flags import FlagError
from orchestrator.paper.main import run as run_paper
from orchestrator.service.seams import dice, mono_ns, wall_ns

_NAMED = {"practice": PRACTICE, "live": LIVE}
_NOBODY = AccountId("-")  # while it is asked which accounts there are


def connect(source: Source) -> OandaVenue:
    """FlagError when the address cannot be used. It only ever reads."""
    urls = _NAMED.get(source.where) or Urls(source.where, source.stream or source.where)
    if "://" not in urls.rest:
        raise FlagError(f"--source {source.where!r}: must be practice, live or an address")
    try:
        return OandaVenue(
            accounts=(AccountId(source.account) if source.account else _NOBODY,),
            token=source.token, rest_url=urls.rest, stream_url=source.stream or urls.stream,
            now=wall_ns, mono=mono_ns, dice=dice(0).random,
        )  # fmt: skip
    except ValueError as error:
        host = urlsplit(urls.rest).hostname or urls.rest
        raise FlagError(f"--source {host}: {error}") from error


def run(argv: Sequence[str]) -> int:
    """The exit code, as `orchestrator.paper.main.run` says."""
    return run_paper(argv, connect)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
