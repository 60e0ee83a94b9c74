"""The double-click: port, PC, model, server, browser, in this order, until the user stops it."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

from oneclick import module_cache
from oneclick.bundle_info import BundleInfo, EngineLevel, read_bundle_info
from oneclick.console import Console
from oneclick.course import Course
from oneclick.doors.arguments import parse_arguments
from oneclick.engine.child import Spawned, spawn
from oneclick.engine.threads import best_threads, default_threads, fixed_threads, measure, threads_to_try
from oneclick.errors import OneClickError
from oneclick.folder import BundleFolder
from oneclick.messages import say
from oneclick.model.choice import Model, Wish, catalogue_entry, claims_to_be_known
from oneclick.model.memory import plan_memory
from oneclick.model.wait import ModelWait
from oneclick.pc.checks import check_cpu, check_windows, levels_to_try
from oneclick.pc.findings import OK, Finding
from oneclick.pc.folder import check_folder, check_online_only
from oneclick.pc.machine import Cpu, cpu, disk, memory, windows_version
from oneclick.port import browser, ports
from oneclick.port.instance import Instance, TellRun, announce, new_instance, running, withdraw
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
STARTING_TWIN_S = 1.0
"""Two double-clicks at once: how long the slower one waits for the other to say where it serves."""
SERVER_STOP_S = 4.0
"""How long answers in flight may take to end; Windows kills us 5 s after the window was closed."""
ILLEGAL_INSTRUCTION = "server.exit_illegal_instruction"
LONGEST_PATH_INSIDE = 120
"""The builder keeps every path inside the bundle below this many characters."""
EXAMPLE_CURL = (
    'curl {base}/v1/chat/completions -H "Content-Type: application/json" {key}'
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
        self._server_failure: BaseException | None = None

    def _settings_in_force(self) -> Settings:
        """The file, over it the command line."""
        asked = self._asked
        changes = {name: getattr(asked, name) for name in ("port", "host", "browser", "context", "threads")}
        settings = explicit(read_settings(self._folder.settings), **changes)
        return replace(settings, port_is_fixed=settings.port_is_fixed or asked.port is not None)

    def run(self) -> int:
        """Do everything; return 0 after a stop that the user asked for, 1 where it could not start."""
        self._stop.listen()
        info = read_bundle_info(self._folder.bundle_json)
        self._console.line(say("launcher.hello", name=info.name, version=info.version))
        for problem in self._settings.problems:
            self._console.bad(str(problem))
        if not ports.is_loopback(self._settings.host) and not self._settings.api_key:
            raise OneClickError("launcher.key_needed", host=self._settings.host)
        twin = running(self._folder.running)
        listener = None if twin else self._take_port()
        if listener is None:
            return self._show_twin(twin or running(self._folder.running))
        return self._start(info, listener)

    def _take_port(self) -> socket.socket | None:
        """Return a listening socket, or None when our own program turns out to have the port.

        Two double-clicks at once both find nothing running; the slower one sees the port taken and looks again.
        """
        host, port, fixed = self._settings.host, self._settings.port, self._settings.port_is_fixed
        try:
            return ports.take_port(host, port, fixed=True)
        except ports.PortTaken:
            if running(self._folder.running, wait_s=STARTING_TWIN_S):
                return None
            if fixed:
                raise
        return ports.take_port(host, port, fixed=False)

    def _show_twin(self, twin: Instance | None) -> int:
        if twin is None:
            return 0  # It ended between two looks, as its user wanted.
        if self._settings.browser:
            browser.open_page(twin.url)
        self._console.good(say("launcher.already_running", url=twin.url))
        return 0

    def _start(self, info: BundleInfo, listener: socket.socket) -> int:
        instance = new_instance(self._settings.host, listener.getsockname()[1])
        announce(instance, self._folder.running)
        listeners = [listener, *_also_on_ipv6(instance)]
        first_page = FirstPage(listeners, secrets.token_urlsafe(24), instance.run, self._names())
        first_page.start()
        try:
            self._say_where(instance)
            return self._serve(info, instance, listeners, first_page)
        finally:
            for one in [*first_page.hand_over(), *listeners]:
                one.close()
            withdraw(instance, self._folder.running)
            self._stop.finished.set()

    def _say_where(self, instance: Instance) -> None:
        wanted = self._settings.port
        if wanted in (0, instance.port):
            self._console.line(self._step(1, say("launcher.port_ours", url=instance.url)))
            return
        owner = ports.owner_of(wanted)[0] or say("launcher.owner_unknown")
        text = say("launcher.port_other", url=instance.url, wanted=wanted, port=instance.port, owner=owner)
        self._console.bad(self._step(1, text))

    def _names(self) -> tuple[str, ...]:
        """Names that other PCs may call this one by, where they may call at all."""
        return () if ports.is_loopback(self._settings.host) else ports.names_of_this_pc()

    def _serve(
        self, info: BundleInfo, instance: Instance, listeners: list[socket.socket], first_page: FirstPage
    ) -> int:
        spawned = _worker_ahead_of_time()
        if self._settings.browser:
            browser.open_page(instance.url)
        from oneclick.model.download import ModelDownload
        from oneclick.server.runtime import Runtime, ServerConfig

        settings = self._settings
        processor = cpu()
        runtime = Runtime(
            ServerConfig(
                context=settings.context,
                threads=default_threads(processor),
                api_key=settings.api_key,
                allow_origins=settings.allowed_origins,
                version=info.version,
                allow_hosts=first_page.hosts,
            ),
            self._status,
            spawned,
        )
        runtime.port = instance.port
        runtime.token = first_page.token
        runtime.downloads = downloads = ModelDownload(self._folder.root, self._status)
        server = threading.Thread(
            target=self._run_server, args=(runtime, instance, listeners, first_page), name="server", daemon=True
        )
        server.start()
        try:
            self._status.set("checking")
            levels = self._look_at_pc(info, processor)
            model = self._prepare_model(info, runtime)
            if model is not None:
                threads = self._threads(processor, model, levels[0])
                runtime.config = replace(runtime.config, threads=threads)
                self._console.line(self._step(4, say("launcher.engine", level=levels[0].name, threads=threads)))
                self._start_engine(runtime, model, levels[0])
                self._watch(runtime, instance, model, processor, levels)
            return self._exit_code()
        except OneClickError as error:
            # Page and window show the sentence until the user has read it and closes one of them.
            logger.error("cannot start: %s", error.both()[1])
            self._status.fail(error.key, **error.values)
            self._course.look()
            self._stop.wait()
            return 1
        finally:
            self._console.line(say("launcher.stopping"))
            self._stop.request()
            downloads.pause()
            server.join(SERVER_STOP_S)
            downloads.close(0.3)
            runtime.close()
            self._console.line(say("launcher.stopped"))

    def _run_server(
        self, runtime: Runtime, instance: Instance, listeners: list[socket.socket], first_page: FirstPage
    ) -> None:
        """In its own thread: import the HTTP server while the main thread looks at PC and model, and serve."""
        try:
            from oneclick.server.api.app import create_app
            from oneclick.server.http.serve import run_server

            app = TellRun(create_app(runtime), instance.run)
            run_server(app, listeners, self._stop.requested, runtime, first_page.hand_over)
        except BaseException as error:
            logger.exception("the server ended")
            self._server_failure = error
        finally:
            self._stop.request()

    def _exit_code(self) -> int:
        if self._server_failure is not None:
            raise OneClickError("launcher.unexpected", reason=repr(self._server_failure)) from self._server_failure
        return 0

    def _step(self, number: int, what: str) -> str:
        return say("launcher.step", number=number, total=4, what=what)

    def _look_at_pc(self, info: BundleInfo, processor: Cpu) -> tuple[EngineLevel, ...]:
        """Say what PC this is and what is wrong with it; return the engine's levels to try.

        Raises OneClickError where the processor cannot run the engine.
        """
        ram = memory()
        windows = windows_version()
        text = say(
            "launcher.pc",
            system=f"{windows.name} ({windows.build})" if windows else sys.platform,
            cpu=processor.name,
            cores=processor.physical_cores,
            memory=in_words(ram.total_bytes),
            available=in_words(ram.available_bytes),
        )
        self._console.line(self._step(2, text))
        self._warn(check_windows(windows))
        levels = levels_to_try(processor, info.engine)
        self._warn(check_cpu(processor, info.engine))
        for finding in check_folder(self._folder.root, disk(self._folder.root), LONGEST_PATH_INSIDE):
            self._warn(finding)
        failed_before = self._remembered.get("illegal_instruction", processor.name)
        return tuple(level for level in levels if level.name != failed_before) or levels

    def _warn(self, finding: Finding | None) -> None:
        if finding is not None and finding.severity != OK:
            logger.warning("%s", finding.both()[1])
            self._console.bad(say("launcher.note", what=finding))

    def _prepare_model(self, info: BundleInfo, runtime: Runtime) -> Model | None:
        """Find and check the model and fit the context to this PC; None when the user stopped before."""
        waiting = ModelWait(
            self._folder.root, info, self._wishes(), self._status, self._course, self._console, self._stop
        )
        model = waiting.wait()
        if model is None:
            return None
        self._warn(check_online_only(model.path))
        verdict = self._verify(model, info)
        if verdict is None:
            return None
        header = model.header
        text = say(
            "launcher.model",
            name=model.path.name,
            architecture=header.architecture,
            dtype=header.dtype,
            size=in_words(model.size_bytes),
            verdict=verdict,
        )
        self._console.line(self._step(3, text))
        plan = plan_memory(header, memory(), self._settings.context)
        self._warn(plan.finding)
        runtime.config = replace(runtime.config, context=plan.context)
        return model

    def _threads(self, processor: Cpu, model: Model, level: EngineLevel) -> int:
        """Return the number of threads: as set, one per core, or measured once and remembered."""
        threads = fixed_threads(self._settings.threads, processor)
        if threads is not None:
            return threads
        subject = f"{processor.name}, {level.name}, {model.header.dtype}, {model.header.hidden_size}"
        known = self._remembered.get("threads", subject)
        if isinstance(known, int):
            return known
        self._console.line(say("launcher.measuring_threads"))
        self._status.set("loading", 0.0)
        seconds = measure(
            model.path,
            self._folder.root / level.folder,
            self._dll_folders(),
            threads_to_try(processor),
            self._stop.requested.is_set,
        )
        if not seconds:
            return default_threads(processor)
        logger.info("seconds per token by threads: %s", seconds)
        self._remembered.put("threads", subject, best_threads(seconds))
        return best_threads(seconds)

    def _dll_folders(self) -> list[Path]:
        shared = self._folder.root / "app" / "engine" / "shared"
        return [shared] if shared.is_dir() else []

    def _start_engine(self, runtime: Runtime, model: Model, level: EngineLevel) -> None:
        try:
            runtime.start_model(model.path, self._folder.root / level.folder, self._dll_folders(), level=level.name)
        except OSError as error:
            raise OneClickError("launcher.engine_blocked", reason=error.strerror or str(error)) from error

    def _wishes(self) -> list[Wish]:
        wishes = (
            Wish("argument", self._asked.model or ""),
            Wish("environment", os.environ.get("MODEL", "")),
            Wish("settings", self._settings.model),
        )
        return [wish for wish in wishes if wish.name]

    def _verify(self, model: Model, info: BundleInfo) -> str | None:
        """Return the verdict about the model's digest in words, None when the user stopped meanwhile."""
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

    def _watch(
        self, runtime: Runtime, instance: Instance, model: Model, processor: Cpu, levels: tuple[EngineLevel, ...]
    ) -> None:
        """Show what happens until the user stops it."""
        was_ready = False
        while not self._stop.wait(LOOK_EVERY_S):
            snapshot = self._course.look()
            if snapshot.phase == "ready" and not was_ready:
                was_ready = True
                self._say_ready(instance, runtime)
                module_cache.save()
            elif snapshot.phase == "failed" and snapshot.message_key == ILLEGAL_INSTRUCTION and len(levels) > 1:
                self._remembered.put("illegal_instruction", processor.name, levels[0].name)
                levels = levels[1:]
                self._console.bad(say("launcher.lower_level", level=levels[0].name))
                self._start_engine(runtime, model, levels[0])

    def _say_ready(self, instance: Instance, runtime: Runtime) -> None:
        base = instance.url.rstrip("/")
        key = say("launcher.your_key" if self._settings.api_key else "launcher.any_key")
        text = say(
            "launcher.ready",
            seconds=f"{time.monotonic() - self._began:.1f}",
            url=instance.url,
            base=base,
            api_key=key,
            model=runtime.config.model_name,
            curl=EXAMPLE_CURL.format(
                base=base, key='-H "Authorization: Bearer YOUR_KEY" ' if self._settings.api_key else ""
            ),
        )
        self._console.good(text)


def _worker_ahead_of_time() -> Spawned | None:
    """Start the model's process while we look at PC and model: a second core is idle meanwhile."""
    try:
        return spawn()
    except OSError as error:
        logger.warning("no worker ahead of time: %s", error)
        return None  # The model's own start will fail the same way, and says so.


def _also_on_ipv6(instance: Instance) -> list[socket.socket]:
    """Return a socket on ``[::1]`` with the same port: some programs take ``localhost`` for it and nothing else."""
    if instance.host == "127.0.0.1":
        with suppress(OSError):
            return [ports.listen("::1", instance.port)]
    return []
