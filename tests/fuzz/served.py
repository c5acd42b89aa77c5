"""`python -m tests.fuzz.served SCHEMATHESIS`: `turnlog serve` on servers of its own, and schemathesis against it.

It makes requests from the description of the routes, and beside it. None may be answered with a 500 or with what the
description does not say, and none may hang.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = "20"
"""Longest time of a request."""
OF_LINES = ("/sessions/{session_id}/record", "/import/exported")
"""Routes whose bodies schemathesis cannot write. `tests/server/test_fuzzed_routes.py` has them."""
CHECKS = "not_a_server_error,content_type_conformance,response_schema_conformance"


def main(program: str, *options: str) -> int:
    """The exit code of the program."""
    with tempfile.TemporaryDirectory(prefix="turnlog-http-") as folder:
        environment = {**os.environ, "TURNLOG_DATA_DIR": str(Path(folder, "data")), "TURNLOG_SERVE_TOKENS": "fuzz"}
        environment |= {"DATABASE_URL": "", "REDIS_URL": "", "NO_PROXY": "127.0.0.1"}
        command = [sys.executable, "-m", "turnlog", "serve", "--port", "0", "--json"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            asked = [program, "run", f"{url}/openapi.json", "--header", "Authorization: Bearer fuzz"]
            asked += ["--wait-for-schema", "60", "--checks", CHECKS, "--request-timeout", SECONDS]
            asked += [part for path in OF_LINES for part in ("--exclude-path", path)]
            try:
                return subprocess.run([*asked, *options], cwd=folder, env=environment, check=False).returncode
            finally:
                server.terminate()
                server.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
