"""Commands of this machine, which need no service: run, paper, doctor."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer

from orchestrator.model.failpoints import PLACES
from orchestrator.service.cli.backend import Backend, Check, RunOptions
from orchestrator.service.cli.screen import Cell, Column, Row, Screen, terminal
from orchestrator.service.cli.session import Json, end_with, print_json
from orchestrator.service.cli.trouble import INTERRUPTED, REFUSED, Trouble, WrongUsage


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def run(
    ctx: typer.Context,
    replay: Annotated[
        list[Path] | None,
        typer.Option(
            "--replay",
            exists=True,
            dir_okay=False,
            readable=True,
            metavar="FILE",
            help="Recorded ticks instead of the configured market; may be repeated.",
        ),
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(
            "--speed", metavar="N|max", help="Market seconds in a second; with --replay. Else 1."
        ),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Market time waits for every answer, so that equal runs give equal orders; one"
            " process, without the API. --speed max always is.",
        ),
    ] = False,
    exit_at_end: Annotated[
        bool, typer.Option("--exit-at-end", help="End with the replay, in order.")
    ] = False,
    summary: Annotated[
        Path | None,
        typer.Option("--summary", dir_okay=False, metavar="FILE", help="The summary as JSON."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", file_okay=False, metavar="DIR", help="The state folder."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="N", help="Seed of all chance.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, metavar="N", help="The API's port.")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="The API's address.")
    ] = None,
    log_level: Annotated[
        LogLevel | None, typer.Option("--log-level", help="How much is logged.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors.")] = False,
    until_flat: Annotated[
        bool,
        typer.Option("--until-flat", help="Only carry out the stop in force, then end."),
    ] = False,
) -> None:
    """Run the service until Ctrl-C: the API, the agents, and the paper venue where it is set.

    Without options, the settings decide (environment, .env; see .env.example): by default a paper
    venue with a synthetic market.

    \b
    Examples:
      orchestrator run
      orchestrator run --port 8010 --state /var/lib/orchestrator
      orchestrator run --replay EUR_USD_20140508.csv.gz --speed 60
      orchestrator run --replay EUR_USD_20140508.csv.gz \\
        --replay NZD_USD_20140508.csv.gz --speed max --exit-at-end
      orchestrator run --replay EUR_USD_20140508.csv.gz --speed 60 --exact
    """
    _needs_replay(
        replay,
        {"--speed": speed, "--exact": exact, "--exit-at-end": exit_at_end, "--summary": summary},
    )
    if summary is not None and not summary.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {summary.parent}", param_hint="--summary")
    options = RunOptions(
        replay=tuple(replay or ()), speed=_speed(speed or "1"), exact=exact,
        exit_at_end=exit_at_end,
        state=state, seed=seed, summary=summary, port=port, host=host,
        log_level=log_level.value if log_level else None, quiet=quiet,
        until_flat=until_flat,
    )  # fmt: skip
    backend: Backend = ctx.find_root().obj
    try:
        code = backend.run(options)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(code)


def _needs_replay(replay: list[Path] | None, given: dict[str, object]) -> None:
    for name, value in given.items():
        if value and not replay:
            raise typer.BadParameter("only with --replay", param_hint=name)


def _speed(text: str) -> str:
    """ "max", or a finite number above 0."""
    if text == "max":
        return text
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or value <= 0:
        raise typer.BadParameter(
            f"{text!r} is neither max nor a number above 0", param_hint="--speed"
        )
    return text


def paper(ctx: typer.Context) -> None:
    """The paper venue alone: OANDA v20 over HTTP, pretended. Its own options: paper --help.

    \b
    Example:
      orchestrator paper --help
    """
    backend: Backend = ctx.find_root().obj
    _hand_over(backend.paper, ctx)


def agent(ctx: typer.Context) -> None:
    """One agent in a process of its own, here or on another machine: agent --help.

    \b
    Examples:
      orchestrator agent learning_safety
      orchestrator agent learning_safety --instance 2 --socket state/agents.sock
      orchestrator agent --asyncapi
    """
    backend: Backend = ctx.find_root().obj
    _hand_over(backend.agent, ctx)


def simulate(ctx: typer.Context) -> None:
    """The whole house in virtual time under faults, judged by the venue's books: simulate --help.

    \b
    Examples:
      orchestrator simulate --seeds 1000 --jobs 2
      orchestrator simulate --seed 17 --trace
    """
    backend: Backend = ctx.find_root().obj
    _hand_over(backend.simulate, ctx)


def crash_sweep(ctx: typer.Context) -> None:
    """Real processes, killed at each durable write and each send, and judged: crash-sweep --help.

    \b
    Examples:
      orchestrator crash-sweep --jobs 2
      orchestrator crash-sweep --only stop/latch.write.before:1
      orchestrator crash-sweep --store postgres --only /server
    """
    backend: Backend = ctx.find_root().obj
    _hand_over(backend.crash_sweep, ctx)


def chaos(ctx: typer.Context) -> None:
    """Real servers, nodes and agents that die at random while orders flow: chaos --help.

    \b
    Examples:
      orchestrator chaos --minutes 10 --seed 7
      orchestrator chaos --minutes 1 --no-postgres --agents process
    """
    backend: Backend = ctx.find_root().obj
    _hand_over(backend.chaos, ctx)


def failpoints(json: Json = False) -> None:
    """Where ORCHESTRATOR_FAILPOINT may strike a service on the paper venue, to test its recovery.

    Each place has two names, PLACE.before and PLACE.after. The variable holds
    NAME[:N[+]]=kill[:PIDFILE]|error|delay:SECONDS[@FILE], several with commas: at the Nth pass
    (and, with +, at each later one) the process kills itself, or the server whose id stands in
    PIDFILE, the write fails, or its thread waits; with a FILE, passes count only while that is
    there. See docs/crash-sweep.md.

    \b
    Examples:
      orchestrator failpoints
      ORCHESTRATOR_FAILPOINT=send.order.after:3=kill orchestrator run
    """
    if json:
        print_json(msgspec.json.encode(dict(PLACES)))
        return
    rows: list[Row] = list(PLACES.items())
    terminal().table((Column("place"), Column("what stands there", fold=True)), rows, "none")


def drill(ctx: typer.Context) -> None:
    """A bad day on your own settings, in virtual time, with a report: drill --help.

    \b
    Examples:
      orchestrator drill flash-crash
      orchestrator drill --all --report drills.html
    """
    backend: Backend = ctx.find_root().obj
    _hand_over(backend.drill, ctx)


def certs(ctx: typer.Context) -> None:
    """A certificate authority for development, and certificates of it for servers: certs --help.

    \b
    Examples:
      orchestrator certs certs --host redis.example.com --name redis
      orchestrator certs certs --host postgres --name postgres --client node-1
    """
    backend: Backend = ctx.find_root().obj
    _hand_over(backend.certs, ctx)


def db(ctx: typer.Context) -> None:
    """The databases: upgrade, check, backup, restore, move: db --help.

    \b
    Examples:
      orchestrator db check
      orchestrator db backup monday.backup
      orchestrator db move --from sqlite:///state/orchestrator.db --to postgresql://...
    """
    backend: Backend = ctx.find_root().obj
    _hand_over(backend.db, ctx)


def bus(ctx: typer.Context) -> None:
    """Credentials on the message broker for agents elsewhere: bus --help.

    \b
    Examples:
      orchestrator bus acl --role learning_safety --instance 2 >> users.acl
      orchestrator bus acl --node >> users.acl
    """
    backend: Backend = ctx.find_root().obj
    _hand_over(backend.bus, ctx)


def _hand_over(program: Callable[[list[str]], int], ctx: typer.Context) -> NoReturn:
    """All words go to a program with a command line of its own."""
    try:
        code = program(list(ctx.args))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(code)


# --- Doctor --------------------------------------------------------------------------------------

_MARKS = {True: Cell("good", "good"), False: Cell("BAD", "bad"), None: Cell("look", "warn")}


class _Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What `doctor --json` prints; `settings` null where they were not asked for."""

    good: bool
    checks: tuple[Check, ...]
    settings: tuple[dict[str, str], ...] | None = None


