"""The `me5` command, also as `python -m me5`: what has to be settled before its modules are imported."""

import os
import signal
import sys


def main() -> None:
    """Run the command line: quiet on Ctrl-C from the start, and in UTF-8 where the locale knows ASCII only."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Imports, 0.15 s, have nothing to clean up, and would end in a traceback; `cli` hears Ctrl-C by itself.
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    if sys.getfilesystemencoding() == "ascii" and not sys.flags.utf8_mode and sys.executable:
        # As Python does by itself under LC_ALL=C, unless PYTHONUTF8=0 forbids it: arguments were read as ASCII.
        os.environ["PYTHONUTF8"] = "1"  # for the processes that this one starts
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    from me5.cli import main as run

    run()


if __name__ == "__main__":
    main()
