"""Windows slows down what it takes for background work and sleeps over long answers: say that ours is neither.

Every call may be missing or refused on an older Windows; then things are as they would have been without it.
"""

from __future__ import annotations

import ctypes
import logging
from typing import Any, Callable

logger = logging.getLogger(__name__)

SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX = 0x0001, 0x0002
"""https://learn.microsoft.com/windows/win32/api/errhandlingapi/nf-errhandlingapi-seterrormode"""
PROCESS_POWER_THROTTLING = 4
"""ProcessPowerThrottling of PROCESS_INFORMATION_CLASS."""
EXECUTION_SPEED, IGNORE_TIMER_RESOLUTION = 0x1, 0x4
ES_CONTINUOUS, ES_SYSTEM_REQUIRED = 0x80000000, 0x00000001
"""https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-setthreadexecutionstate"""


class ThrottlingState(ctypes.Structure):
    """PROCESS_POWER_THROTTLING_STATE: a bit in both masks throttles, one in the first alone forbids it."""

    _fields_ = (("Version", ctypes.c_uint32), ("ControlMask", ctypes.c_uint32), ("StateMask", ctypes.c_uint32))


def _kernel32() -> Any:
    """Return kernel32 with the types of what is called here; None elsewhere than on Windows."""
    load: Any = getattr(ctypes, "WinDLL", None)
    if load is None:
        return None
    library = load("kernel32", use_last_error=True)
    library.SetErrorMode.argtypes, library.SetErrorMode.restype = [ctypes.c_uint32], ctypes.c_uint32
    library.GetCurrentProcess.argtypes, library.GetCurrentProcess.restype = [], ctypes.c_void_p
    library.SetThreadExecutionState.argtypes = [ctypes.c_uint32]
    library.SetThreadExecutionState.restype = ctypes.c_uint32
    return library


def be_a_plain_process(library: Any = None) -> None:
    """Show no crash dialog, which would hold a dead worker open, and run at full speed without a window.

    Windows 11 puts windowless processes on slow cores when it saves power, unless they say that speed matters.
    """
    library = library or _kernel32()
    if library is None:
        return
    library.SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX)
    set_information = getattr(library, "SetProcessInformation", None)  # Windows 8 and later
    if set_information is None:
        return
    set_information.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32]
    set_information.restype = ctypes.c_int
    # Windows 10 before 1709 knows no throttling and older ones than 11 no timers: asked one by one.
    for mask in (EXECUTION_SPEED, IGNORE_TIMER_RESOLUTION):
        state = ThrottlingState(1, mask, 0)
        size = ctypes.sizeof(state)
        if not set_information(library.GetCurrentProcess(), PROCESS_POWER_THROTTLING, ctypes.byref(state), size):
            logger.debug("power throttling 0x%x stays as it is", mask)


class Awake:
    """Keeps Windows from sleeping while ``on`` was said last; the screen may go dark. One thread's business."""

    def __init__(self, library: Any = None) -> None:
        self._library = library or _kernel32()
        self._is_on = False

    def set(self, on: bool) -> None:
        """Say whether there is work now; nothing where that was said before."""
        if on == self._is_on or self._library is None:
            return
        self._is_on = on
        if not self._library.SetThreadExecutionState(ES_CONTINUOUS | (ES_SYSTEM_REQUIRED if on else 0)):
            logger.debug("Windows does not take the wish to stay awake")


def stay_awake_while(busy: Callable[[], bool], look_s: float, stopped: Callable[[float], bool]) -> None:
    """Keep the PC awake whenever ``busy``, looking every ``look_s``, until ``stopped(look_s)`` says so."""
    awake = Awake()
    try:
        while not stopped(look_s):
            awake.set(busy())
    finally:
        awake.set(False)
