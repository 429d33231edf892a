"""A process that permissions hold back even if it is root's, as in containers: otherwise a test of read-only folders tests nothing."""

import ctypes
import os
import sys

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
"""What lets root read and write anything."""
PR_CAPBSET_DROP = 24
VERSION_3 = 0x20080522
"""Of the structures of capget(2)."""


def heed_permissions() -> None:
    """For `preexec_fn` of a subprocess: what is executed next cannot get these two back."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    header, sets = (ctypes.c_uint32 * 2)(VERSION_3, 0), (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 bits
    libc.capget(header, sets)
    sets[2] &= ~(1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH)  # what is inherited would come back with exec
    libc.capset(header, sets)
