"""Ids that are made here, and nowhere in the domain."""

from __future__ import annotations

import secrets


def new_id() -> str:
    """16 hexadecimal digits: unique in a session, and short, for every delta carries its step's id."""
    return secrets.token_hex(8)
