"""deploy/ agrees with the code: settings, secrets, routes, metrics, and what an image may hold."""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import yaml

from orchestrator.model.signals import Role
from orchestrator.service.api.front import PUBLIC
from orchestrator.service.gauges import Gauges
from orchestrator.service.telemetry import Telemetry
from orchestrator.settings import load_settings
from orchestrator.settings.load import SECRETS, VARIABLES
from orchestrator.settings.urls import is_postgres
from tests.image import environment, last, let_through, stages, steps, words_of
from tests.sbom import document
from tests.tidy.tree import ROOT, files

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, each in SERVICES.items() if "orchestrator:" in each["image"]}
NODES = ("orchestrator", "standby")
ONCE = {"redis-users", "migrate"}  # they do their work and end
# Of the image itself, and of no concern to the settings.
NO_SETTINGS = {"PATH", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}


def known(name: str) -> bool:
    """Whether the settings know the variable, or the file that holds a secret's."""
    return name.lower() in VARIABLES or name.removesuffix("_FILE") in SECRETS


def settings_of(variables: dict[str, str], tmp_path: Path):
    """What a service would make of them; files of secrets and certificates stand in `tmp_path`."""
    env: dict[str, str] = {}
    for name, text in variables.items():
        there = re.sub(r"\$\{[A-Z_]+:-(.*?)\}", r"\1", text)
        for path in re.findall(r"(/run/secrets/[\w./]+|/etc/orchestrator/\w+\.toml)", there):
            here = tmp_path / path.lstrip("/")
            here.parent.mkdir(parents=True, exist_ok=True)
            source = DEPLOY / "config" / here.name
            here.write_text(source.read_text() if source.exists() else "x" * 40)
            there = there.replace(path, str(here))
        env[name] = there
    return load_settings(env, env_file=None)


# --- Docker Compose ------------------------------------------------------------------------------


def test_the_services_of_the_specification_are_there():
    images = {name: each["image"] for name, each in SERVICES.items()}
    assert images["redis"] == "redis:7-alpine"
    assert images["postgres"] == "postgres:15"
    assert images["timescaledb"] == "timescale/timescaledb:latest-pg15"
    assert SERVICES["postgres"]["environment"]["POSTGRES_DB"] == "trading_system"
    assert SERVICES["timescaledb"]["environment"]["POSTGRES_DB"] == "market_data"
    assert SERVICES["orchestrator"]["build"]["dockerfile"] == "deploy/Dockerfile"


def test_every_name_in_the_compose_file_is_declared_and_used():
    volumes: set[str] = set()
    secrets: set[str] = set()
    for name, service in SERVICES.items():
        for each in service.get("volumes", []):
            source = each.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), f"{name}: {source}"
            else:
                volumes.add(source)
        secrets |= set(service.get("secrets", []))
        assert set(service.get("depends_on", {})) <= set(SERVICES), name
    assert volumes == set(COMPOSE["volumes"])
    assert secrets == set(COMPOSE["secrets"])


def test_a_secret_that_a_service_reads_is_given_to_it():
    for name, service in SERVICES.items():
        told = json.dumps([service.get("environment", {}), service.get("command", "")])
        named = set(re.findall(r"/run/secrets/(\w+)", told)) - {"agent_"}
        missing = named - set(service.get("secrets", []))
        assert missing == set(), f"{name} reads {missing}"


def test_by_itself_only_the_api_is_published_and_on_this_machine_only():
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} publishes {port}"
        if not service.get("profiles"):
            assert bool(service.get("ports")) == (name == "orchestrator"), name


def test_databases_and_broker_are_on_no_network():
    for name in ("redis", "postgres", "timescaledb", *ONCE):
        assert SERVICES[name]["network_mode"] == "none", name


def test_the_nodes_own_nothing_of_the_journal_and_wait_for_its_schema():
    """SAFETY D3: whoever owns the tables could drop what keeps them."""
    owner = SERVICES["postgres"]["environment"]["POSTGRES_USER"]
    words = SERVICES["migrate"]["command"]
    role = words[words.index("--service-role") + 1]
    assert f"//{owner}@" in SERVICES["migrate"]["environment"]["DATABASE_URL"]
    assert f"CREATE ROLE {role} " in (DEPLOY / "postgres" / "service-role.sh").read_text()
    for name in NODES:
        assert f"//{role}@" in SERVICES[name]["environment"]["DATABASE_URL"]
        needs = SERVICES[name]["depends_on"]["migrate"]["condition"]
        assert needs == "service_completed_successfully"


