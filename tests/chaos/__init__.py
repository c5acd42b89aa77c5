"""Attacks on a log at work: every fault is injected while processes write and read, and after each one everything that
was acknowledged must be there, once, in order, and everybody sees only their own.

`python -m tests.chaos` runs them (`make chaos`).
"""
