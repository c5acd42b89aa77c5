"""Writing: handlers append to sessions. Each session has one aggregate, and a log has one lease for all its steps."""
