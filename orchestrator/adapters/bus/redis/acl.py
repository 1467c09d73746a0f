"""Credentials on the broker: one user for each agent elsewhere, which can write what is its own and
nothing else, and one for the nodes (SAFETY X8). Redis 7 or Valkey: earlier ones know no selectors.
"""

from __future__ import annotations

import hashlib

from orchestrator.adapters.bus.redis.names import Names

NODE = "node"
# Nothing of these tells or changes what others keep there.
_GREETING = "+ping +client|setname"


def user_of_agent(namespace: str, role: str, instance: str) -> str:
    return f"{namespace}-{role}-{instance}"


def user_of_node(namespace: str) -> str:
    return f"{namespace}-{NODE}"


def line_of_agent(namespace: str, role: str, instance: str, password: str) -> str:
    """A line of an ACL file.

    It says hello, adds to its own stream and reads what is meant for it; it can not even trim, and
    knows no other stream, channel or key.
    """
    names = Names(namespace)
    return " ".join(
        (
            f"user {user_of_agent(namespace, role, instance)} reset on {_hashed(password)}",
            f"&{names.hello(role, instance)} {_GREETING} +publish",
            f"(%W~{names.sent(role, instance)} +xadd)",
            f"(%R~{names.to(role, instance)} +xread +xrevrange)",
        )
    )


def line_of_node(namespace: str, password: str) -> str:
    """All of this installation's streams and channels, and none of the server's own affairs.

    A pattern that is subscribed must stand in the line letter by letter.
    """
    return (
        f"user {user_of_node(namespace)} reset on {_hashed(password)} ~{namespace}:*"
        f" &{namespace}:* &{Names(namespace).every_hello} +@all -@admin"
        " -@dangerous -@scripting +role +info +client|setname"
    )


def _hashed(password: str) -> str:
    """As Redis keeps it: whoever reads the file cannot log in with what stands there."""
    return f"#{hashlib.sha256(password.encode()).hexdigest()}"
