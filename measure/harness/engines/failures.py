"""An error as the outcome of a spec: what is kept of it for the tests that ask."""

from __future__ import annotations

import errno
import traceback

from measure.core import batches
from measure.harness.engines import gpus
from measure.spec import MeasureError, NotMeasuredError


def kept(error: Exception) -> MeasureError:
    """An error to be kept for later: its text without its frames, which would hold the model in memory.

    A `NotMeasuredError` where the world denied something; whatever else was not foreseen is a defect, told whole.
    """
    if isinstance(error, MeasureError):
        kind = NotMeasuredError if isinstance(error, NotMeasuredError) else MeasureError
        return kind(str(error))
    if batches.is_out_of_memory(error):
        return NotMeasuredError(
            f"the machine has no memory left ({error}); end what else uses it, or take a larger one."
        )
    if lost := gpus.told_as_lost(error):
        return NotMeasuredError(lost)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NotMeasuredError(f"the disk is full ({error}); make room, or set HF_HOME and --store to a larger one.")
    return MeasureError(
        "unexpected error while measuring, a defect of the harness or of a library it stands on:\n"
        + "".join(traceback.format_exception(error))
    )
