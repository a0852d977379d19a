"""Entry point of the ``learner`` command and of ``python -m learner_app``.

It handles Ctrl-C before it imports the command, because that import takes some time.
"""

import gc
import os
import signal
import sys

INTERRUPTED = 130
"""Exit code of a shell after Ctrl-C: 128 plus the number of SIGINT."""


def main() -> None:
    """Run the command.

    Ctrl-C ends it at any time with exit code 130 and without a traceback.
    """
    try:
        ignores_interrupts = signal.getsignal(signal.SIGINT) != signal.default_int_handler
        if not ignores_interrupts:
            # A KeyboardInterrupt during an import could be replaced by another exception.
            signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
        gc.disable()  # saves 5 % of the imports, whose objects live as long as the process
        from learner_app.cli import main as run

        gc.enable()
        if not ignores_interrupts:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
