"""Writing: handlers append to sessions, one aggregate a session, one lease for all steps of a log."""
