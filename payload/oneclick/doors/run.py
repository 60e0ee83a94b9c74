"""The double-click: port, PC, model, engine, browser, in this order, until the user stops it."""

from __future__ import annotations

import logging
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

from oneclick import module_cache
from oneclick.bundle_info import BundleInfo, EngineLevel, read_bundle_info
from oneclick.console import Console
from oneclick.course import Course
from oneclick.doors.arguments import parse_arguments
from oneclick.engine.child import Spawned, spawn
from oneclick.engine.threads import choose_threads
from oneclick.errors import OneClickError
from oneclick.folder import BundleFolder
from oneclick.messages import say
from oneclick.model.prepare import Preparation, Prepared
from oneclick.pc import power
from oneclick.pc.checks import check_cpu, check_windows, levels_to_try
from oneclick.pc.findings import OK, Finding
from oneclick.pc.folder import check_folder
from oneclick.pc.machine import cpu, disk, memory, windows_version
from oneclick.port import browser, ports
from oneclick.port.claim import Claim, claim_port
from oneclick.port.instance import Instance, TellRun, new_token
from oneclick.remembered import Remembered
from oneclick.server.http.first_page import FirstPage
from oneclick.settings import Settings, explicit, read_settings
from oneclick.sizes import in_words
from oneclick.status import Status
from oneclick.stopping import StopSignal

if TYPE_CHECKING:
    from oneclick.server.runtime import Runtime

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.1
SERVER_STOP_S = 4.0
"""How long answers in flight may take to end; Windows kills us 5 s after the window was closed."""
AWAKE_LOOK_S = 2.0
"""How often Windows is told whether there is work that sleep would interrupt."""
ILLEGAL_INSTRUCTION = "server.exit_illegal_instruction"
LONGEST_PATH_INSIDE = 120
"""The builder keeps every path inside the bundle below this many characters."""
EXAMPLE_CURL = (
    'curl {base}/v1/chat/completions {key}-H "Content-Type: application/json" '
    '-d "{{\\"messages\\":[{{\\"role\\":\\"user\\",\\"content\\":\\"hello\\"}}]}}"'
)
"""The tutorial's line, quoted as cmd.exe wants it."""


