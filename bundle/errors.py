"""Failures the reader can act on, each with its exit code."""

from __future__ import annotations


class BundleError(Exception):
    """A failure the reader can act on: printed without a traceback, then ``exit_code``.

    what: one line, what went wrong; why: the cause, with the figures; do: the next step to take.
    """

    exit_code = 1

    def __init__(self, what: str, *, why: str, do: str) -> None:
        self.what, self.why, self.do = what, why, do
        super().__init__(f"{what}\n  why: {why}\n  do:  {do}")


class UsageError(BundleError):
    """A recipe, an option or an input file that cannot be used."""

    exit_code = 2


class SourceError(BundleError):
    """A pinned file that no source could give."""

    exit_code = 3


class DigestMismatch(BundleError):
    """Bytes that are not those the lock pins."""

    exit_code = 4


class AuditFailed(BundleError):
    """A staged tree or an archive that must not be published."""

    exit_code = 5


class SmokeFailed(BundleError):
    """A finished archive that does not do its job."""

    exit_code = 6


class StorageError(BundleError):
    """No space, no permission, or a path the disk does not take."""

    exit_code = 7


class UploadError(BundleError):
    """A place to publish to that did not take a file, or did not let us in."""

    exit_code = 8
