"""The wiring: settings in, a running system out; the only room that knows every concrete class."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI


def create_app() -> FastAPI:
    """The API for `uvicorn app.main:app`: the system starts and ends with the app's lifespan."""
    from orchestrator.main.hosting import Service, Wishes, app_of, banner
    from orchestrator.main.logs import set_up_logs
    from orchestrator.main.optimised import refuse_optimised
    from orchestrator.main.secrets import open_secrets

    refuse_optimised()
    os.umask(0o077)  # what is written here is its owner's only (SAFETY X9)

    def make() -> Service:
        secrets = open_secrets()
        settings = secrets.settings
        set_up_logs(settings.log_level)
        service = Service(settings, Wishes(), secrets)
        print(banner(service, f"http://127.0.0.1:{settings.agent_discovery_port}"), flush=True)
        return service

    return app_of(make)


def run_command_line() -> None:
    """The command `orchestrator`."""
    from orchestrator.main.backend import Backend
    from orchestrator.service.cli.main import run_command_line as run

    run(Backend())
