"""Answering: the loop that asks the model, runs its tools, and asks again."""