def doctor(
    ctx: typer.Context,
    settings: Annotated[
        bool, typer.Option("--settings", help="Also every setting, and where it comes from.")
    ] = False,
    json: Json = False,
) -> None:
    """Examine settings, state folder, store, clock and venue, and say what to do.

    Exit code 1 when something is bad; a warning ("look") does not count.

    \b
    Examples:
      orchestrator doctor
      orchestrator doctor --settings
      orchestrator doctor --json | jq .good
    """
    backend: Backend = ctx.find_root().obj
    try:
        diagnosis = _examine(backend, settings=settings)
    except Trouble as trouble:
        raise end_with(trouble, json=json) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if json:
        print_json(msgspec.json.encode(diagnosis))
    else:
        _show(terminal(), diagnosis)
    if not diagnosis.good:
        raise typer.Exit(REFUSED)


def _examine(backend: Backend, *, settings: bool) -> _Diagnosis:
    checks = tuple(backend.doctor())
    rows = None
    if settings:
        try:
            found = backend.settings_rows()
        except Exception as exc:  # its errors are of a room above ours
            raise WrongUsage(f"the settings cannot be used: {exc}") from exc
        rows = tuple({"name": n, "value": v, "source": s} for n, v, s in found)
    good = all(check.ok is not False for check in checks)
    return _Diagnosis(good=good, checks=checks, settings=rows)


def _show(screen: Screen, diagnosis: _Diagnosis) -> None:
    width = max((len(check.name) for check in diagnosis.checks), default=0)
    for check in diagnosis.checks:
        mark = _MARKS[check.ok]
        screen.hanging(f"{mark.text:<4}  {check.name:<{width}}  ", check.text, mark.style)
        if check.hint:
            screen.hanging(f"{'':<4}  {'':<{width}}  ", f"-> {check.hint}")
    if diagnosis.settings is not None:
        screen.line()
        rows: list[Row] = [(s["name"], s["value"], s["source"]) for s in diagnosis.settings]
        columns = (Column("setting"), Column("value", fold=True), Column("source"))
        screen.table(columns, rows, "no settings")
    screen.line()
    screen.line(*(("all is well", "good") if diagnosis.good else ("something is bad", "bad")))
