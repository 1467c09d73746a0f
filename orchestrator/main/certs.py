"""`orchestrator certs DIR`: an authority and certificates for a machine or a cluster to try out."""

import argparse
import re
import sys
from pathlib import Path

from orchestrator.service.seams import wall_ns

_HERE = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9a-fA-F:.]{2,45}")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


def run(arguments: list[str]) -> int:
    """The exit code."""
    from orchestrator.main.authority import issue, make_authority

    words = _parser().parse_args(arguments)
    folder: Path = words.folder
    hosts = (*_HERE, *words.host)
    now = wall_ns()
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        made = [make_authority(folder, now)]
        made += [issue(folder, name, hosts, now, words.days) for name in words.name or ["server"]]
        made += [issue(folder, name, (), now, words.days, client=True) for name in words.client]
    except OSError as exc:
        print(f"orchestrator certs: {exc.filename or folder}: {exc.strerror}", file=sys.stderr)
        return 1
    for each in made:
        what = "made" if each.made else "kept"
        whom = f" for {', '.join(each.hosts)}" if each.hosts else ""
        print(f"{what}  {each.certificate}{whom}, until {each.until:%Y-%m-%d %H:%M} UTC")
    print(
        f"\nGive servers NAME.pem and NAME.key, and clients {made[0].certificate}.\n"
        f"{made[0].key} can vouch for any name: keep it away from servers, and trust\n"
        "this authority for development and tests only."
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="orchestrator certs",
        description="Makes a certificate authority for development, and certificates for servers "
        "and clients, in DIR. What is there and has more than a third of its life left, is kept.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument(
        "--host", action="append", default=[], type=_host, metavar="NAME",
        help="a host name or address that the servers answer to, beside localhost; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--name", action="append", default=[], type=_name, metavar="NAME",
        help="a server's certificate NAME.pem and NAME.key (default: server); may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--client", action="append", default=[], type=_name, metavar="NAME",
        help="a client's certificate; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--days", type=int, default=30, choices=range(1, 366), metavar="N",
        help="how long certificates live (1 to 365, default 30)",
    )  # fmt: skip
    return parser


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no host name or address")
    return text


def _name(text: str) -> str:
    if not _NAME.fullmatch(text) or text == "ca":
        raise argparse.ArgumentTypeError(f"{text!r} is no name like redis or orchestrator-1")
    return text
