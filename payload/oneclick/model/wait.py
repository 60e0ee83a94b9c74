"""Wait for a model: what lies in the folder, what a user drops into it, what a download brings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oneclick.bundle_info import BundleInfo
from oneclick.console import Console
from oneclick.course import Course
from oneclick.errors import OneClickError
from oneclick.messages import say
from oneclick.model.choice import Model, Refused, Wish, choose_model, names_to_look_for
from oneclick.status import Status
from oneclick.stopping import StopSignal

LOOK_EVERY_S = 0.5
SETTLED_AFTER_S = 3.0
"""A file that did not change for this long is not being written any more."""
UNFINISHED = (
    "model.truncated",
    "model.unreadable",
    "model.held",
    "model.zeros",
    "model.empty",
    "model.damaged_tensor",
    "model.damaged_tokenizer",
)
"""What a file looks like while Explorer or a browser still writes it."""
BUSY_PHASES = ("downloading", "verifying")


@dataclass
class _Seen:
    """A file as it was when it last changed."""

    size_bytes: int
    mtime_ns: int
    since: float
    """Monotonic time; long ago for a file that was there before us and was not touched lately."""


class ModelWait:
    """Looks into the folder until there is a model; says once what it refused and why."""

    def __init__(
        self,
        root: Path,
        info: BundleInfo,
        wishes: Sequence[Wish],
        status: Status,
        course: Course,
        console: Console,
        stop: StopSignal,
    ) -> None:
        self._root = root
        self._info = info
        self._wishes = wishes
        self._status = status
        self._course = course
        self._console = console
        self._stop = stop
        self._seen: dict[Path, _Seen] = {}
        self._told: set[tuple[Path, str]] = set()

    def wait(self) -> Model | None:
        """Return the model as soon as there is one, None when the user stopped the program."""
        first_look = True
        while not self._stop.requested.is_set():
            model, refused = choose_model(self._root, self._info, self._wishes)
            if model is not None and (first_look or self._settled(model.path)):
                self._tell(refused)
                return model
            first_look = False
            self._tell([one for one in refused if self._final(one)])
            if model is None:
                self._say_missing(refused)
            self._course.look()
            self._stop.wait(LOOK_EVERY_S)
        return None

    def _say_missing(self, refused: Sequence[Refused]) -> None:
        phase = self._status.get().phase
        if phase == "checking":
            name = names_to_look_for(self._info)[0]
            self._console.bad(say("launcher.step", number=3, total=4, what=self._invitation(name)))
            self._status.tell("no_model", "launcher.model_missing", name=name)
        if phase in BUSY_PHASES:
            return
        for one in refused:
            if not self._final(one) and one.error.key == "model.truncated":
                have, need = one.error.values["have_bytes"], one.error.values["need_bytes"]
                assert isinstance(have, int)
                assert isinstance(need, int)
                self._console.progress(say("launcher.copying", name=one.path.name), have / need)

    def _invitation(self, name: str) -> str:
        return say("launcher.no_model", name=name, folder=self._root)

    def _tell(self, refused: Sequence[Refused]) -> None:
        for one in refused:
            if (one.path, one.error.key) not in self._told:
                self._told.add((one.path, one.error.key))
                self._console.bad(say("launcher.model_refused", name=one.path.name, reason=_why(one.error)))

    def _final(self, one: Refused) -> bool:
        """Tell whether more waiting cannot turn the refused file into a model."""
        return one.error.key not in UNFINISHED or self._settled(one.path)

    def _settled(self, path: Path) -> bool:
        """Tell whether ``path`` has stopped changing; a file that is not there has."""
        try:
            state = path.stat()
        except OSError:
            return True
        seen = self._seen.get(path)
        if seen is None or (seen.size_bytes, seen.mtime_ns) != (state.st_size, state.st_mtime_ns):
            age_s = time.time() - state.st_mtime
            was_here = seen is None and not 0 <= age_s < SETTLED_AFTER_S
            since = time.monotonic() - (SETTLED_AFTER_S if was_here else 0.0)
            seen = self._seen[path] = _Seen(state.st_size, state.st_mtime_ns, since)
        return time.monotonic() - seen.since >= SETTLED_AFTER_S


def _why(error: OneClickError) -> str:
    return str(error).replace("\n", "\n      ")
