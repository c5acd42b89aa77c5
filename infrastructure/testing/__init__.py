"""The fake provider: scripts and recorded streams, played over HTTP to a real client.

Users import from `turnlog.testing`. This room stands alone: it knows nothing of logs and sessions.
"""

from turnlog.infrastructure.testing.corpus import Stream, load_streams, own_corpus
from turnlog.infrastructure.testing.provider import FakeProvider

__all__ = ["FakeProvider", "Stream", "load_streams", "own_corpus"]
