"""Where Vault is and who we are to it: needed before any other secret can be read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, ValidationError

from orchestrator.settings.kinds import Frozen
from orchestrator.settings.sources import Problem, Text, layers_of, texts_of
from orchestrator.settings.urls import VaultUrl


def _is_file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


ExistingFile = Annotated[Path, AfterValidator(_is_file)]
_Id = Annotated[SecretStr | None, Field(examples=["the-id"])]


class VaultSettings(Frozen):
    """`VAULT_...`; Vault is asked where VAULT_ROLE_ID says who we are."""

    vault_addr: Annotated[VaultUrl | None, Field(examples=["https://vault.example.com:8200"])] = (
        None
    )
    vault_role_id: _Id = None
    vault_secret_id: _Id = None
    vault_secret_id_wrapped: _Id = None
    vault_path: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_.-]{1,80}(/[A-Za-z0-9_.-]{1,80}){1,10}$")
    ] = "secret/orchestrator"
    vault_cacert: Annotated[ExistingFile | None, Field(examples=["vault-ca.pem"])] = None

    @property
    def asks_vault(self) -> bool:
        return self.vault_role_id is not None


SECRET_FIELDS = ("vault_role_id", "vault_secret_id", "vault_secret_id_wrapped")


def vault_settings(
    env: Mapping[str, str] | None = None, env_file: str | Path | None = ".env"
) -> VaultSettings:
    """What the environment and `.env` say of Vault. Where that is wrong: as if it said nothing,
    since `load_settings` tells what is wrong, together with all the rest."""
    problems: list[Problem] = []
    names = (name.upper() for name in SECRET_FIELDS)
    texts: Mapping[str, Text] = texts_of(layers_of(env, env_file), names, problems)
    values = {
        field: texts[field.upper()].value
        for field in VaultSettings.model_fields
        if field.upper() in texts
    }
    try:
        found = VaultSettings.model_validate(values)
    except ValidationError:
        return VaultSettings()
    whole = found.vault_addr and (found.vault_secret_id or found.vault_secret_id_wrapped)
    return found if whole and not problems else VaultSettings()
