"""The recording proxy: requests to a provider go through it unchanged, and the log has what was asked and answered."""