def test_everything_that_goes_on_has_a_health_check_and_comes_back():
    for name, service in SERVICES.items():
        if name in ONCE or name.startswith("agent-"):
            continue  # it ends by itself; an agent is asked by the service, by real round trips
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}, name


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_have_no_rights(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert "privileged" not in service


@pytest.mark.parametrize("name", sorted(OURS - {"redis-users"}))
def test_the_settings_of_a_container_are_ones_that_the_service_takes(name: str, tmp_path: Path):
    told = SERVICES[name]["environment"]
    assert [each for each in told if not known(each)] == []
    settings = settings_of(told, tmp_path)
    assert (settings.message_broker_url is None) == (name == "migrate")
    if name in NODES:
        assert is_postgres(settings.database_url)
        assert is_postgres(settings.timescale_url)
        password = "x" * 40
        assert password in (settings.address_of("database_url") or "")
        assert settings.api_token is not None
        mounted = {each.split(":")[1] for each in SERVICES[name]["volumes"]}
        for field in ("database_url", "timescale_url", "message_broker_url"):
            where = re.search(r"(/run/\w+)", settings.address_of(field) or "")
            assert where is not None
            assert where[1] in mounted, f"{field}: {where[1]} is not mounted"


def test_the_agents_containers_run_the_roles_that_their_configuration_hands_out(tmp_path: Path):
    (tmp_path / "c").mkdir()
    shutil.copy(DEPLOY / "config" / "agents.toml", tmp_path / "c")
    remote = load_settings({}, env_file=None, config=tmp_path / "c" / "agents.toml").agents
    run = {Role(each["command"][1]) for name, each in SERVICES.items() if name.startswith("agent-")}
    assert run == {role for role, each in remote.items() if each.where == "remote"}
    users = SERVICES["redis-users"]["command"][0]
    for role in run:
        service = SERVICES[f"agent-{role.value.replace('_', '-')}"]
        assert service["environment"]["MESSAGE_BROKER_URL"].startswith(f"unix://tso-{role}-1@")
        assert role.value in users


def test_the_secrets_are_made_once_and_each_is_declared(tmp_path: Path):
    shutil.copy(DEPLOY / "make-secrets", tmp_path)
    said = subprocess.run(
        ["sh", tmp_path / "make-secrets"], capture_output=True, text=True, check=True
    ).stdout
    folder = tmp_path / "secrets"
    made = {path.name: path.read_text() for path in folder.iterdir()}
    declared = {Path(each["file"]).name for each in COMPOSE["secrets"].values()}
    assert set(made) == declared
    assert all(text not in said for text in made.values() if text)
    assert len({text for text in made.values() if text}) == len(made) - 1, "two are alike"
    assert all(len(text) == 64 for name, text in made.items() if name != "oanda_api_key")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o444}
    subprocess.run(["sh", tmp_path / "make-secrets"], capture_output=True, check=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made
    load_settings({"API_TOKEN_FILE": str(folder / "api_token")}, env_file=None)


def test_secrets_are_kept_out_of_git_and_of_images():
    ignored = (DEPLOY / ".gitignore").read_text().split()
    assert {"secrets/", ".env"} <= set(ignored)
    assert not any("secrets" in path.parts and DEPLOY in path.parents for path in files())


# --- The image -----------------------------------------------------------------------------------


def test_the_base_is_one_image_with_a_tag():
    (base,) = {step.rest.split("=", 1)[1] for step in steps() if step.word == "ARG"}
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", base)
    froms = [step.rest for step in steps() if step.word == "FROM"]
    assert froms == ["${PYTHON} AS build", "${PYTHON}"]


def test_what_is_copied_exists_and_reaches_the_builder():
    copied = [
        step.rest.split()[0]
        for stage in stages()
        for step in stage
        if step.word == "COPY" and "--from" not in step.rest
    ]
    assert len(copied) >= 4
    for source in copied:
        path = ROOT / source
        assert path.exists(), source
        inner = next(iter(sorted(path.rglob("*.py")))) if path.is_dir() else path
        assert let_through(str(inner.relative_to(ROOT))), source


@pytest.mark.parametrize(
    "name",
    [
        ".git/config", ".env", "state/api-token", "deploy/secrets/api_token", "deploy/.env",
        "tests/image.py", "orchestrator.toml", ".venv/bin/python", "Makefile", "deploy/Dockerfile",
        "orchestrator/main/__pycache__/backend.cpython-311.pyc", "app/x.pyc",
    ],
)  # fmt: skip
def test_no_state_secret_or_history_can_slip_into_an_image(name: str):
    assert not let_through(name)


def test_every_file_of_the_package_reaches_the_builder():
    ours = [path.relative_to(ROOT) for path in files() if path.relative_to(ROOT).parts[0] == "app"]
    ours += [path.relative_to(ROOT) for path in (ROOT / "orchestrator").rglob("*.sql")]
    assert len(ours) > 5
    assert [name for name in ours if not let_through(str(name))] == []


def test_the_image_is_nobodys_and_installs_what_is_hashed():
    build, final = stages()
    user, group = last(final, "USER").split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert SERVICES["orchestrator"]["user"] == last(final, "USER")
    installs = [step.rest for step in build if "pip install" in step.rest]
    assert installs
    assert all("--require-hashes" in each and "--only-binary" in each for each in installs)
    assert words_of(final, "ENTRYPOINT") + words_of(final, "CMD") == ["orchestrator", "run"]
    assert words_of(final, "HEALTHCHECK") == SERVICES["orchestrator"]["healthcheck"]["test"][1:]
    told = environment(final)
    assert [each for each in told if not known(each) and each not in NO_SETTINGS] == []
    assert last(final, "VOLUME") == told["STATE_DIR"] == "/var/lib/orchestrator"
    assert os.access(DEPLOY / "orchestrator", os.X_OK)


# --- Monitoring ----------------------------------------------------------------------------------


def metric_names() -> set[str]:
    """Of everything that /metrics shows, before anything has happened."""
    telemetry = Telemetry()
    Gauges(telemetry)
    text = prometheus_client.generate_latest(telemetry.registry).decode()
    families = re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)
    names = {name for name, _ in families}
    names |= {f"{name}_total" for name, kind in families if kind == "counter"}
    for name, kind in families:
        if kind == "histogram":
            names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    return names


