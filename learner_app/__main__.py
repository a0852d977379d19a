"""Entry point of the ``learner`` command and of ``python -m learner_app``.

It imports the command itself, which takes a moment, only after it has prepared for Ctrl-C.
"""

import os
import signal
import sys

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of a shell: 128 and the number of the signal."""


def main() -> None:
    """Run the command. Ctrl-C ends it with exit code 130 and no traceback at any time."""
    try:
        ignores_interrupts = signal.getsignal(signal.SIGINT) != signal.default_int_handler
        if not ignores_interrupts:  # an exception during an import may be replaced by another one
            signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
        from learner_app.cli import main as run

        if not ignores_interrupts:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
