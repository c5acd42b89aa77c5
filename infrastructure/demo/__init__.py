"""The demo: a conversation with tools, a handler that is killed in mid-stream, and a crowd, all on real servers."""
