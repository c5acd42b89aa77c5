"""Short ids for steps, writers, messages and reports whose caller gives none. (Sessions have a UUID.)"""

from __future__ import annotations

import secrets


def new_id() -> str:
    """16 random hexadecimal digits: unique in a session, and short because every delta carries the id of its step."""
    return secrets.token_hex(8)
