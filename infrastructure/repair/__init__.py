"""Replaying: repairs, imports and forks, and work on many sessions at once."""
