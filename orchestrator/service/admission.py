"""Who may register: its protocol, its place, and its words about itself."""

from __future__ import annotations

from orchestrator.model.agent_words import PROTOCOL, PROTOCOL_MIN, Hello
from orchestrator.model.links import AgentLink

_NAME_MAX = 40
_WORDS_MAX = 100
_INSTANCE_MAX = 64


def objection_to(link: AgentLink, hello: Hello, where: str | None) -> str:
    """Why it is not registered, or "". `where`: where agents of its role live here."""
    role = hello.role.value
    if not PROTOCOL_MIN <= hello.protocol <= PROTOCOL:
        return (
            f"it speaks protocol {hello.protocol}, this service {PROTOCOL_MIN} to {PROTOCOL}: "
            f"{'update the service' if hello.protocol > PROTOCOL else 'update the agent'}"
        )
    if link.peer is not None and link.peer != (hello.role, hello.instance):
        return f"it says to be {role} {hello.instance}, and its link is another's"
    if where != link.where:
        return f'[agents.{role}] where is "{where or "service"}" here, not "{link.where}"'
    return _oddity(hello)


def _oddity(hello: Hello) -> str:
    """What is wrong with its words about itself, or ""."""
    if not 1 <= hello.instance <= _INSTANCE_MAX:
        return f"its instance is not within 1 ... {_INSTANCE_MAX}"
    if not (0 < len(hello.name) <= _NAME_MAX and hello.name.isprintable()):
        return f"its name is not 1 to {_NAME_MAX} printable characters"
    if len(hello.version) > _NAME_MAX or max(len(hello.hears), len(hello.says)) > _WORDS_MAX:
        return "its version, or the lists of what it hears and says, are too long"
    return ""
