"""How large things may be. Far beyond what people and models write, and small enough to be stored, read and shown.

What goes beyond a limit raises LimitExceededError, which names it. What was stored before a limit came is still read.
"""

from __future__ import annotations

MAX_ID_LENGTH = 255
"""Characters of the id of a user, a message, a step, an increment or a report, of the name of a message, and of the
name and the key of a counter."""
MAX_NAME_LENGTH = 1_024
"""Characters of the name of a tool, a function or a model, and of a finish reason."""
MAX_CALL_ID_LENGTH = 65_536
"""Characters of the id of a tool call or a response. Some gateways put a model's signed thoughts into it."""
MAX_TITLE_LENGTH = 1_000
"""Characters of a title."""
MAX_REASON_LENGTH = 10_000
"""Characters of the reason of a cancellation. The text of an error is cut to as many."""
MAX_CALLS = 16_384
"""Tool calls of one response or message."""
MAX_MESSAGE_LENGTH = 32 * 1024 * 1024
"""Characters of one message or response: its text, reasoning, refusal and arguments together."""
PIECE_LENGTH = 256 * 1024
"""Characters of one fragment. What a provider sends in a longer one is stored as several."""
MAX_JSON_DEPTH = 100
"""Levels of objects and lists inside each other."""
MAX_JSON_VALUES = 100_000
"""Values in one piece of JSON."""
MAX_JSON_BITS = 1024
"""Bits of a whole number in JSON. Every JSON library writes longer ones, and few read them."""
MAX_KEY_LENGTH = 1_024
"""Characters of a key of a JSON object."""
MAX_METADATA_BYTES = 256 * 1024
"""Bytes of a session's metadata as JSON."""
MAX_USAGE_BYTES = 64 * 1024
"""Bytes of a usage object as JSON."""
MAX_COUNTER = 2**53
"""Most that a counter is changed by at once. JSON readers everywhere keep whole numbers up to this one exactly."""
MAX_COUNTERS = 10_000
"""Counters of a session, each with its keys counted singly."""
MAX_SECONDS = 10_000_000
"""Seconds that a turn may be given, or that may lie between two looks: some months."""
