"""Views folded from events, and what is made of them. Pure: the same events give the same view, anywhere."""
