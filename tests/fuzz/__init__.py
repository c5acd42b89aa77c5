"""Fuzzers: any bytes, made into what a provider, another system, Redis, the log or a user of the command line gives.

`python -m tests.fuzz` runs them, guided by coverage where atheris is installed. What was ever found is in `corpus/`,
and every run of the tests begins with it.
"""
