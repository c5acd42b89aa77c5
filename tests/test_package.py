"""The package from outside: what importing it costs, and that what it promises is there."""

from __future__ import annotations

import subprocess
import sys

import turnlog
from turnlog.domain import errors

CPU = "import time, {0}, sys; print(time.process_time(), 'openai' in sys.modules)"


def _run(program: str) -> list[str]:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()


def test_importing_turnlog_is_quick_and_does_not_import_openai() -> None:
    cpu, has_openai = _run(CPU.format("turnlog"))
    bare, _ = _run(CPU.format("json"))

    assert float(cpu) - float(bare) < 0.3
    assert has_openai == "False"


def test_every_public_name_is_there() -> None:
    for name in turnlog.__all__:
        assert getattr(turnlog, name) is not None
    assert set(turnlog.__all__) <= set(dir(turnlog))


def test_every_error_derives_from_one_and_is_public() -> None:
    found = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}

    assert found <= set(turnlog.__all__)
    assert all(issubclass(getattr(errors, name), errors.TurnlogError) for name in found)
    assert all(name in (errors.__doc__ or "") for name in found)


def test_the_marker_of_typed_packages_and_the_three_folders_are_where_the_wheel_takes_them() -> None:
    import turnlog.domain.events
    import turnlog.infrastructure.log
    import turnlog.projections.view

    assert turnlog.domain.events.TextDelta.topic == "text-delta.v1"
