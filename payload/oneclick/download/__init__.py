"""Download one pinned file from any of its sources: resumable, in parallel, never trusted before its digest agrees.

The same code fetches the model on the user's PC and the sources of a build on the maintainer's. It knows files,
sources and bytes; what a catalogue, a cache or a recipe is, its callers know.
"""

from __future__ import annotations

from oneclick.download.errors import (
    AllSourcesFailed,
    AnotherInstance,
    Attempt,
    Cancelled,
    CannotRename,
    DigestDiffers,
    DiskFull,
    DownloadError,
    FileTooBig,
    NotWritable,
)
from oneclick.download.files import (
    BLOCK_BYTES,
    Announced,
    DownloadResult,
    Event,
    Progress,
    RemoteFile,
    Source,
    Tuning,
)
from oneclick.download.probe import ProbeResult, order_by_answer, probe
from oneclick.download.transfer import download
from oneclick.download.transport import make_session

__all__ = [
    "BLOCK_BYTES",
    "AllSourcesFailed",
    "Announced",
    "AnotherInstance",
    "Attempt",
    "Cancelled",
    "CannotRename",
    "DigestDiffers",
    "DiskFull",
    "DownloadError",
    "DownloadResult",
    "Event",
    "FileTooBig",
    "NotWritable",
    "ProbeResult",
    "Progress",
    "RemoteFile",
    "Source",
    "Tuning",
    "download",
    "make_session",
    "order_by_answer",
    "probe",
]
