"""Following: the events that any process appends reach the followers of their session."""
