"""Views that are folded from events, and what is made of them. Pure: the same events give the same view, everywhere."""
