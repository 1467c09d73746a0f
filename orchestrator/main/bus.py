"""`orchestrator bus acl`: credentials on the broker for an agent elsewhere, or for the nodes."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from orchestrator.model.signals import Role
from orchestrator.service.seams import new_token

_ROLES = tuple(role.value for role in Role if role is not Role.EXECUTION_ENGINE)
_NAMESPACE = re.compile(r"[A-Za-z0-9_-]{1,32}")
_LONG_ENOUGH = 16


def run(arguments: list[str]) -> int:
    """The exit code."""
    from orchestrator.adapters.bus.redis import acl

    words = _parser().parse_args(arguments)
    try:
        password = _password(words.password_file)
    except (OSError, ValueError) as exc:
        print(f"orchestrator bus: {exc}", file=sys.stderr)
        return 1
    if words.node:
        user = acl.user_of_node(words.namespace)
        print(acl.line_of_node(words.namespace, password))
    else:
        instance = str(words.instance)
        user = acl.user_of_agent(words.namespace, words.role, instance)
        print(acl.line_of_agent(words.namespace, words.role, instance, password))
    if words.password_file is None:
        print(
            f"\nThe line above is for Redis' ACL file (then: ACL LOAD). Its password, shown once:\n"
            f"  MESSAGE_BROKER_URL=rediss://{user}:{password}@HOST:6379",
            file=sys.stderr,
        )
    return 0


def _password(file: Path | None) -> str:
    if file is None:
        return new_token()
    text = file.read_text().strip()
    if len(text) < _LONG_ENOUGH or len(text.split()) != 1:
        raise ValueError(f"{file} must hold one word of at least {_LONG_ENOUGH} characters")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="orchestrator bus",
        description="Credentials on the Redis of MESSAGE_BROKER_URL (docs/bus.md).",
    )
    acl = parser.add_subparsers(dest="what", required=True).add_parser(
        "acl",
        help="the line of Redis' ACL file that gives an agent, or the nodes, their own user",
        description="Prints the line of Redis' ACL file that gives one agent elsewhere its own "
        "user: it can write to its own stream only, and read what is meant for it. With --node: "
        "the user of the orchestrators themselves. The password is made up, and shown once.",
    )
    whom = acl.add_mutually_exclusive_group(required=True)
    whom.add_argument("--role", choices=_ROLES, metavar="ROLE", help=", ".join(_ROLES))
    whom.add_argument("--node", action="store_true", help="for the orchestrators themselves")
    acl.add_argument("--instance", type=_instance, default=1, metavar="N", help="default: 1")
    acl.add_argument(
        "--namespace", type=_namespace, default="tso", help="MESSAGE_BROKER_NAMESPACE; default: tso"
    )
    acl.add_argument(
        "--password-file", type=Path, metavar="FILE", help="where a password of your own stands"
    )
    return parser


def _instance(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 999:  # noqa: PLR2004
        raise argparse.ArgumentTypeError("must be a number from 1 to 999")
    return int(text)


def _namespace(text: str) -> str:
    if not _NAMESPACE.fullmatch(text):
        raise argparse.ArgumentTypeError("must be up to 32 letters, digits, - and _")
    return text
