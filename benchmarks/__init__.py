"""What turnlog does on this machine, beside the machine's limits and other ways of keeping conversations, in one run.

They run from a checkout: `python -m benchmarks --help`.
"""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
"""Where `python -m benchmarks` finds itself, and the pages that it writes."""
