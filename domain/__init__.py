"""What happened and what may happen: events, commands, and the two pure functions between them.

Nothing here reads a clock, makes an id, or knows a database or a provider.
"""
