"""turnlog bench: what turnlog does on this machine, beside the machine's limits and the plain way, in one run."""
