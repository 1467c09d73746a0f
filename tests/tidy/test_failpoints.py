"""Each durable write and each send stands between its pair of failpoints (SAFETY K10)."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from orchestrator.model.failpoints import PLACES
from orchestrator.model.orders import WriteKind
from tests.tidy.tree import dotted, python_files

# What makes something durable, or sends it, by the end of the call's name.
_LASTING = ("os.fsync", "os.replace", "os.rename", ".executescript", ".unlink", ".write_text",
            ".write_bytes", "os.unlink", "os.remove", "transport.write")  # fmt: skip
_ROOMS = (("orchestrator", "service"), ("orchestrator", "adapters"), ("orchestrator", "main"))
# (file, function): why a kill there needs no failpoint.
_NOT_DURABLE = {
    ("service/gate.py", "_sync_folder"): "called between a pair only",
    ("adapters/trail/files.py", "sync_folder"): "called between a pair only",
    ("adapters/store/archive.py", "write_lines"): "the rest of it: a part that failed is removed",
    ("adapters/store/sqlite_bulk.py", "_new"): "the rest of it: a part that failed is removed",
    ("main/keeping.py", "_pack"): "the rest of it: a part that failed is removed",
    ("main/keeping.py", "_verified_file"): "a copy that does not hold is removed",
    ("adapters/links/lines.py", "_listen"): "a socket's name; it is made anew by each life",
    ("adapters/links/lines.py", "send"): "to an agent, whose words are opinions",
    ("service/guard.py", "_listen"): "a socket's name; it is made anew by each guard",
    ("service/children.py", "start"): "the port file is only read by who waits for it",
    ("service/children.py", "stop"): "a record that is left behind is found out by its pid",
    ("adapters/oanda/streams.py", "connection_made"): "asks for a stream; changes nothing",
    ("adapters/bus/redis/pipe.py", "_write"): "the journal is the truth; a message lost is late",
    ("service/heard_log.py", "close"): "of no use after its run, whether it is there or not",
    ("main/backend.py", "_serve_replay"): "a pointer that is only a convenience",
    ("main/backend.py", "_serve"): "the service's address, for the command line",
    ("adapters/store/market_postgres.py", "_meet"): "known or not: it only decides who waits",
    ("adapters/store/market_spool.py", "put"): "market data may lose its newest rows in a crash",
    ("adapters/store/market_spool.py", "drop_first"): "a batch that is sent again is stored once",
    ("adapters/store/market_spool.py", "_look"): "removes what an earlier life did not finish",
    ("main/node.py", "node_id"): "another id only means to wait out an own lease",
    ("main/doctor.py", "_folder"): "tries whether the folder can be written",
    ("main/summary.py", "write"): "a summary of what has ended",
    ("main/api_tls.py", "_load"): "a copy of the API's certificate, made anew at each start",
    ("main/api_tls.py", "api_tls"): "that copy, where it is no use",
    ("main/authority.py", "_replace"): "certificates, made by a command of its own before a start",
}


def _functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path, tree in python_files():
        if path.parts[:2] not in _ROOMS or path.parts[:3] == ("orchestrator", "service", "cli"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield str(Path(*path.parts[1:])), node


def _own_calls(function: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Calls of this function itself, in the order of their lines."""
    found = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    yield from ((dotted(node.func), node) for node in sorted(found, key=lambda n: n.lineno))


def _lasts(name: str, call: ast.Call) -> bool:
    if name.endswith(".execute") and call.args:
        said = ast.unparse(call.args[0]).lower()
        return "commit" in said
    return name.endswith(_LASTING)


def test_each_durable_write_and_each_send_has_its_pair():
    """Between `before` and `after` of one place, within one function; or it is listed with why."""
    naked: list[str] = []
    excused: set[tuple[str, str]] = set()
    for path, function in _functions():
        depth = 0
        for name, call in _own_calls(function):
            depth += (name == "failpoints.before") - (name == "failpoints.after")
            if _lasts(name, call) and depth < 1:
                if (path, function.name) in _NOT_DURABLE:
                    excused.add((path, function.name))
                else:
                    naked.append(f"{path}:{call.lineno}: {name} in {function.name}")
    assert naked == [], "put it between failpoints.before(PLACE) and .after(PLACE)"
    assert excused == set(_NOT_DURABLE), "an excuse that nobody needs any more"


def test_each_place_is_passed_before_and_after_and_nothing_else_is():
    used: dict[str, Counter[str]] = {"before": Counter(), "after": Counter()}
    for _, function in _functions():
        for name, call in _own_calls(function):
            if name in {"failpoints.before", "failpoints.after"}:
                used[name.rpartition(".")[2]][ast.unparse(call.args[0]).strip("'")] += 1
    assert used["before"] == used["after"]
    sends = {"send.read", *(f"send.{kind.value}" for kind in WriteKind)}
    assert set(used["before"]) == (set(PLACES) - sends) | {"job.place"}
    assert sends <= set(PLACES), "a kind of request whose failpoint is not in the list"