def test_every_metric_that_is_watched_exists():
    watched: dict[str, str] = {}
    for path in (DEPLOY / "prometheus" / "alerts.yml", *DEPLOY.glob("grafana/dashboards/*.json")):
        for name in re.findall(r"\btso_\w+", path.read_text()):
            watched[name] = path.name
    assert len(watched) >= 14
    assert {name: where for name, where in watched.items() if name not in metric_names()} == {}


def test_each_alarm_says_what_to_do():
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 10
    for rule in rules:
        assert rule["labels"]["severity"] in {"warning", "critical"}, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]


def test_prometheus_and_grafana_find_each_other_and_their_files():
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["static_configs"][0]["targets"] == ["orchestrator:8000"]
    token = Path(job["authorization"]["credentials_file"]).name
    assert token in SERVICES["prometheus"]["secrets"]
    assert all((DEPLOY / "prometheus" / name).exists() for name in config["rule_files"])
    source = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    provider = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/dashboards/orchestrator.yml").read_text()
    )["providers"][0]
    mounts = dict(each.split(":")[:2] for each in SERVICES["grafana"]["volumes"])
    assert provider["options"]["path"] in mounts.values()
    for path in DEPLOY.glob("grafana/dashboards/*.json"):
        board = json.loads(path.read_text())
        assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["uid"]}
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


# --- Kubernetes ----------------------------------------------------------------------------------

KUBERNETES = DEPLOY / "kubernetes"


def documents() -> Iterator[dict[str, Any]]:
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    for name in kustomization["resources"]:
        yield from yaml.safe_load_all((KUBERNETES / name).read_text())


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [each for each in documents() if each["kind"] == kind]


def pod() -> dict[str, Any]:
    (nodes,) = of_kind("StatefulSet")
    return nodes["spec"]["template"]["spec"]


