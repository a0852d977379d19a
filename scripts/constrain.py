"""Keeps ``[tool.uv] constraint-dependencies`` equal to the versions of requirements.txt.

``uv.lock`` names download hosts and is not committed; with these constraints ``uv run`` resolves to
the locked versions all the same.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYPROJECT = ROOT / "pyproject.toml"
BLOCK = re.compile(r"constraint-dependencies = \[\n.*?\]\n", re.DOTALL)
PIN = re.compile(r"^([A-Za-z0-9._-]+==[^ ;\\]+)", re.MULTILINE)


def block() -> str:
    """The setting as it should be."""
    pins = PIN.findall((ROOT / "requirements.txt").read_text())
    lines = "".join(f'  "{pin}",\n' for pin in pins)
    return f"constraint-dependencies = [\n{lines}]\n"


def main() -> None:
    text = PYPROJECT.read_text()
    if "--check" in sys.argv:
        if block() not in text:
            sys.exit("pyproject.toml and requirements.txt differ: run scripts/lock")
        return
    wanted = "constraint-dependencies = [\n]\n" if "--clear" in sys.argv else block()
    PYPROJECT.write_text(BLOCK.sub(lambda _match: wanted, text))


if __name__ == "__main__":
    main()
