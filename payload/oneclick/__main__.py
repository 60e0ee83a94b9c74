"""What the .bat files start: ``python -m oneclick [download|doctor|update] [options]``."""

from __future__ import annotations

import sys

from oneclick import module_cache

# An update replaces the files that such a cache stands for; a doctor must not be what it examines.
if sys.argv[1:2] not in (["update"], ["doctor"]):
    # Before anything else is imported.
    module_cache.install(next((name for name in sys.argv[1:2] if name.isidentifier()), "launcher"))

import logging

from oneclick import console, messages
from oneclick.errors import OneClickError
from oneclick.folder import BundleFolder
from oneclick.logs import start_logging
from oneclick.settings import read_settings


def main(arguments: list[str]) -> int:
    """Run the sub-command in ``arguments``; return 0, or 1 when the user has to do something first."""
    folder = BundleFolder.of_this_program()
    messages.set_language(read_settings(folder.settings).language)
    console.prepare(messages.say("launcher.title"))
    start_logging(folder.logs)
    window = console.Console()
    try:
        return _run(folder, arguments, window)
    except OneClickError as error:
        logging.getLogger("oneclick").error("stopped: %s", error.both()[1])
        window.bad(str(error))
    except KeyboardInterrupt:
        window.line(messages.say("launcher.stopped"))
        return 0
    except Exception as error:
        logging.getLogger("oneclick").exception("stopped by a bug")
        window.bad(messages.say("launcher.unexpected", reason=f"{type(error).__name__}: {error}"))
    finally:
        module_cache.save()
    return 1


def _run(folder: BundleFolder, arguments: list[str], window: console.Console) -> int:
    if arguments[:1] == ["download"]:
        from oneclick.doors.download import run_download_command

        return run_download_command(folder.root, arguments[1:])
    if arguments[:1] == ["doctor"]:
        from oneclick.doors.doctor import run_doctor

        return run_doctor(folder, window)
    if arguments[:1] == ["update"]:
        from oneclick.update.apply import run_update

        return run_update(folder, arguments[1:], window)
    if "--check-update" in arguments:
        from oneclick.doors.check_update import run_check_update

        return run_check_update(folder, window)
    from oneclick.doors.run import Launcher

    return Launcher(folder, arguments, window).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
