"""Reading: the views of sessions, and the prompts that are built from the views."""
