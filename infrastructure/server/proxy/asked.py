"""A request to a provider, as far as the log has to understand it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.inputs import checked_id
from turnlog.domain.values import JsonObject
from turnlog.infrastructure.append.exchanged import Sent
from turnlog.infrastructure.principal import SYSTEM, Principal
from turnlog.infrastructure.server.proxy.apis import RecordedApi
from turnlog.infrastructure.server.proxy.trail import Boundary, Said, Trail

SESSION_HEADER = "x-turnlog-session"
SESSION_FIELD = "turnlog_session"
"""In the request's `metadata`; it is not sent on, because providers refuse what they do not know there."""


@dataclass(frozen=True, slots=True)
class AskedOfProvider:
    """What is asked. `body` is what is sent on. `name` is the conversation's, where the client names it."""

    api: RecordedApi
    principal: Principal
    body: bytes
    model: str | None
    name: str | None
    messages: list[JsonObject]
    trail: Trail
    after_response: str | None

    @property
    def asked(self) -> bytes:
        """The digest of all that is asked."""
        return self.trail.end

    @property
    def boundaries(self) -> list[Boundary]:
        """The beginnings that may be known: those that end with an answer."""
        first = [] if self.after_response is None else [Boundary(self.after(self.after_response), 0)]
        return [*first, *self.trail.boundaries]

    def after(self, response_id: str) -> bytes:
        """The digest of what leads up to an answer that its provider keeps."""
        return _trail(self.principal, self.name, response_id).end

    def answered(self, said: Said) -> bytes:
        """The digest of all that is asked, and of this answer."""
        return self.trail.answered(said)

    def sent(self, known: int) -> Sent:
        """The messages behind those that are known."""
        return Sent(self.api.format, self.messages[known:], self.trail.ids[known:])

    @property
    def tail(self) -> int:
        """The number of messages up to the last answer."""
        return self.trail.boundaries[-1].length if self.trail.boundaries else 0


def read_request(api: RecordedApi, principal: Principal, body: bytes, headers: Mapping[str, str]) -> AskedOfProvider:
    """Reads a request. Raises InvalidInputError for one whose messages cannot be read: the provider may know better."""
    fields = _fields(body)
    named = headers.get(SESSION_HEADER)
    metadata = fields.get("metadata")
    if isinstance(metadata, dict) and SESSION_FIELD in metadata:
        in_field = metadata.pop(SESSION_FIELD)
        named = in_field if named is None else named
        if not metadata:
            del fields["metadata"]
        body = json.dumps(fields).encode()
    after = fields.get("previous_response_id")
    name = _name(named, fields.get("conversation"))
    trail = _trail(principal, name, after if isinstance(after, str) else None)
    messages = api.messages(fields)
    trail.take(api.format, messages)
    model = fields.get("model")
    return AskedOfProvider(
        api=api,
        principal=principal,
        body=body,
        model=model if isinstance(model, str) and model else None,
        name=name,
        messages=messages,
        trail=trail,
        after_response=after if isinstance(after, str) else None,
    )


def _trail(principal: Principal, name: str | None, after: str | None) -> Trail:
    whose = ["system"] if principal is SYSTEM else ["user", principal]
    return Trail(whose, name, after)


def _name(named: Any, conversation: Any) -> str | None:
    """The conversation's name: the client's own, or that of the conversation that the provider keeps."""
    if named is not None:
        return checked_id(named, SESSION_HEADER)
    if isinstance(conversation, dict):
        conversation = conversation.get("id")
    return checked_id(f"conversation {conversation}", "conversation") if isinstance(conversation, str) else None


def _fields(body: bytes) -> JsonObject:
    try:
        fields = json.loads(body)
    except RecursionError:
        raise InvalidInputError("body", "is nested too deep") from None
    except ValueError as error:
        raise InvalidInputError("body", f"is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidInputError("body", "must be a JSON object")
    return fields
