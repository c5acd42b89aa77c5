"""The routes and the problems of the server, from its tables."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter

from turnlog.infrastructure.server.problems import OF_REQUESTS, PROBLEMS, Problem
from turnlog.infrastructure.server.router import described


def routes() -> str:
    """A table for each group of routes. The last column says what the header `Idempotency-Key` is to a route."""
    parts = list[str]()
    for tag, group in groupby(described(), key=itemgetter(0)):
        parts.append(f"### {tag.capitalize()}\n\n| Route | What it does | `Idempotency-Key` |\n|---|---|---|")
        parts += [f"| `{one.method} {one.path}` | {one.says} | {one.key} |" for _, one in group]
        parts.append("")
    return "\n".join(parts)


def problems() -> str:
    """A row for each problem, with the error that it stands for."""
    rows = [_row(problem, f"[`{error.__name__}`][turnlog.{error.__name__}]") for error, problem in PROBLEMS.items()]
    rows += [_row(problem, "") for problem in OF_REQUESTS]
    return "\n".join(["| Status | `type` | Title | Error |", "|---|---|---|---|", *rows])


def _row(problem: Problem, error: str) -> str:
    return f"| {problem.status} | `{problem.type}` | {problem.title} | {error} |"
