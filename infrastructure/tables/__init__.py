"""Projections over the whole log, in tables of their own: kept up by a worker, caught up on demand, rebuilt."""
