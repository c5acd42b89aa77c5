"""A provider of our own: recorded streams, played over HTTP to a real client."""

from .corpus import Stream, load_streams, own_corpus, real_corpus
from .demo import Demo, DemoConversation, DemoTool, DemoTurn, load_demo
from .errors import RequestRefusedError
from .server import Provider

__all__ = [
    "Demo",
    "DemoConversation",
    "DemoTool",
    "DemoTurn",
    "Provider",
    "RequestRefusedError",
    "Stream",
    "load_demo",
    "load_streams",
    "own_corpus",
    "real_corpus",
]
