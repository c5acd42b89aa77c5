"""Ids that follow from an idempotency key. The log knows them for as long as it is there, so a retry is known by every
process, and years later."""

from __future__ import annotations

import json
from uuid import UUID, uuid5

from turnlog.domain.inputs import checked_id
from turnlog.infrastructure.principal import SYSTEM, Principal

_SPACE = UUID("6f0b8f43-7a5e-5c6a-9d0e-7475726e6c67")


def session_id_for(principal: Principal, key: str | None, *purpose: str) -> UUID | None:
    """The id of the session that this principal makes under this key, for this purpose. None without a key. Nobody else
    comes to the same id. Raises InvalidInputError for what is no key."""
    if key is None:
        return None
    whose = ["system"] if principal is SYSTEM else ["user", principal]
    return uuid5(_SPACE, json.dumps([whose, *purpose, checked_id(key, "Idempotency-Key")]))
