"""The account that Postgres runs as under root, and what it must be able to reach."""

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
    """The account of embedded-postgres, made if need be. Raises EmbeddedServersError."""
    with suppress(KeyError):
        return pwd.getpwnam(_ROOT_STEPS_DOWN_TO)
    # Two useradds at once both find no such account, and the second one gives the name of the first another number:
    # the files of whoever was first then belong to nobody. The lock is on the folder, for it leaves nothing behind.
    folder = os.open("/etc", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        return _made_account()
    finally:
        os.close(folder)


def _made_account() -> pwd.struct_passwd:
    for _ in range(20):  # another program may be making an account just now
        with suppress(KeyError):
            return pwd.getpwnam(_ROOT_STEPS_DOWN_TO)
        made = subprocess.run(_MAKE_ACCOUNT, capture_output=True, check=False)  # noqa: S603 - a constant
        time.sleep(0.1 if made.returncode else 0)
    raise EmbeddedServersError(f"useradd cannot make the account that Postgres needs under root: {made.stderr!r}")


def let_pass(path: Path) -> None:
    """Lets everyone through the folders above, but not list them."""
    for folder in path.parents:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def let_read(tree: Path) -> None:
    """Lets everyone read all that lies below."""
    for path in (tree, *tree.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))
