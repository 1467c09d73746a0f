"""The tree keeps its habits: layers, seams, no machine's names, no test left out."""

import re
import subprocess
import sys

from tests.tidy.tree import ROOT, calls, python_files, texts


def test_import_contracts_hold():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as f; f()",
         "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_machine_or_registry_stands_in_the_tree():
    """Paths and hosts of one machine or mirror: a user's set-up says where things come from."""
    # Put together here, so that this file does not find itself.
    homes = "|".join(["ro" + "ot", "wo" + "rk", "fa" + "rm", "home/[a-z]+", "Users/[A-Za-z]+"])
    hosts = "|".join(
        [r"py" + r"pi\.org", r"python" + r"hosted\.org", r"--" + r"(extra-)?index-url"]
    )
    pattern = re.compile(rf"(?<![\w.~-])/(?:{homes})/[\w.]|{hosts}|--" + r"find-links")
    allowed = {("Makefile", "--no-emit-" + "find-links")}
    found = [
        f"{path}:{number}: {line.strip()}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
        and not any(path.name == name and words in line for name, words in allowed)
    ]
    assert found == []


def test_no_test_is_skipped_or_expected_to_fail():
    left_out = {"skip", "skipif", "xfail", "importorskip", "skipTest", "SkipTest"}
    found = [
        f"{path}:{line}: {name}"
        for path, tree in python_files()
        if path.parts[0] == "tests"
        for name, line in calls(tree)
        if name.rpartition(".")[2] in left_out
    ]
    marks = re.compile(r"pytest\.mark\." + "(skip|xfail)")
    found += [str(path) for path, text in texts() if path.suffix == ".py" and marks.search(text)]
    assert found == []


def test_no_task_is_without_a_parent():
    """Only the seam makes bare tasks; everyone else uses a TaskGroup."""
    bare = {"asyncio.create_task", "asyncio.ensure_future", "asyncio.gather", "create_task"}
    loops = re.compile(
        r"(^|[._])(loop|get_running_loop|get_event_loop)?\.(create_task|ensure_future)$"
    )
    found = [
        f"{path}:{line}: {name}"
        for path, tree in python_files()
        if path.parts[0] in {"orchestrator", "app"} and path.name != "seams.py"
        for name, line in calls(tree)
        if name in bare or loops.search(name)
    ]
    assert found == []


def test_nothing_prints_but_the_command_line():
    """Its faces and its backend in main; everything else logs, or returns what it has to say."""
    may_print = (("orchestrator", "service", "cli"), ("orchestrator", "main"))
    found = [
        f"{path}:{line}"
        for path, tree in python_files()
        if path.parts[0] in {"orchestrator", "app"}
        and not any(path.parts[: len(room)] == room for room in may_print)
        for name, line in calls(tree)
        if name in {"print", "breakpoint", "pprint.pprint"}
    ]
    assert found == []
