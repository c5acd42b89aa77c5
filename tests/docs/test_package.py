"""The package from outside: what importing it costs, and that what it promises is there."""

from __future__ import annotations

import ast
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import turnlog
from turnlog.domain import errors

CHECKOUT = Path(__file__).parents[2]

PAGE = CHECKOUT / "infrastructure" / "server" / "page" / "source"
"""What the page is built from: it is shipped as it was built."""
CPU = "import time, {0}, sys; print(time.process_time(), 'openai' in sys.modules)"


def _run(program: str, cwd: Path = CHECKOUT) -> list[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd).stdout.split()


def test_importing_turnlog_is_quick_and_does_not_import_openai() -> None:
    cpu, has_openai = _run(CPU.format("turnlog"))
    bare, _ = _run(CPU.format("json"))

    assert float(cpu) - float(bare) < 0.3
    assert has_openai == "False"


def test_every_public_name_is_there() -> None:
    for name in (*turnlog.__all__, *turnlog._OF_EXTRAS):
        assert getattr(turnlog, name) is not None
    assert {*turnlog.__all__, *turnlog._OF_EXTRAS} == set(dir(turnlog))


def test_the_names_that_are_loaded_late_are_those_that_type_checkers_see() -> None:
    block = next(node for node in ast.parse(Path(turnlog.__file__).read_text("utf-8")).body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    typed = {(str(node.module), alias.name, alias.asname) for node in imports for alias in node.names}

    assert len(imports) == len(block.body)
    assert typed == {(f"turnlog.{module}", name, name) for name, module in turnlog._HOMES.items()}
    assert turnlog.__all__ == ["__version__", *sorted({name for _, name, _ in typed} - turnlog._OF_EXTRAS)]


def test_every_error_derives_from_one_and_is_public() -> None:
    found = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}

    assert found <= set(turnlog.__all__)
    assert all(issubclass(getattr(errors, name), errors.TurnlogError) for name in found)
    assert all(name in (errors.__doc__ or "") for name in found)


def test_a_wheel_has_one_top_level_name_and_every_file_that_the_package_reads(tmp_path: Path) -> None:
    from_checkout = _built("wheel", CHECKOUT, tmp_path / "a")
    from_sdist = _built("wheel", _unpacked(tmp_path), tmp_path / "d")

    names = _names(from_checkout)
    assert names == _names(from_sdist)
    assert {name.split("/")[0] for name in names} == {"turnlog", f"turnlog-{turnlog.__version__}.dist-info"}
    for folder in ("domain", "projections", "infrastructure"):
        here = {
            f"turnlog/{path.relative_to(CHECKOUT)}"
            for path in (CHECKOUT / folder).rglob("*")
            if path.suffix in {".py", ".sql", ".json", ".jsonl", ".html", ".js", ".ts", ".css"}
            and PAGE not in path.parents
        }
        assert here <= names
    assert "turnlog/py.typed" in names
    assert not any("/page/source/" in name for name in names)


def test_an_sdist_that_is_unpacked_imports_and_installs(tmp_path: Path) -> None:
    unpacked = _unpacked(tmp_path)
    program = (
        "import turnlog, turnlog.testing; print(turnlog.SessionLog.__module__, turnlog.__file__, turnlog.__version__)"
    )
    module, file, version = _run(program, cwd=unpacked)
    assert (module, Path(file).parent, version) == (
        "turnlog.infrastructure.log",
        unpacked / "turnlog",
        turnlog.__version__,
    )

    into = tmp_path / "installed"
    offline = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, "--target", into, unpacked], check=True)
    installed = f"import sys; sys.path.insert(0, {str(into)!r}); {program}"
    assert Path(_run(installed, cwd=tmp_path)[1]).parent == into / "turnlog"


def _unpacked(folder: Path) -> Path:
    """The folder of an sdist that was built and unpacked there."""
    sdist = _built("sdist", CHECKOUT, folder / "b")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "c", filter="data")
    return next((folder / "c").iterdir())


def _built(kind: str, source: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, check=True, cwd=source, capture_output=True)
    return next(folder.iterdir())


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names))
    return set(names)
