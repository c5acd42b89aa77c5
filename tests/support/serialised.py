"""Prompts as the bytes that a provider caches."""

from __future__ import annotations

import json

from turnlog.projections.projector import Projector
from turnlog.projections.prompt import Api, build_prompt


def serialised(projector: Projector, api: Api) -> bytes:
    """The prompt as it is sent, without the brackets that close the last message and the list."""
    view = projector.view()
    return json.dumps(build_prompt(view.turns, api, view.compaction), ensure_ascii=False).encode().rstrip(b"]}")
