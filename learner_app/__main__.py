"""Run the ``learner`` command as ``python -m learner_app``."""

from learner_app.cli import main

if __name__ == "__main__":
    main()
