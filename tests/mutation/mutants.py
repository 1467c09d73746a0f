"""The small breakages: `mutmut` thinks of them, this module puts one into the running code.

mutmut itself would give each breakage a Python of its own and each call of the kernel a detour; the
15,000 of them would take a day. Here the code of one function is exchanged in a forked process.
"""

from __future__ import annotations
import __future__

import ast
import difflib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import NamedTuple

from mutmut.mutation.file_mutation import mutate_file_contents

_MARK = "__mutmut_"


class Mutant(NamedTuple):
    """One breakage: `source` is what the function `owner.function` of `module` becomes."""

    name: str
    path: str
    module: str
    owner: str  # its class, or ""
    function: str
    line: int  # the first line of the file that it changes
    lines: tuple[int, int]  # first and last of the function
    source: str
    change: str  # the lines before and after, as a diff
    text_only: bool  # nothing but words of a text changed
    # Where it stands in the file that has all of this file's mutants, and the original beside them.
    stands: tuple[int, int]
    original: tuple[int, int]

    @property
    def target(self) -> str:
        return f"{self.module}.{self.owner}.{self.function}"


class Broken(NamedTuple):
    """A file's mutants in its order, and a text that has all of them as functions of their own."""

    path: str
    text: str
    mutants: list[Mutant]


def break_file(path: Path) -> Broken:
    """All breakages of one file."""
    text = path.read_text()
    broken = mutate_file_contents(str(path), text).code
    real = dict(_functions(ast.parse(text)))
    lines = broken.splitlines()
    found: dict[tuple[str, str], list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]] = {}
    for _, node in _functions(ast.parse(broken)):
        stem, mark, number = node.name.rpartition(_MARK)
        if mark:
            found.setdefault(_owner_and_name(stem), []).append((number, node))
    mutants: list[Mutant] = []
    for (owner, function), versions in found.items():
        before = next(node for number, node in versions if number == "orig")
        for number, node in versions:
            if number != "orig":
                mutants.append(_mutant(
                    path, owner, function, number, before, node, lines, real[owner, function]
                ))  # fmt: skip
    return Broken(str(path), broken, mutants)


def _mutant(
    path: Path, owner: str, function: str, number: str, before: ast.AST, node: ast.AST,
    lines: list[str], real: ast.FunctionDef | ast.AsyncFunctionDef,
) -> Mutant:  # fmt: skip
    assert isinstance(before, ast.FunctionDef | ast.AsyncFunctionDef)
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    was, now = _lines(lines, before), _lines(lines, node)
    was[0], now[0] = was[0].replace(before.name, function), now[0].replace(node.name, function)
    at, change = _difference(was, now)
    textless = _without_texts(before) == _without_texts(node)
    node.name, node.decorator_list = function, []
    module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    return Mutant(
        name=f"{module}.{owner + '.' if owner else ''}{function} #{number}", path=str(path),
        module=module, owner=owner, function=function, line=real.lineno + at,
        lines=(real.lineno, real.end_lineno or real.lineno), source=ast.unparse(node),
        change=change, text_only=textless,
        stands=_lines_of(node), original=_lines_of(before),
    )  # fmt: skip


def _functions(
    tree: ast.Module,
) -> Iterator[tuple[tuple[str, str], ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Functions of the module and methods of its classes, by (class or "", name)."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield ("", node.name), node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield (node.name, inner.name), inner


def _owner_and_name(stem: str) -> tuple[str, str]:
    """`xǁClassǁmethod` or `x_function`, as mutmut writes them."""
    if stem.startswith("xǁ"):
        _, owner, function = stem.split("ǁ")
        return owner, function
    return "", stem.removeprefix("x_")


def _lines(lines: list[str], node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    return lines[node.lineno - 1 : node.end_lineno]


def _lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[int, int]:
    return node.lineno, node.end_lineno or node.lineno


def _difference(was: list[str], now: list[str]) -> tuple[int, str]:
    """How many lines are equal before the first that is not, and the change itself."""
    equal = 0
    while equal < min(len(was), len(now)) and was[equal] == now[equal]:
        equal += 1
    diff = difflib.unified_diff(was, now, lineterm="", n=0)
    told = [line for line in diff if not line.startswith(("---", "+++", "@@"))]
    return equal, "\n".join(told)


def _without_texts(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    class Blank(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.Constant:
            return ast.Constant("") if isinstance(node.value, str) else node

    copy = ast.parse(ast.unparse(node)).body[0]
    assert isinstance(copy, ast.FunctionDef | ast.AsyncFunctionDef)
    copy.name = ""
    return ast.dump(Blank().visit(copy))


def plant(mutant: Mutant) -> None:
    """From now on the function does what the mutant says, whoever holds a reference to it."""
    module = sys.modules[mutant.module]
    target, fresh = _target(module, mutant), _fresh(module, mutant)
    target.__code__ = fresh.__code__
    target.__defaults__, target.__kwdefaults__ = fresh.__defaults__, fresh.__kwdefaults__


def _target(module: ModuleType, mutant: Mutant) -> FunctionType:
    holder = vars(module)[mutant.owner] if mutant.owner else module
    found = vars(holder)[mutant.function]
    found = getattr(found, "__func__", None) or getattr(found, "fget", None) or found
    assert isinstance(found, FunctionType), f"{mutant.name}: {found!r}"
    return found


def _fresh(module: ModuleType, mutant: Mutant) -> FunctionType:
    body = ast.parse(mutant.source).body
    for each in ast.walk(body[0]):
        if isinstance(each, ast.arg):
            each.annotation = None
    assert isinstance(body[0], ast.FunctionDef | ast.AsyncFunctionDef)
    body[0].returns = None
    if mutant.owner:  # in a class of its name, so that super() means what it meant
        shell = ast.parse(f"class {mutant.owner}: pass").body[0]
        assert isinstance(shell, ast.ClassDef)
        shell.body = body
        body = [shell]
    postponed = vars(module).get("annotations") is __future__.annotations
    code = compile(
        ast.fix_missing_locations(ast.Module(body, [])), mutant.path, "exec",
        __future__.annotations.compiler_flag if postponed else 0, dont_inherit=True,
    )  # fmt: skip
    namespace = dict(vars(module))
    exec(code, namespace)  # noqa: S102 -- the kernel's own text, changed in one place
    holder = vars(namespace[mutant.owner]) if mutant.owner else namespace
    fresh = holder[mutant.function]
    assert isinstance(fresh, FunctionType)
    return fresh
