"""Reads environment, `.env` and TOML, and says everything that is wrong at once."""

import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.model.signals import Role
from orchestrator.settings.contradictions import Contradiction
from orchestrator.settings.fields import TABLES
from orchestrator.settings.settings import Settings, toml_key
from orchestrator.settings.sources import Problem, SettingsError, Text, layers_of, texts_of

CONFIG = "orchestrator.toml"
VARIABLES = tuple(
    field for field in Settings.model_fields if field not in {*TABLES, "account_tokens"}
)
# The variables that may also stand in a file of their own, named by NAME_FILE.
SECRETS = tuple(
    name.upper()
    for name, field in Settings.model_fields.items()
    if name in VARIABLES and "Secret" in str(field.annotation)
)
FROM_VAULT = tuple(name for name in SECRETS if not name.startswith("VAULT_"))

_PLAIN = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "decimal_parsing": "must be a number",
    "decimal_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "extra_forbidden": "unknown key",
    "string_pattern_mismatch": "has a form that is not allowed here",
    "too_short": "must name at least one",
}


def load_settings(
    env: Mapping[str, str] | None = None,
    env_file: str | Path | None = ".env",
    config: str | Path | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Settings:
    """The settings in force; SettingsError if any is wrong.

    The environment goes before `.env`, that before the TOML file, that before the defaults. An
    empty variable counts as unset; variables that are not ours are ignored; a secret may stand in
    a file that NAME_FILE names. `env` None = the process's own; `env_file` None = no such file;
    `config` goes before ORCHESTRATOR_CONFIG. `secrets`: what Vault holds, which goes before all;
    None = it was not asked, so that a secret which is missing may still be there.
    """
    problems: list[Problem] = []
    layers = layers_of(env, env_file)
    texts = texts_of(layers, SECRETS, problems)
    known = secrets or {}
    texts |= {name: Text(known[name], "Vault") for name in FROM_VAULT if known.get(name)}
    waiting = secrets is None and "VAULT_ROLE_ID" in texts
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for field in VARIABLES:
        if text := texts.get(field.upper()):
            values[field] = _spelled(field, text.value)
            sources[field] = text.source
    named = str(config) if config is not None else values.get("orchestrator_config")
    path, tables = _read_config(named, problems)
    for table, content in tables.items():
        values[table] = content
        sources[table] = str(path)
    names = _token_names(tables)
    texts |= texts_of(layers, names, problems)
    texts |= {name: Text(known[name], "Vault") for name in names if known.get(name)}
    missing: list[Problem] = []
    values["account_tokens"] = _tokens(tables.get("accounts"), texts, missing)
    problems += () if waiting else missing

    settings = _validated(values, path, problems, waiting=waiting)
    if problems or settings is None:
        lines = "\n".join(f"  {problem}" for problem in problems)
        count = "1 setting is" if len(problems) == 1 else f"{len(problems)} settings are"
        raise SettingsError(f"{count} wrong:\n{lines}")
    return settings.with_sources(sources)


def _spelled(field: str, text: str) -> str:
    """Choices are read in any case (LOG_LEVEL=INFO)."""
    choices = get_args(Settings.model_fields[field].annotation)
    return text.lower() if text.lower() in choices else text


def _read_config(named: str | None, problems: list[Problem]) -> tuple[Path | None, dict[str, Any]]:
    """The TOML file's tables; no file at all is fine as long as none was named."""
    path = Path(named or CONFIG).expanduser()
    if not path.is_file():
        if named:
            problems.append(Problem("ORCHESTRATOR_CONFIG", f"there is no file {path}", CONFIG))
        return None, {}
    try:
        # Decimals from the text: 0.02 means exactly 0.02.
        found = tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        problems.append(Problem(str(path), f"is not readable TOML: {exc}"))
        return path, {}
    for key in sorted(found.keys() - set(TABLES)):
        hint = f"unknown table; known are {', '.join(TABLES)}"
        if key.lower() in VARIABLES:
            hint = f"belongs into the environment or .env, as {key.upper()}=..."
        problems.append(Problem(f"{path}: {toml_key(key)}", hint))
    return path, {table: found[table] for table in TABLES if table in found}


def _token_names(tables: Mapping[str, object]) -> list[str]:
    """The variables that accounts name by `token_env`, each once; one of ours is read already."""
    accounts = _table(tables.get("accounts")).values()
    names = (_table(account).get("token_env") for account in accounts)
    return sorted({name for name in names if isinstance(name, str)} - set(SECRETS))


def _tokens(
    accounts: object, texts: Mapping[str, Text], problems: list[Problem]
) -> dict[str, SecretStr]:
    """The tokens that accounts name by `token_env`."""
    tokens: dict[str, SecretStr] = {}
    for account_id, account in _table(accounts).items():
        name = _table(account).get("token_env")
        if not isinstance(name, str):
            continue
        if token := texts.get(name):
            tokens[account_id] = SecretStr(token.value)
        else:
            problems.append(
                Problem(name, f'is unset, but accounts."{account_id}".token_env names it')
            )
    return tokens


def _table(value: object) -> dict[str, object]:
    """A TOML table; empty for what is none: the validation that follows says so."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _validated(
    values: dict[str, Any], path: Path | None, problems: list[Problem], *, waiting: bool
) -> Settings | None:
    """Settings, or None and the problems. Fields that are wrong alone do not hide contradictions
    among the others: these are looked for without them."""
    context: dict[str, object] = {"folder": path.parent if path else Path(), "waiting": waiting}
    wrong: set[str] = set()
    for _ in range(2):
        good = {name: value for name, value in values.items() if name not in wrong}
        try:
            return Settings.model_validate(good, context=context)
        except ValidationError as exc:
            found = exc.errors(include_url=False, include_input=False)
        for error in found:
            if error["type"] == "contradiction":
                together: Iterable[Contradiction] = error.get("ctx", {})["problems"]
                problems.extend(
                    _of_contradiction(each, path)
                    for each in together
                    if wrong.isdisjoint(each.fields)
                )
            else:
                problems.append(_of_field(error, path))
                wrong.add(str(error["loc"][0]))
        if any(error["type"] == "contradiction" for error in found):
            break
    return None


def _of_contradiction(found: Contradiction, path: Path | None) -> Problem:
    field = found.fields[0]
    if field in TABLES:
        return Problem(str(path), found.text)
    name = field.upper()
    return Problem(name, found.text, f"{name}={found.example}" if found.example else "")


def _of_field(error: ErrorDetails, path: Path | None) -> Problem:
    field, *inner = (str(part) for part in error["loc"])
    text = _plain(error)
    if field in TABLES:
        # pydantic ends the path of a bad key with "[key]"; a user never wrote that.
        keys = [key for key in inner if key != "[key]"]
        return Problem(f"{path}: {'.'.join(map(toml_key, (field, *keys)))}", text)
    name = field.upper()
    return Problem(name, text, f"{name}={example_of(field)}")


def _plain(error: ErrorDetails) -> str:
    """pydantic's message in our words; it never holds the input."""
    context = error.get("ctx", {})
    match error["type"]:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"must be one of {context['expected']}".replace("'", "")
        case "enum":
            return (
                f"must be one of {', '.join(role for role in Role if role != 'execution_engine')}"
            )
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            words = error["msg"].removeprefix("Input should be ")
            return f"must be {words}"
        case kind:
            return _PLAIN.get(kind, error["msg"].replace("Input", "it"))


def example_of(field: str) -> str:
    """A right value for a variable, as one would write it into `.env`."""
    examples = Settings.model_fields[field].examples
    if examples:
        return str(examples[0])
    shown = {row.name: row.value for row in Settings().describe()}
    return shown[field.upper()]
