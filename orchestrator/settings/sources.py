"""Where a variable's text comes from: the environment, `.env`, or a file that NAME_FILE names."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from dotenv import dotenv_values

_FILE = "_FILE"
_SECRET_BYTES_MAX = 65_536


class SettingsError(Exception):
    """Settings that cannot be used. The text has a line for each one that is wrong: its name, what
    is wrong with it, and a right example; never a secret."""


class Problem(NamedTuple):
    """One line of a SettingsError."""

    name: str
    text: str
    example: str = ""

    def __str__(self) -> str:
        example = f"  (for example {self.example})" if self.example else ""
        return f"{self.name}: {self.text}{example}"


class Text(NamedTuple):
    """What a variable says, and where it says so."""

    value: str
    source: str


Layers = tuple[tuple[str, Mapping[str, str]], ...]


def layers_of(env: Mapping[str, str] | None, env_file: str | Path | None) -> Layers:
    """`.env`, and before it the environment; `env` None = the process's own. SettingsError."""
    own = os.environ if env is None else env
    return (str(env_file), read_env_file(env_file)), ("environment", own)


def texts_of(
    layers: Layers,
    secret: Iterable[str],
    problems: list[Problem],
) -> dict[str, Text]:
    """All variables; a later layer goes before an earlier one, an empty text counts as unset.

    Secrets (by name) may stand in a file of their own, as Docker and Kubernetes give them: where
    one layer has NAME and NAME_FILE, nobody knows which is meant, and that is a problem.
    """
    found: dict[str, Text] = {}
    names = tuple(secret)
    for layer, variables in layers:
        here = {name: text.strip() for name, text in variables.items() if text.strip()}
        found.update({name: Text(text, layer) for name, text in here.items()})
        for name in names:
            if (file := here.get(name + _FILE)) is None:
                continue
            if name in here:
                problems.append(Problem(name, f"stands in {name}{_FILE} as well: leave one unset"))
                continue
            text = _read_secret(name + _FILE, Path(file), problems)
            if text:
                found[name] = Text(text, file)
    return found


def _read_secret(name: str, path: Path, problems: list[Problem]) -> str:
    """The file's text; empty where there is a problem."""
    try:
        with path.open("rb") as file:
            text = file.read(_SECRET_BYTES_MAX + 1).decode().strip()
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is no text"
        problems.append(Problem(name, f"{path} cannot be read: {why}"))
        return ""
    if not text or len(text) > _SECRET_BYTES_MAX:
        problems.append(Problem(name, f"{path} {'is too long' if text else 'is empty'}"))
        return ""
    return text


def read_env_file(env_file: str | Path | None) -> dict[str, str]:
    """The variables of `.env`; none where there is no such file. SettingsError."""
    if env_file is None or not Path(env_file).is_file():
        return {}
    try:
        # No interpolation: a "$" in a token is a "$".
        found = dotenv_values(env_file, interpolate=False, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{env_file} cannot be read: {type(exc).__name__}") from None
    return {name: text for name, text in found.items() if text and text.strip()}
