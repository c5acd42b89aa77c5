"""The demo: a conversation with tools, processes that are killed, and a crowd, all on real servers."""
