"""Projections over the whole log, in tables of their own. A worker keeps them up to the log, or a caller catches them
up."""