def env_file() -> dict[str, str]:
    lines = (KUBERNETES / "settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_manifest_belongs_to_the_kustomization():
    named = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
    there = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(named) == there
    kinds = {each["kind"] for each in documents()}
    assert {"StatefulSet", "Service", "NetworkPolicy", "PodDisruptionBudget"} <= kinds
    assert all(each["apiVersion"] and each["metadata"]["name"] for each in documents())


def as_applied() -> list[dict[str, Any]]:
    """What kustomize makes of them: its own answer, or where there is none, the labels alone."""
    if shutil.which("kubectl") is not None:
        words = ["kubectl", "kustomize", str(KUBERNETES)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [each for each in yaml.safe_load_all(done.stdout) if each]
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    labels = kustomization["labels"][0]["pairs"]
    made = list(documents())
    for each in made:
        if each["kind"] == "StatefulSet":
            each["spec"]["selector"] = {"matchLabels": labels}
            each["spec"]["template"]["metadata"]["labels"] = labels
        if each["kind"] == "Service":
            each["spec"]["selector"] = labels
    generated = [each["name"] for each in kustomization["configMapGenerator"]]
    return made + [{"kind": "ConfigMap", "metadata": {"name": name}} for name in generated]


def test_selectors_and_names_meet_in_what_is_applied():
    made = as_applied()
    (nodes,) = [each for each in made if each["kind"] == "StatefulSet"]
    labels = nodes["spec"]["template"]["metadata"]["labels"]
    assert nodes["spec"]["selector"]["matchLabels"].items() <= labels.items()
    services = [each for each in made if each["kind"] == "Service"]
    assert len(services) == 2
    assert all(each["spec"]["selector"].items() <= labels.items() for each in services)
    maps = {each["metadata"]["name"] for each in made if each["kind"] == "ConfigMap"}
    (container,) = nodes["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"][0]["configMapRef"]["name"] in maps


def test_the_nodes_have_no_rights():
    (container,) = pod()["containers"]
    whole, own = pod()["securityContext"], container["securityContext"]
    assert whole["runAsNonRoot"] is True
    assert f"{whole['runAsUser']}:{whole['runAsGroup']}" == last(stages()[-1], "USER")
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert pod()["automountServiceAccountToken"] is False


def test_two_nodes_one_of_which_always_stays():
    (nodes,) = of_kind("StatefulSet")
    assert nodes["spec"]["replicas"] == 2
    (budget,) = of_kind("PodDisruptionBudget")
    assert budget["spec"]["minAvailable"] == 1
    assert nodes["spec"]["serviceName"] in {each["metadata"]["name"] for each in of_kind("Service")}


def test_probes_ask_routes_that_the_api_has_for_everybody():
    (container,) = pod()["containers"]
    ports = {each["name"] for each in container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["path"] in PUBLIC
        assert asked["port"] in ports
        assert asked["scheme"] == "HTTPS"


def test_every_mount_has_its_volume_and_every_file_its_mount():
    (nodes,) = of_kind("StatefulSet")
    (container,) = pod()["containers"]
    volumes = {each["name"] for each in pod()["volumes"]}
    volumes |= {each["metadata"]["name"] for each in nodes["spec"]["volumeClaimTemplates"]}
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert set(mounts) == volumes
    named = [
        path
        for text in env_file().values()
        for path in re.findall(r"(?<==)/run/[\w/.]+", f"={text}")
    ]
    assert len(named) >= 9
    assert [p for p in named if not p.startswith(tuple(f"{m}/" for m in mounts.values()))] == []
    state = {each["name"]: each.get("value", "") for each in container["env"]}["STATE_DIR"]
    assert state.startswith(mounts["state"])


def test_the_settings_of_the_nodes_are_ones_that_the_service_takes(tmp_path: Path):
    (container,) = pod()["containers"]
    own = {each["name"] for each in container["env"]}
    assert [each for each in {*env_file(), *own} if not known(each)] == []
    settings = settings_of(env_file(), tmp_path)
    assert settings.oanda_environment == "practice"
    assert is_postgres(settings.database_url)
    assert settings.message_broker_url is not None
    assert settings.api_tls_cert is not None


def test_the_network_lets_the_nodes_reach_what_their_settings_name():
    (policy,) = of_kind("NetworkPolicy")
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    open_ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    asked = {
        int(port) for text in env_file().values() for port in re.findall(r"//[^/]*:(\d+)", text)
    }
    assert asked <= open_ports
    assert 443 in open_ports


# --- systemd -------------------------------------------------------------------------------------

UNIT = DEPLOY / "systemd" / "orchestrator.service"


def unit(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)


def test_the_unit_runs_a_command_that_make_installs():
    (start,) = unit("ExecStart")
    path, *words = shlex.split(start)
    assert path.endswith("/.venv/bin/orchestrator")
    assert words == ["run"]
    told = dict(pair.split("=", 1) for line in unit("Environment") for pair in shlex.split(line))
    assert [each for each in told if not known(each) and each not in NO_SETTINGS] == []
    assert told["STATE_DIR"] == f"/var/lib/{unit('StateDirectory')[0]}"
    assert unit("User")[0] != "root"


def test_systemd_understands_the_unit_and_finds_it_confined(tmp_path: Path):
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "UMask=0077",
                 "StateDirectoryMode=0700", "CapabilityBoundingSet="):  # fmt: skip
        assert f"\n{line}\n" in UNIT.read_text()
    if shutil.which("systemd-analyze") is None:
        return
    # The command is where the machine has one: systemd looks whether it can be run.
    here = tmp_path / "orchestrator.service"
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE)
    here.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(here)], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if "orchestrator.service" in line]
    assert said == []
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(here)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is None or float(found[1]) < 2.5, done.stdout[-300:]


# --- What it is made of --------------------------------------------------------------------------


def test_the_bill_of_materials_lists_every_locked_package_with_its_hashes():
    lock = (ROOT / "requirements-runtime.txt").read_text()
    made = document(lock)
    listed = {(each["name"], each["version"]) for each in made["components"]}
    assert listed == set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^ \\;]+)", lock, re.MULTILINE))
    assert len(listed) > 20
    assert all(each["hashes"] for each in made["components"])
    counted = sum(len(each["hashes"]) for each in made["components"])
    assert counted == lock.count("--hash=sha256:")
    assert document(lock) == made
