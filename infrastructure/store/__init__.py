"""The event store: schema, recorder, mapper, and the group commit in front of them."""
