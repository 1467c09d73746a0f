"""What the tidy tests look at: the files of the tree, as git knows them or as they lie there."""

import ast
import gc
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_NOT_OURS = {".git", ".venv", "state", "build", "dist", "htmlcov", "__pycache__"}


@cache
def files() -> tuple[Path, ...]:
    """Tracked files; without git (an unpacked archive), all files but the known by-products."""
    # A checkout may belong to another user than the one who runs the tests.
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ) if (ROOT / ".git").exists() else None  # fmt: skip
    if listed is not None and listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        paths = [
            path
            for path in ROOT.rglob("*")
            if not any(
                part in _NOT_OURS or part.endswith(("_cache", ".egg-info"))
                for part in path.relative_to(ROOT).parts
            )
            and path.name != ".env"
        ]
    return tuple(sorted(path for path in paths if path.is_file()))


@cache
def texts() -> tuple[tuple[Path, str], ...]:
    """Every file of text, with its path inside the tree."""
    return tuple(_texts())


def _texts() -> Iterator[tuple[Path, str]]:
    for path in files():
        try:
            yield path.relative_to(ROOT), path.read_text("utf-8")
        except UnicodeDecodeError:
            continue


@cache
def python_files() -> tuple[tuple[Path, ast.Module], ...]:
    """Parsed once for all who look: nobody changes a tree."""
    # Trees hold no garbage, yet the collector would walk them again and again: 7 s instead of 1.
    gc.disable()
    try:
        return tuple(
            (path, ast.parse(text, str(path))) for path, text in texts() if path.suffix == ".py"
        )
    finally:
        gc.enable()
        gc.freeze()


@cache
def calls(tree: ast.AST) -> tuple[tuple[str, int], ...]:
    """Each call's dotted name, as written, and its line; `a().b()` gives ".b"."""
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return tuple((dotted(node.func), node.lineno) for node in found)


def dotted(node: ast.expr) -> str:
    """`a.b.c` -> "a.b.c"; what is no name gives an empty head."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "")
    return ".".join(reversed(parts))
