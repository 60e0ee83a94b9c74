"""The double-click: port, PC, model, server, browser, in this order, until the user stops it."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

from oneclick import browser, ports
from oneclick.arguments import parse_arguments
from oneclick.bundle_info import BundleInfo, EngineLevel, read_bundle_info
from oneclick.console import Console
from oneclick.course import Course, in_gib
from oneclick.errors import OneClickError
from oneclick.folder import BundleFolder
from oneclick.instance import Instance, TellRun, announce, new_instance, running, withdraw
from oneclick.machine import Cpu, Memory, cpu, memory, windows_version
from oneclick.messages import say
from oneclick.model_choice import Model, Refused, Wish, catalogue_entry, choose_model, claims_to_be_known
from oneclick.remembered import Remembered
from oneclick.settings import Settings, explicit, read_settings
from oneclick.status import Status
from oneclick.stopping import StopSignal

if TYPE_CHECKING:
    from oneclick.server.runtime import Runtime

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.1
FOLDER_LOOK_EVERY_S = 1.0
STARTING_TWIN_S = 3.0
"""Two double-clicks at once: how long the slower one waits for the other to say where it serves."""
SERVER_STOP_S = 4.0
"""How long answers in flight may take to end; Windows kills us 5 s after the window was closed."""
EXAMPLE_CURL = (
    'curl {base}/v1/chat/completions -H "Content-Type: application/json" '
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
        twin = running(self._folder.running)
        if twin is None:
            try:
                return self._start(info)
            except ports.PortTaken:
                twin = running(self._folder.running, wait_s=STARTING_TWIN_S)
                if twin is None:
                    raise
        return self._show_twin(twin)

    def _show_twin(self, twin: Instance) -> int:
        if self._settings.browser:
            browser.open_page(twin.url)
        self._console.good(say("launcher.already_running", url=twin.url))
        return 0

    def _start(self, info: BundleInfo) -> int:
        settings = self._settings
        if not ports.is_loopback(settings.host) and not settings.api_key:
            raise OneClickError("launcher.key_needed", host=settings.host)
        listener = ports.take_port(settings.host, settings.port, fixed=settings.port_is_fixed)
        instance = new_instance(settings.host, listener.getsockname()[1])
        announce(instance, self._folder.running)
        try:
            self._say_where(instance)
            return self._serve(info, instance, listener)
        finally:
            listener.close()
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

    def _serve(self, info: BundleInfo, instance: Instance, listener: socket.socket) -> int:
        from oneclick.server.runtime import Runtime, ServerConfig

        settings = self._settings
        processor = cpu()
        threads = settings.threads if isinstance(settings.threads, int) else processor.physical_cores
        runtime = Runtime(
            ServerConfig(
                context=settings.context,
                threads=threads,
                api_key=settings.api_key,
                allow_origins=settings.allowed_origins,
            ),
            self._status,
        )
        runtime.port = instance.port
        server = threading.Thread(
            target=self._run_server, args=(runtime, instance, listener), name="server", daemon=True
        )
        server.start()
        if settings.browser:
            browser.open_page(instance.url)
        try:
            self._status.set("checking")
            self._say_pc(processor, memory())
            if self._prepare_model(info, runtime, processor):
                self._watch(info, runtime, processor, instance)
            return self._exit_code()
        finally:
            self._console.line(say("launcher.stopping"))
            self._stop.request()
            server.join(SERVER_STOP_S)
            runtime.close()
            self._console.line(say("launcher.stopped"))

    def _run_server(self, runtime: Runtime, instance: Instance, listener: socket.socket) -> None:
        """In its own thread: import the HTTP server while the main thread looks at PC and model, and serve."""
        try:
            from oneclick.server.app import create_app
            from oneclick.server.serve import run_server

            app = TellRun(create_app(runtime), instance.run)
            run_server(app, [listener], self._stop.requested, runtime)
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

    def _say_pc(self, processor: Cpu, ram: Memory) -> None:
        windows = windows_version()
        text = say(
            "launcher.pc",
            system=f"{windows.name} ({windows.build})" if windows else os.name,
            cpu=processor.name,
            cores=processor.physical_cores,
            memory=in_gib(ram.total_bytes),
            available=in_gib(ram.available_bytes),
        )
        self._console.line(self._step(2, text))

    def _prepare_model(self, info: BundleInfo, runtime: Runtime, processor: Cpu) -> bool:
        """Find, check and start the model; False when the user stopped before."""
        model = self._wait_for_model(info)
        if model is None:
            return False
        verdict = self._verify(model, info)
        if verdict is None:
            return False
        header = model.header
        text = say(
            "launcher.model",
            name=model.path.name,
            architecture=header.architecture,
            dtype=header.dtype,
            size=in_gib(model.size_bytes),
            verdict=verdict,
        )
        self._console.line(self._step(3, text))
        level = self._levels(info, processor)[0]
        runtime.start_model(model.path, *self._engine_folders(level), level=level.name)
        return True

    def _levels(self, info: BundleInfo, processor: Cpu) -> tuple[EngineLevel, ...]:
        return info.engine.usable_levels(processor.features) or info.engine.levels[-1:]

    def _engine_folders(self, level: EngineLevel) -> tuple[Path, list[Path]]:
        shared = self._folder.root / "app" / "engine" / "shared"
        return self._folder.root / level.folder, [shared] if shared.is_dir() else []

    def _wishes(self) -> list[Wish]:
        wishes = (
            Wish("argument", self._asked.model or ""),
            Wish("environment", os.environ.get("MODEL", "")),
            Wish("settings", self._settings.model),
        )
        return [wish for wish in wishes if wish.name]

    def _wait_for_model(self, info: BundleInfo) -> Model | None:
        told: list[tuple[Path, str]] = []
        while True:
            model, refused = choose_model(self._folder.root, info, self._wishes())
            self._tell_refused(refused, told)
            if model is not None:
                return model
            if self._status.get().phase == "checking":
                default = info.model(info.default_model)
                name = default.file_name if default else "chatglm3-ggml.bin"
                self._console.bad(self._step(3, say("launcher.no_model", name=name, folder=self._folder.root)))
                self._status.set("no_model")
            if self._stop.wait(FOLDER_LOOK_EVERY_S):
                return None
            self._course.look()

    def _tell_refused(self, refused: Sequence[Refused], told: list[tuple[Path, str]]) -> None:
        for one in refused:
            if (one.path, one.error.key) not in told:
                told.append((one.path, one.error.key))
                self._console.bad(say("launcher.model_refused", name=one.path.name, reason=one.error))

    def _verify(self, model: Model, info: BundleInfo) -> str | None:
        """Return the verdict about the model's digest in words, None when the user stopped meanwhile."""
        from oneclick.model_file import DigestMemory, digest_of

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

    def _watch(self, info: BundleInfo, runtime: Runtime, processor: Cpu, instance: Instance) -> None:
        """Show what happens until the user stops it."""
        was_ready = False
        while not self._stop.wait(LOOK_EVERY_S):
            snapshot = self._course.look()
            if snapshot.phase == "ready" and not was_ready:
                was_ready = True
                self._say_ready(instance, runtime)

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
            curl=EXAMPLE_CURL.format(base=base),
        )
        self._console.good(text)
