"""The model of this run: waited for, checked, hashed once, and given the context that this PC's memory holds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Callable

from oneclick.bundle_info import BundleInfo
from oneclick.console import Console
from oneclick.course import Course
from oneclick.errors import OneClickError
from oneclick.folder import BundleFolder
from oneclick.messages import say
from oneclick.model.choice import Model, Wish, catalogue_entry, claims_to_be_known
from oneclick.model.memory import plan_memory
from oneclick.model.wait import ModelWait
from oneclick.pc.findings import Finding
from oneclick.pc.folder import check_online_only
from oneclick.pc.machine import memory
from oneclick.settings import Settings
from oneclick.sizes import in_words
from oneclick.status import Status
from oneclick.stopping import StopSignal


@dataclass(frozen=True)
class Prepared:
    """A model that can be loaded."""

    model: Model
    context: int
    """Prompt and answer together, in tokens."""
    summary: str
    """For the window."""


class Preparation:
    """Finds the model; everything it waits for ends with ``stop``."""

    def __init__(
        self, folder: BundleFolder, settings: Settings, status: Status, course: Course, stop: StopSignal
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._status = status
        self._course = course
        self._stop = stop

    def run(
        self, info: BundleInfo, asked: str, console: Console, warn: Callable[[Finding | None], None]
    ) -> Prepared | None:
        """Return the model, None when the user stopped before there was one.

        ``asked``: the model named on the command line. Raises OneClickError for one that cannot be used.
        """
        wishes = self._wishes(asked)
        waiting = ModelWait(self._folder.root, info, wishes, self._status, self._course, console, self._stop)
        model = waiting.wait()
        if model is None:
            return None
        warn(check_online_only(model.path))
        verdict = self._verdict(model, info)
        if verdict is None:
            return None
        plan = plan_memory(model.header, memory(), self._settings.context)
        warn(plan.finding)
        header = model.header
        summary = say(
            "launcher.model",
            name=model.path.name,
            architecture=header.architecture,
            dtype=header.dtype,
            size=in_words(model.size_bytes),
            verdict=verdict,
        )
        return Prepared(model, plan.context, summary)

    def _wishes(self, asked: str) -> list[Wish]:
        wishes = (
            Wish("argument", asked),
            Wish("environment", os.environ.get("MODEL", "")),
            Wish("settings", self._settings.model),
        )
        return [wish for wish in wishes if wish.name]

    def _verdict(self, model: Model, info: BundleInfo) -> str | None:
        """Return what its digest says of the model in words, None when the user stopped meanwhile."""
        from oneclick.hashing import DigestMemory, digest_of

        def progress(done: int, total: int) -> None:
            self._status.set("verifying", done / max(total, 1))
            self._course.look()

        try:
            digests = DigestMemory(self._folder.logs / "digests.json")
            digest = digest_of(model.path, digests, progress=progress, cancel=self._stop.requested.is_set)
        except OneClickError:
            if self._stop.requested.is_set():
                return None
            raise
        if catalogue_entry(info, digest):
            return say("launcher.digest_right")
        return say("launcher.digest_differs" if claims_to_be_known(model, info) else "launcher.digest_unknown")
