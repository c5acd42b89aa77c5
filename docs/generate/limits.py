"""The table of limits, from the module that has them."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise

from turnlog.domain import limits


def reference() -> str:
    """A Markdown table, a row a limit."""
    rows = [f"| `{name}` | {getattr(limits, name):,} | {meaning} |" for name, meaning in _meanings().items()]
    return "\n".join(["| Limit | Value | Of what |", "|---|---|---|", *rows])


def _meanings() -> dict[str, str]:
    """What each constant says about itself, by its name."""
    found = dict[str, str]()
    for constant, after in pairwise(ast.parse(inspect.getsource(limits)).body):
        if isinstance(constant, ast.Assign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[ast.unparse(constant.targets[0])] = " ".join(str(after.value.value).split())
    return found