class Launcher:
    """One run of ``一键运行.bat``."""

    def __init__(self, folder: BundleFolder, arguments: Sequence[str], console: Console) -> None:
        self._began = time.monotonic()
        self._folder = folder
        self._console = console
        self._asked = parse_arguments(arguments)
        self._settings = self._settings_in_force()
        self._status = Status()
        self._stop = StopSignal()
        self._course = Course(console, self._status)
        self._remembered = Remembered(folder.remembered)
        self._processor = cpu()
        self._server_failure: BaseException | None = None

    def _settings_in_force(self) -> Settings:
        """The file, over it the command line."""
        asked = self._asked
        changes = {name: getattr(asked, name) for name in ("port", "host", "browser", "context", "threads")}
        settings = explicit(read_settings(self._folder.settings), **changes)
        return replace(settings, port_is_fixed=settings.port_is_fixed or asked.port is not None)

    def run(self) -> int:
        """Do everything; return 0 after a stop that the user asked for, 1 where it could not start."""
        with ExitStack() as at_the_end:
            self._stop.listen()
            info = self._greet()
            claim = claim_port(self._settings, self._folder.running)
            if not isinstance(claim, Claim):
                return self._show_twin(claim)
            at_the_end.callback(self._stop.finished.set)
            at_the_end.callback(claim.release)
            first_page = self._answer_first_visitors(claim, at_the_end)
            spawned = _worker_ahead_of_time()
            if self._settings.browser:
                browser.open_page(claim.instance.page)
            runtime = self._serve(info, claim, first_page, spawned, at_the_end)
            try:
                levels = self._check_pc(info)
                prepared = self._find_model(info)
                if prepared is not None:
                    self._start_engine(runtime, prepared, levels[0])
                    self._watch(runtime, claim.instance, prepared, levels)
                return self._exit_code()
            except OneClickError as error:
                return self._fail(error)
            except Exception as error:
                logger.exception("the start ended by a bug")
                return self._fail(OneClickError("launcher.unexpected", reason=f"{type(error).__name__}: {error}"))

    def _greet(self) -> BundleInfo:
        """Say what this is and what is wrong with its settings."""
        info = read_bundle_info(self._folder.bundle_json)
        self._console.line(say("launcher.hello", name=info.name, version=info.version))
        for problem in self._settings.problems:
            self._console.bad(str(problem))
        if not ports.is_loopback(self._settings.host) and not self._settings.api_key:
            raise OneClickError("launcher.key_needed", host=self._settings.host)
        return info

    def _show_twin(self, twin: Instance | None) -> int:
        if twin is None:
            return 0  # It ended between two looks, as its user wanted.
        if self._settings.browser:
            browser.open_page(twin.page)
        self._console.good(say("launcher.already_running", url=twin.url))
        return 0

    def _answer_first_visitors(self, claim: Claim, at_the_end: ExitStack) -> FirstPage:
        """Show the page from the first moment, and say where it is."""
        instance, wanted = claim.instance, self._settings.port
        token = instance.token or new_token()
        first_page = FirstPage(claim.listeners, token, instance.run, keep_token=bool(instance.token))
        first_page.start()
        at_the_end.callback(first_page.close)
        if wanted in (0, instance.port):
            self._step(1, say("launcher.port_ours", url=instance.url))
        else:
            owner = ports.owner_of(wanted)[0] or say("launcher.owner_unknown")
            values = {"url": instance.url, "wanted": wanted, "port": instance.port, "owner": owner}
            self._console.bad(say("launcher.step", number=1, total=4, what=say("launcher.port_other", **values)))
        if claim.ipv6_owner:
            self._console.bad(say("launcher.ipv6_taken", port=instance.port, url=instance.url))
        return first_page

    def _serve(
        self, info: BundleInfo, claim: Claim, first_page: FirstPage, spawned: Spawned | None, at_the_end: ExitStack
    ) -> Runtime:
        """Start the HTTP server in a thread of its own, which imports it while we look at PC and model."""
        from oneclick.model.download import ModelDownload
        from oneclick.server.runtime import Runtime, ServerConfig

        settings = self._settings
        names = () if ports.is_loopback(settings.host) else ports.names_of_this_pc()
        config = ServerConfig(
            api_key=settings.api_key,
            allow_origins=settings.allowed_origins,
            stop_repetition=settings.stop_repetition,
            allow_hosts=(*settings.allowed_hosts, *names),
            settings_file=self._folder.settings,
            chats=self._folder.chats,
            version=info.version,
        )
        downloads = ModelDownload(self._folder.root, self._status)
        runtime = Runtime(config, self._status, spawned, token=first_page.token, downloads=downloads)
        arguments = (runtime, claim, first_page)
        server = threading.Thread(target=self._run_server, args=arguments, name="server", daemon=True)
        server.start()

        def busy() -> bool:
            return runtime.queue.busy or self._status.get().phase in ("downloading", "verifying", "loading")

        awake = (busy, AWAKE_LOOK_S, self._stop.requested.wait)
        threading.Thread(target=power.stay_awake_while, args=awake, name="awake", daemon=True).start()

        def stop() -> None:
            self._console.line(say("launcher.stopping"))
            self._stop.request()
            downloads.pause()
            server.join(SERVER_STOP_S)
            downloads.close(0.3)
            runtime.close()
            self._console.line(say("launcher.stopped"))

        at_the_end.callback(stop)
        self._status.set("checking")
        return runtime

    def _run_server(self, runtime: Runtime, claim: Claim, first_page: FirstPage) -> None:
        try:
            from oneclick.server.api.app import create_app
            from oneclick.server.http.serve import run_server

            app = TellRun(create_app(runtime), claim.instance.run)
            run_server(app, claim.listeners, self._stop.requested, runtime, first_page.hand_over)
        except BaseException as error:
            logger.exception("the server ended")
            self._server_failure = error
        finally:
            self._stop.request()

    def _check_pc(self, info: BundleInfo) -> tuple[EngineLevel, ...]:
        """Say what PC this is and what is wrong with it; return the engine's levels to try.

        Raises OneClickError where the processor cannot run the engine.
        """
        ram, windows, processor = memory(), windows_version(), self._processor
        text = say(
            "launcher.pc",
            system=f"{windows.name} ({windows.build})" if windows else sys.platform,
            cpu=processor.name,
            cores=processor.physical_cores,
            memory=in_words(ram.total_bytes),
            available=in_words(ram.available_bytes),
        )
        self._step(2, text)
        self._warn(check_windows(windows))
        levels = levels_to_try(processor, info.engine)
        self._warn(check_cpu(processor, info.engine))
        for finding in check_folder(self._folder.root, disk(self._folder.root), LONGEST_PATH_INSIDE):
            self._warn(finding)
        failed_before = self._remembered.get("illegal_instruction", processor.name)
        return tuple(level for level in levels if level.name != failed_before) or levels

    def _find_model(self, info: BundleInfo) -> Prepared | None:
        """Wait for the model and check it; None when the user stopped before."""
        preparation = Preparation(self._folder, self._settings, self._status, self._course, self._stop)
        prepared = preparation.run(info, self._asked.model or "", self._console, self._warn)
        if prepared is not None:
            self._step(3, prepared.summary)
        return prepared

    def _start_engine(self, runtime: Runtime, prepared: Prepared, level: EngineLevel) -> None:
        """Load the model in the worker, with as many threads as are set, or as are best here."""
        model, folder = prepared.model, self._folder.root / level.folder
        threads = self._threads(prepared, level, folder)
        self._step(4, say("launcher.engine", level=level.name, threads=threads))
        dlls, context = self._dll_folders(), prepared.context
        try:
            runtime.start_model(model.path, folder, dlls, level.name, threads=threads, context=context)
        except OSError as error:
            raise OneClickError("launcher.engine_blocked", reason=error.strerror or str(error)) from error

    def _threads(self, prepared: Prepared, level: EngineLevel, folder: Path) -> int:
        def before_measuring() -> None:
            self._console.line(say("launcher.measuring_threads"))
            self._status.set("loading", 0.0)

        model = prepared.model
        return choose_threads(
            self._settings.threads,
            self._processor,
            (model.path, folder, self._dll_folders()),
            f"{self._processor.name}, {level.name}, {model.header.dtype}, {model.header.hidden_size}",
            self._remembered,
            before_measuring,
            self._stop.requested.is_set,
        )

    def _dll_folders(self) -> list[Path]:
        shared = self._folder.root / "app" / "engine" / "shared"
        return [shared] if shared.is_dir() else []

    def _watch(self, runtime: Runtime, instance: Instance, prepared: Prepared, levels: tuple[EngineLevel, ...]) -> None:
        """Show what happens until the user stops it; go one CPU level down where the engine asks too much."""
        was_ready = False
        while not self._stop.wait(LOOK_EVERY_S):
            snapshot = self._course.look()
            while runtime.strangers.sentences:
                self._console.bad(say("launcher.note", what=runtime.strangers.sentences.popleft()))
            if snapshot.phase == "ready" and not was_ready:
                was_ready = True
                self._say_ready(instance, runtime)
                module_cache.save()
            elif snapshot.phase == "failed" and snapshot.message_key == ILLEGAL_INSTRUCTION and len(levels) > 1:
                self._remembered.put("illegal_instruction", self._processor.name, levels[0].name)
                levels = levels[1:]
                self._console.bad(say("launcher.lower_level", level=levels[0].name))
                self._start_engine(runtime, prepared, levels[0])

    def _say_ready(self, instance: Instance, runtime: Runtime) -> None:
        base = instance.url.rstrip("/")
        has_key = bool(self._settings.api_key)
        text = say(
            "launcher.ready",
            seconds=f"{time.monotonic() - self._began:.1f}",
            url=instance.url,
            base=base,
            api_key=say("launcher.your_key" if has_key else "launcher.any_key"),
            model=runtime.config.model_name,
            curl=EXAMPLE_CURL.format(base=base, key='-H "Authorization: Bearer YOUR_KEY" ' if has_key else ""),
        )
        self._console.good(text)

    def _fail(self, error: OneClickError) -> int:
        """Show the sentence on page and window until the user has read it and closes one of them."""
        logger.error("cannot start: %s", error.both()[1])
        self._status.fail(error.key, **error.values)
        self._course.look()
        self._stop.wait()
        return 1

    def _exit_code(self) -> int:
        if self._server_failure is not None:
            raise OneClickError("launcher.unexpected", reason=repr(self._server_failure)) from self._server_failure
        return 0

    def _step(self, number: int, what: str) -> None:
        self._console.line(say("launcher.step", number=number, total=4, what=what))

    def _warn(self, finding: Finding | None) -> None:
        if finding is not None and finding.severity != OK:
            logger.warning("%s", finding.both()[1])
            self._console.bad(say("launcher.note", what=finding))


def _worker_ahead_of_time() -> Spawned | None:
    """Start the model's process while we look at PC and model: a second core is idle meanwhile."""
    try:
        return spawn()
    except OSError as error:
        logger.warning("no worker ahead of time: %s", error)
        return None  # The model's own start will fail the same way, and says so.
