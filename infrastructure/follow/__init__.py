"""Following: what is appended, by whichever process, reaches those who wait for it."""
