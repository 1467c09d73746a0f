"""One command's talk with the service: whom it asks, how it prints, how it ends."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from orchestrator.service.cli.backend import Backend, ServiceAddress
from orchestrator.service.cli.client import Client, read
from orchestrator.service.cli.screen import Screen, terminal
from orchestrator.service.cli.texts import clean
from orchestrator.service.cli.trouble import INTERRUPTED, Trouble, WrongUsage

Url = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="ORCHESTRATOR_URL", metavar="URL", rich_help_panel="The service",
        help="Where the service answers; else as the settings and the state folder say.",
    ),
]  # fmt: skip
Token = Annotated[
    str | None,
    typer.Option(
        "--token", envvar="ORCHESTRATOR_TOKEN", metavar="TOKEN", rich_help_panel="The service",
        help="Bearer token; else the state folder's. Others see your command's words: "
        "better by the environment.",
    ),
]  # fmt: skip
State = Annotated[
    Path | None,
    typer.Option(
        "--state", metavar="DIR", rich_help_panel="The service",
        help="The service's state folder, if it is not the settings'.",
    ),
]  # fmt: skip
Json = Annotated[
    bool, typer.Option("--json", help="Print the API's JSON and nothing else, for programs.")
]

T = TypeVar("T")


class Session:
    """The service is looked for when it is asked the first time."""

    def __init__(
        self,
        backend: Backend,
        *,
        url: str | None,
        token: str | None,
        state: Path | None,
        json: bool,
    ) -> None:
        self.backend = backend
        self.state = state
        self.json = json
        self._url = url
        self._token = token
        self._client: Client | None = None
        self._screen: Screen | None = None

    @property
    def screen(self) -> Screen:
        if self._screen is None:
            self._screen = terminal()
        return self._screen

    @property
    def client(self) -> Client:
        """WrongUsage where no usable address is known."""
        if self._client is None:
            self._client = self.make_client()
            if self._client.is_plain and not self._client.is_local and self._client.has_token:
                raise WrongUsage(
                    f"a token for {self._client.url} would travel unencrypted; use https, or run "
                    "this command on the service's machine"
                )
        return self._client

    @property
    def knows_no_url(self) -> bool:
        """Whether no address was named: the service is looked for on this machine."""
        return self._url is None

    def make_client(self) -> Client:
        """A fresh connection, whatever its safety: the emergency stop takes any way."""
        if self._url is None:
            address = self._address()
            return Client(address.url, self._token or address.token, address.certificate)
        client = Client(self._url, self._token)
        if self._token is None and client.is_local:
            # This machine's token is for this machine's service; a named host does not get it.
            address = self._address()
            return Client(self._url, address.token, address.certificate)
        return client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _address(self) -> ServiceAddress:
        try:
            return self.backend.service(self.state)
        except Exception as exc:  # its errors are of a room above ours
            raise Trouble(f"the service's address cannot be found out: {exc}") from exc

    def show(self, kind: type[T], answer: bytes, view: Callable[[Screen, T], None]) -> None:
        """As JSON, byte for byte, or as `view` shows it."""
        if self.json:
            print_json(answer)
        else:
            view(self.screen, read(kind, answer))


def print_json(document: bytes) -> None:
    """One line: a document is never mixed with anything else."""
    print(document.decode("utf-8", "replace").strip())


def complain(text: str) -> None:
    """To standard error, with nothing in it that steers a terminal."""
    lines = [clean(line) for line in text.splitlines()] or [""]
    print("\n".join([f"orchestrator: {lines[0]}", *lines[1:]]), file=sys.stderr)


def end_with(trouble: Trouble, *, json: bool) -> typer.Exit:
    """Tell the trouble; the exit to raise."""
    if json:
        said: dict[str, object] = {"type": "about:blank", "title": "Failed", "detail": str(trouble)}
        print_json(trouble.document or msgspec.json.encode(said))
    complain(str(trouble))
    return typer.Exit(trouble.exit_code)


_COMMON: tuple[tuple[str, object, object], ...] = (
    ("json", Json, False),
    ("url", Url, None),
    ("token", Token, None),
    ("state", State, None),
)


def asks_service(command: Callable[..., None]) -> Callable[..., None]:
    """A command that talks to the service: gets --url, --token, --state and --json, and ends well.

    typer reads a command's options from its signature, so the wrapper shows it a joined one.
    """
    own = inspect.signature(command, eval_str=True)
    first, *mine = own.parameters.values()
    context = inspect.Parameter("ctx", first.kind, annotation=typer.Context)
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, kind, default in _COMMON
    ]

    def run(ctx: typer.Context, **given: Any) -> None:  # noqa: ANN401 -- typed by the signature below
        if ctx.invoked_subcommand is not None:
            _refuse_early_options(ctx)
            return
        backend: Backend = ctx.find_root().obj
        common_given = {name: given.pop(name) for name, _, _ in _COMMON}
        session = Session(backend, **common_given)
        try:
            command(session, **given)
        except Trouble as trouble:
            raise end_with(trouble, json=session.json) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        finally:
            session.close()

    keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in mine]
    signature = own.replace(parameters=[context, *keyword_only, *common])
    run.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess] -- Python's own hook
    run.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def _refuse_early_options(ctx: typer.Context) -> None:
    """`breakers --url X reset` would reset elsewhere: options belong behind the last word."""
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(
                f"give --{name.replace('_', '-')} behind {ctx.invoked_subcommand!r}", ctx=ctx
            )


def paragraphs(command: Callable[..., None]) -> str:
    """A command's docstring with each paragraph on one line, so that the terminal wraps it."""
    found = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(p if p.startswith("\b") else p.replace("\n", " ") for p in found)
