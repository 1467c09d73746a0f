"""`orchestrator agent`: one agent in a process of its own, on this machine or another."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.adapters.links.lines import connect_inherited, connect_path
from orchestrator.main.agents import AgentSpec, factory_of
from orchestrator.main.logs import set_up_logs
from orchestrator.main.places import AGENTS_SOCKET
from orchestrator.model.errors import OrchestratorError
from orchestrator.model.links import Peer
from orchestrator.model.signals import Role
from orchestrator.service.agent_host import AgentHost
from orchestrator.service.agent_manager import AgentFactory
from orchestrator.service.agent_processes import WRONG_SETTING
from orchestrator.service.asyncapi import document
from orchestrator.service.seams import limit_this_process

if TYPE_CHECKING:
    from orchestrator.settings import Settings

_PR_SET_PDEATHSIG = 1
_LAST_WORDS_S = 0.05
_ROLES = tuple(role.value for role in Role if role is not Role.EXECUTION_ENGINE)


def run(arguments: Sequence[str]) -> int:
    """The exit code: 0 ended in order, 1 the service is gone, 2 refused, 78 a wrong setting."""
    words = _parser().parse_args(arguments)
    if words.asyncapi:
        print(document())
        return 0
    if words.role is None and words.fd is None:
        print(f"orchestrator: which role? one of {', '.join(_ROLES)}", file=sys.stderr)
        return 2
    try:
        return _run(words)
    except (OrchestratorError, ValueError, TypeError, OSError) as exc:
        print(f"orchestrator: {exc}", file=sys.stderr)
        return WRONG_SETTING if words.fd is not None else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="orchestrator agent",
        description="Run one agent in a process of its own: it registers at the service, is asked, "
        "and ends in order on SIGTERM. The service must say [agents.ROLE] where = \"remote\".",
    )  # fmt: skip
    parser.add_argument("role", nargs="?", choices=_ROLES, metavar="ROLE", help=", ".join(_ROLES))
    parser.add_argument(
        "--instance", type=_instance, default=1, metavar="N", help="1 ... 64, one for each at work"
    )
    parser.add_argument(
        "--socket", type=Path, metavar="PATH",
        help=f"the service's {AGENTS_SOCKET}; else MESSAGE_BROKER_URL, else the one in STATE_DIR",
    )  # fmt: skip
    parser.add_argument(
        "--asyncapi", action="store_true", help="print the protocol as an AsyncAPI document"
    )
    parser.add_argument("--fd", type=int, help=argparse.SUPPRESS)  # for children of the service
    return parser


def _instance(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:  # noqa: PLR2004 -- as the help says
        raise argparse.ArgumentTypeError("must be a whole number within 1 ... 64")
    return int(text)


def _run(words: argparse.Namespace) -> int:
    if words.fd is not None:
        return _run_as_child(words.fd)
    from orchestrator.main.elsewhere import agent_spec
    from orchestrator.settings import SettingsError, load_settings

    try:
        settings = load_settings()
    except SettingsError as exc:
        raise ValueError(str(exc)) from exc
    set_up_logs(settings.log_level)
    role = Role(words.role)
    factory = factory_of(agent_spec(settings, role, ""))
    peer = (role, words.instance)
    if words.socket is None and settings.message_broker_url is not None:
        return _serve(peer, factory, partial(_over_redis, settings, peer))
    path = words.socket or settings.state_dir / AGENTS_SOCKET
    return _serve(peer, factory, lambda host: connect_path(path, host.opened))


async def _over_redis(settings: Settings, peer: Peer, host: AgentHost) -> None:
    """Runs until cancelled. BusError, naming the variable, when the broker is of no use."""
    from orchestrator.adapters.bus.redis.agent_links import RedisAgent
    from orchestrator.adapters.bus.redis.names import Names
    from orchestrator.main.broker import meet_broker, where

    await meet_broker(settings)
    link = RedisAgent(where(settings), Names(settings.message_broker_namespace), peer)
    await link.run(host.opened, host.greet_if_due)


def _run_as_child(descriptor: int) -> int:
    """Ends with the service, whatever the agent does just then."""
    _end_with_parent()
    environment = os.environ
    limit_this_process(
        int(environment["ORCHESTRATOR_AGENT_MEMORY_MB"]),
        int(environment["ORCHESTRATOR_AGENT_NICE"]),
    )
    set_up_logs("warning")
    spec = msgspec.json.decode(environment["ORCHESTRATOR_AGENT"], type=AgentSpec)
    peer = (spec.role, int(environment["ORCHESTRATOR_AGENT_INSTANCE"]))
    factory = factory_of(spec)
    return _serve(peer, factory, lambda host: connect_inherited(descriptor, host.opened))


def _end_with_parent() -> None:
    """A hanging agent does not notice that its service is gone: the system kills it then."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:
            raise OSError("the service is gone")


def _serve(
    peer: Peer, make: AgentFactory, connect: Callable[[AgentHost], Coroutine[Any, Any, None]]
) -> int:
    async def serve() -> int:
        loop = asyncio.get_running_loop()
        over: asyncio.Future[tuple[int, str]] = loop.create_future()

        def ended(code: int, reason: str) -> None:
            if not over.done():
                over.set_result((code, reason))

        async def connected(host: AgentHost) -> None:
            try:
                await connect(host)
            except (OSError, OrchestratorError) as exc:
                ended(1, str(exc))

        host = AgentHost(peer, make, ended=ended)
        loop.add_signal_handler(signal.SIGTERM, host.leave, "SIGTERM")
        loop.add_signal_handler(signal.SIGINT, host.leave, "SIGINT")
        async with asyncio.TaskGroup() as tasks:
            connecting = tasks.create_task(connected(host))
            code, reason = await over
            await asyncio.sleep(_LAST_WORDS_S)  # what was said last goes out
            connecting.cancel()
        if code:
            print(f"orchestrator: {reason}", file=sys.stderr)
        return code

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(serve())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
