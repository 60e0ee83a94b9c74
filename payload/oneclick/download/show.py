"""Progress of a download in the black window: a bar where there is a console, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from typing import TYPE_CHECKING, Callable, NoReturn, TextIO

from oneclick.download.files import Event, Progress
from oneclick.messages import say
from oneclick.sizes import in_words

if TYPE_CHECKING:
    from tqdm import tqdm

LINE_EVERY_S = 30.0
LINE_EVERY_SHARE = 0.05
MIN_COLUMNS = 40
BAR_FORMAT = "{desc} {percentage:3.0f}%|{bar}| "
BLOCKS = "▏▎▍▌▋▊▉█"


class ProgressView:
    """Give ``progress`` and ``event`` to a download, then ``close``; a ``with`` block does the last."""

    def __init__(
        self, stream: TextIO | None = None, columns: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = _Forgiving(stream or sys.stdout)
        self._columns = columns
        self._clock = clock
        self._in_place = self._stream.isatty()
        self._phase = ""
        self._bar: tqdm[NoReturn] | None = None
        self._line_at = 0.0
        self._line_share = 0.0

    def progress(self, progress: Progress) -> None:
        """Show ``progress``."""
        if progress.phase != self._phase:
            self._enter(progress)
        if progress.phase == "probing":
            return
        if self._bar is not None:
            key = "download.bar_figures" if progress.rate_bytes_s > 0 else "download.bar_figures_at_first"
            figures = say(key, **_figures(progress))
            self._bar.bar_format = BAR_FORMAT + figures.replace("{", "{{").replace("}", "}}")
            self._bar.ncols = self._width()
            self._bar.n = progress.done_bytes
            self._bar.refresh()
        elif not self._in_place:
            self._maybe_line(progress)

    def _enter(self, progress: Progress) -> None:
        if progress.phase == "checking" and self._bar is not None:
            self._bar.n = progress.total_bytes or progress.done_bytes  # The last bytes came after the last look.
        self._phase = progress.phase
        self._end_bar()
        self._line_at, self._line_share = self._clock(), 0.0
        if progress.phase == "probing":
            self._write(say("download.probing"))
        elif self._in_place:
            self._bar = self._new_bar(progress)

    def _new_bar(self, progress: Progress) -> tqdm[NoReturn]:
        from tqdm import tqdm

        # ascii: a console that cannot show block characters (a redirected cp936 one) gets "#".
        bar: tqdm[NoReturn] = tqdm(
            total=progress.total_bytes,
            initial=progress.done_bytes,
            desc=say(f"download.bar_{progress.phase}"),
            file=self._stream,
            ascii=not _can_show(self._stream, BLOCKS),
            bar_format=BAR_FORMAT,
            ncols=self._width(),
            leave=True,
        )
        return bar

    def _width(self) -> int:
        """Return the columns of the window, which people resize; a terminal that says 0 counts as 80."""
        return self._columns or max(MIN_COLUMNS, shutil.get_terminal_size().columns - 1)

    def _maybe_line(self, progress: Progress) -> None:
        share = progress.done_bytes / progress.total_bytes if progress.total_bytes else 0.0
        now = self._clock()
        if share < 1.0 and share < self._line_share + LINE_EVERY_SHARE and now < self._line_at + LINE_EVERY_S:
            return
        if share >= 1.0 and self._line_share >= 1.0:
            return
        self._line_at, self._line_share = now, share
        self._write(
            say(
                "download.line_progress",
                what=say(f"download.bar_{progress.phase}"),
                percent=int(share * 100),
                **_figures(progress),
            )
        )

    def event(self, event: Event) -> None:
        """Print what happened, above the bar."""
        if self._bar is not None:
            self._bar.write(str(event), file=self._stream)
        else:
            self._write(str(event))

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def _end_bar(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()

    def close(self) -> None:
        self._end_bar()

    def __enter__(self) -> ProgressView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Forgiving:
    """A stream that shows ``?`` for what it cannot show, and does not mind that its window is being closed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding or "utf-8"

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


def _figures(progress: Progress) -> dict[str, str]:
    return {
        "done": in_words(progress.done_bytes),
        "total": in_words(progress.total_bytes or 0),
        "rate": in_words(progress.rate_bytes_s),
        "left": duration(progress.left_s),
        "source": progress.source,
    }


def duration(seconds: float | None) -> str:
    """Return ``seconds`` as ``1:02:03`` or ``2:03``; ``?`` when nobody knows."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _can_show(stream: _Forgiving, text: str) -> bool:
    try:
        text.encode(stream.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
