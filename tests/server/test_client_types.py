"""`turnlog.d.ts` says what `turnlog.js` has, and what the models are."""

from __future__ import annotations

import re
import subprocess

import pytest

from docs.generate import typescript
from tests.support.node import CLIENT, NODE, PROGRAMS, needs_node

TSC = PROGRAMS / "node_modules" / "typescript" / "bin" / "tsc"


def test_the_types_of_views_and_deltas_are_those_of_the_models() -> None:
    assert typescript.TYPES.read_text("utf-8") == typescript.types(), "python -m docs.generate writes them anew"


@needs_node
def test_every_name_of_the_module_has_a_type() -> None:
    program = f"console.log(Object.keys(await import({str(CLIENT)!r})).sort().join())"
    command = [str(NODE), "--input-type=module", "--eval", program]
    exported = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().split(",")
    typed = re.findall(r"^export (?:class|function) (\w+)", typescript.TYPES.read_text("utf-8"), re.MULTILINE)
    assert sorted(typed) == exported
    for name in ("Session", "Turnlog"):
        assert methods(name, CLIENT.read_text("utf-8")) == methods(name, typescript.TYPES.read_text("utf-8")), name


def methods(name: str, text: str) -> set[str]:
    """The methods of a class that others may call."""
    (body,) = re.findall(rf"^export class {name} .*?^}}", text, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^  (?:async )?([a-z]\w*)(?:<[^>]*>)?\(", body, re.MULTILINE)
    return set(found) - {"constructor"}


@needs_node
@pytest.mark.skipif(not TSC.exists(), reason="make test-node installs TypeScript")
def test_a_strict_program_compiles_and_mistakes_are_found() -> None:
    options = ["--strict", "--noEmit", "--noUncheckedIndexedAccess", "--target", "es2023", "--module", "nodenext"]
    command = [str(NODE), str(TSC), *options, "--lib", "es2023,dom,dom.iterable", "sample.ts"]
    compiled = subprocess.run(command, capture_output=True, text=True, cwd=PROGRAMS, check=False)
    assert (compiled.returncode, compiled.stdout) == (0, "")
