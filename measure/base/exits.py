"""Exit statuses of a run in which something failed, the gravest first; pytest has 0 to 5 for itself."""

from __future__ import annotations

EXIT_CLAIM_FAILED = 1
EXIT_DRIFT = 10
EXIT_NOT_MEASURED = 11
