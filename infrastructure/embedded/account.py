"""The account as which Postgres runs under root, and the files that this account must reach."""

from __future__ import annotations

import fcntl
import functools
import os
import pwd
import stat
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from turnlog.domain.errors import EmbeddedServersError

_ROOT_STEPS_DOWN_TO = "embedded_postgres"
_MAKE_ACCOUNT = ("useradd", "--system", _ROOT_STEPS_DOWN_TO)


@functools.cache
def unprivileged_account() -> pwd.struct_passwd:
    """The account of embedded-postgres, made if there is none. Raises EmbeddedServersError."""
    with suppress(KeyError):
        return pwd.getpwnam(_ROOT_STEPS_DOWN_TO)
    # If two useradds run at once, both find no account, and the second gives its name another number: the files of the
    # first one then belong to nobody. The lock is on the folder because that leaves no lock file.
    folder = os.open("/etc", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        return _made_account()
    finally:
        os.close(folder)


def _made_account() -> pwd.struct_passwd:
    for _ in range(20):  # another program may be making an account at the same time
        with suppress(KeyError):
            return pwd.getpwnam(_ROOT_STEPS_DOWN_TO)
        made = subprocess.run(_MAKE_ACCOUNT, capture_output=True, check=False)  # noqa: S603 - a constant
        time.sleep(0.1 if made.returncode else 0)
    raise EmbeddedServersError(f"useradd cannot make the account that Postgres needs under root: {made.stderr!r}")


def let_pass(path: Path) -> None:
    """Lets everyone pass through the folders above the path, but not list them."""
    for folder in path.parents:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def let_read(tree: Path) -> None:
    """Lets everyone read everything in the tree."""
    for path in (tree, *tree.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))
