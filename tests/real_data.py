"""The recorded streams, conversations and corrupt histories of real systems, read where they lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REAL_DATA = Path(os.environ.get("TURNLOG_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))

# A skip, because other people's recordings are not ours to put into the repository: where they do not lie beside it,
# its own corpus has every shape that they have.
needs_real_data = pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"the real data is not in {REAL_DATA}")
