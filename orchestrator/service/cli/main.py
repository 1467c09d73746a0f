"""The commands put together, and the one function that runs them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from orchestrator import __version__
from orchestrator.service.cli import (
    acting,
    auditing,
    closing,
    emergency,
    limiting,
    machine,
    market,
    reading,
    status,
    watching,
)
from orchestrator.service.cli.backend import Backend
from orchestrator.service.cli.session import paragraphs
from orchestrator.service.cli.trouble import EXIT_CODES

_HELP = """The Trading System Orchestrator: agents, one execution engine, several OANDA accounts.

STOP EVERYTHING:  orchestrator emergency-stop

\b
First steps:
  orchestrator run                 (in one terminal)
  orchestrator status              (in another)
  orchestrator events --follow
  orchestrator trades
  orchestrator explain TRADE
"""

_ACT = "Act"
_MACHINE = "This machine"
_COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Emergency": {"emergency-stop": emergency.emergency_stop, "resume": emergency.resume},
    "Watch": {
        "status": status.status, "agents": reading.agents, "accounts": reading.accounts,
        "trades": reading.trades, "positions": reading.positions, "orders": reading.orders,
        "signals": reading.signals, "events": watching.events, "explain": watching.explain,
        "performance": reading.performance, "limits": limiting.limits,
        "reductions": closing.reductions,
    },
    _ACT: {
        "start": acting.start, "stop": acting.stop, "enable": acting.enable,
        "disable": acting.disable, "signal": acting.signal, "close": closing.close,
        "cancel": closing.cancel, "tighten": closing.tighten,
    },
    _MACHINE: {"run": machine.run, "doctor": machine.doctor, "failpoints": machine.failpoints},
}  # fmt: skip

# Programs with a command line of their own.
_PROGRAMS = (
    ("paper", machine.paper), ("agent", machine.agent),
    ("simulate", machine.simulate), ("crash-sweep", machine.crash_sweep),
    ("chaos", machine.chaos),
    ("drill", machine.drill), ("certs", machine.certs), ("bus", machine.bus),
    ("db", machine.db),
)  # fmt: skip


def build(backend: Backend) -> typer.Typer:
    """The whole command line over this backend."""
    app = typer.Typer(
        name="orchestrator", help=_HELP, epilog=EXIT_CODES, no_args_is_help=True,
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
        context_settings={"help_option_names": ["--help", "-h"]},
    )  # fmt: skip

    @app.callback()
    def begin(
        ctx: typer.Context,
        version: Annotated[  # noqa: ARG001 -- its callback answers
            bool,
            typer.Option(
                "--version", callback=_tell_version, is_eager=True, help="Print the version."
            ),
        ] = False,
    ) -> None:
        ctx.obj = backend

    _add_commands(app)
    return app


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


def _add_commands(app: typer.Typer) -> None:
    for panel, commands in _COMMANDS.items():
        for name, command in commands.items():
            app.command(
                name, help=paragraphs(command), rich_help_panel=panel, epilog=EXIT_CODES
            )(command)  # fmt: skip
    for name, group in (
        ("breakers", acting.breakers_app), ("override", limiting.override_app),
        ("audit", auditing.audit_app), ("data", market.data_app),
    ):  # fmt: skip
        app.add_typer(group, name=name, rich_help_panel=_ACT, epilog=EXIT_CODES)
    # Every word, --help too, is the other program's.
    for name, command in _PROGRAMS:
        app.command(
            name, rich_help_panel=_MACHINE, add_help_option=False,
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )(command)  # fmt: skip


def run_command_line(backend: Backend) -> None:
    """Never returns: ends the process with the command's exit code."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # a terminal that knows fewer characters shows "?"
    build(backend)()
