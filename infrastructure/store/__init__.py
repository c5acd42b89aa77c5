"""Postgres: what is read of it, by its parts, and the group commit that appends."""
