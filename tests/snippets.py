"""Python snippets of the documentation."""

import ast
import re
from pathlib import Path
from typing import Any


def snippets(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


async def run(code: str, names: dict[str, Any]) -> None:
    compiled = compile(code, "snippet", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, names)  # noqa: S307  # our own pages
    if result is not None:
        await result
