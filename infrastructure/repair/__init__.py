"""Repair: repairs, imports and forks, which replay or copy whole histories, and work on many sessions at once."""
