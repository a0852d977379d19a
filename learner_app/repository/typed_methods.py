"""Generator of typed declarations of list(), page(), count() and similar methods.

    python -m learner_app.repository.typed_methods [--check] MODULE ...

The methods are implemented once, in the base classes, and accept any filters at run time. Type
checkers do not support ``Unpack`` of a type parameter, so this command declares the methods in each
repository with its own filters and orders. It writes the declarations between two comment lines,
which must be in the class body:

    # typed methods: written by `python -m learner_app.repository.typed_methods`
    # end of typed methods

MODULE is a module or a package with all its modules. With ``--check`` nothing is written, and the
exit status is 1 if a declaration is out of date.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import importlib
import importlib.util
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, get_args

from learner_app.repository.base import (
    DeletingRepository,
    ReadOnlyRepository,
    Repository,
)
from learner_app.repository.bulk import DEFAULT_BATCH
from learner_app.repository.paging import DEFAULT_LIMIT

BEGIN = "# typed methods: written by `python -m learner_app.repository.typed_methods`"
END = "# end of typed methods"

IMPORTS = {
    "AsyncGenerator": "collections.abc",
    **dict.fromkeys(["Any", "Literal", "TYPE_CHECKING", "Unpack", "overload"], "typing"),
    **dict.fromkeys(["Page", "Total"], "learner_app.repository.paging"),
}
"""Modules of the names in declarations, except the row, inputs and filters of the repository."""

LINE_LENGTH = 100
INDENT = 4 * " "


def declarations(repository: type[ReadOnlyRepository[Any, Any]]) -> dict[str, list[str]]:
    """Return the declarations by method, except methods that the repository implements itself."""
    row = repository.row.__name__
    filters = f"**filters: Unpack[{repository.filters.typed.__name__}]"
    order = _order_parameter(repository)
    limit = f"limit: int = {DEFAULT_LIMIT}"
    cursor = ["after: str | None = None", "total: Total | None = None"]
    bulk = ["*", "all_rows: bool = False", f"batch: int = {DEFAULT_BATCH}", filters]
    key = f"key: {_key_annotation(repository)}"
    methods = {
        "list": [_method("list", ["*", limit, *order, filters], f"builtins.list[{row}]")],
        "page": [_method("page", ["*", limit, *cursor, *order, filters], f"Page[{row}]")],
        "stream": [_stream([*order, filters], row)],
        "count": [_method("count", [filters], "int")],
        "exists": [
            _method("exists", [key], "bool", "@overload"),
            _method("exists", [filters], "bool", "@overload"),
            _method("exists", ["*args: Any", "**kwargs: Any"], "bool"),
        ],
    }
    if issubclass(repository, Repository):
        changes = f"changes: {repository.update_type.__name__}"
        methods["update_where"] = [_method("update_where", [changes, *bulk], "int")]
    if issubclass(repository, DeletingRepository):
        methods["delete_where"] = [_method("delete_where", bulk, "int")]
    return {name: text for name, text in methods.items() if name not in vars(repository)}


def _order_parameter(repository: type[ReadOnlyRepository[Any, Any]]) -> list[str]:
    names = [f'"{name}"' for name in repository.orders]
    return [f"order: Literal[{', '.join(names)}] = {names[0]}"] if len(names) > 1 else []


def _key_annotation(repository: type[ReadOnlyRepository[Any, Any]]) -> str:
    """Return the annotation of the key, the second type parameter of the base class."""
    for base in repository.__mro__:
        for generic in vars(base).get("__orig_bases__", ()):
            if len(parameters := get_args(generic)) > 1:
                return _annotation(parameters[1])
    raise TypeError(f"{repository.__name__} has no type parameters")


def _annotation(kind: Any) -> str:
    if isinstance(kind, UnionType):
        return " | ".join(map(_annotation, get_args(kind)))
    return "None" if kind is NoneType else str(kind.__name__)


def _stream(parameters: list[str], row: str) -> str:
    star = ["*"] if len(parameters) > 1 else []
    text = _method("stream", [*star, *parameters], f"AsyncGenerator[{row}, None]")
    return text.removeprefix("async ")


def _method(name: str, parameters: list[str], result: str, decorator: str = "") -> str:
    """Return a declaration in the layout of ruff format."""
    head = f"{decorator}\n" if decorator else ""
    line = f"async def {name}({', '.join(['self', *parameters])}) -> {result}: ..."
    if len(line) <= LINE_LENGTH - len(2 * INDENT):
        return head + line
    lines = "".join(f"{INDENT}{one},\n" for one in ["self", *parameters])
    return f"{head}async def {name}(\n{lines}) -> {result}: ..."


def block(repository: type[ReadOnlyRepository[Any, Any]]) -> str:
    """Return the lines between the two comments, indented for the body of the class."""
    methods = [text for texts in declarations(repository).values() for text in texts]
    body = textwrap.indent("\n\n".join(methods), INDENT)
    return textwrap.indent(f"if TYPE_CHECKING:\n\n{body}\n", INDENT)


def rewritten(source: str, module: ModuleType) -> str:
    """Return the source of a module with current declarations in all marked classes.

    Raises:
        SystemExit: a declaration needs a name that the module does not import, or the second
            comment line is missing.
    """
    lines = source.splitlines(keepends=True)
    for name, begin, end in reversed(list(_marked_classes(source))):
        repository = getattr(module, name)
        _require_imports(repository, module)
        if block_is_current(lines[begin + 1 : end], repository):
            continue
        lines[begin + 1 : end] = block(repository).splitlines(keepends=True)
    return "".join(lines)


def block_is_current(lines: Sequence[str], repository: type[ReadOnlyRepository[Any, Any]]) -> bool:
    """Return whether the lines are the current declarations, in any layout."""
    try:
        declared = ast.parse(textwrap.dedent("".join(lines)))
    except SyntaxError:
        return False
    return ast.dump(declared) == ast.dump(ast.parse(textwrap.dedent(block(repository))))


def _marked_classes(source: str) -> Iterator[tuple[str, int, int]]:
    """Yield the name of each marked class and the indexes of its two comment lines."""
    lines = source.splitlines()
    stripped = [line.strip() for line in lines]
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    for begin, line in enumerate(lines):
        if stripped[begin] != BEGIN:
            continue
        # Classes are found by indentation, as the parser omits comments at the end of a class body.
        indent = line.index(BEGIN)
        outer = [one for one in classes if one.lineno <= begin and one.col_offset < indent]
        if outer:
            name = max(outer, key=lambda one: one.lineno).name
            marks = (at for at in range(begin + 1, len(lines)) if stripped[at] in {BEGIN, END})
            end = next(marks, begin)
            if stripped[end] != END:
                sys.exit(f"{name}: add the line {END!r} after the typed methods")
            yield name, begin, end


def _require_imports(repository: type[ReadOnlyRepository[Any, Any]], module: ModuleType) -> None:
    tree = ast.parse(block(repository).strip())
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    known = vars(module).keys() | vars(builtins).keys()
    lines = [
        f"from {IMPORTS[name]} import {name}" if name in IMPORTS else f"import {name}"
        for name in sorted(used - known)
    ]
    if lines:
        sys.exit("\n".join([f"{module.__name__} needs these imports:", *lines]))


def modules(names: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Yield path and dotted name of the modules, and of the marked modules in the packages."""
    for name in names:
        spec = None
        with suppress(ModuleNotFoundError):  # the parent package does not exist
            spec = importlib.util.find_spec(name)
        if spec is None:
            sys.exit(f"there is no module {name}: name an importable module or package")
        folders = spec.submodule_search_locations
        if folders is None and spec.origin:
            yield Path(spec.origin), name
        for folder in folders or ():
            for path in sorted(Path(folder).rglob("*.py")):
                if BEGIN in (line.strip() for line in path.read_text().splitlines()):
                    parts = path.relative_to(folder).with_suffix("").parts
                    yield path, ".".join([name, *parts]).removesuffix(".__init__")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the declarations and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("modules", nargs="+", help="modules, or packages with all their modules")
    parser.add_argument(
        "--check", action="store_true", help="only report outdated declarations, with exit status 1"
    )
    options = parser.parse_args(arguments)
    sys.path.insert(0, "")
    outdated = []
    for path, name in modules(options.modules):
        source = path.read_text()
        if (new := rewritten(source, importlib.import_module(name))) != source:
            outdated.append(name)
            if not options.check:
                path.write_text(new)
    state = "outdated, run without --check" if options.check else "written"
    for name in outdated:
        print(f"{name}: typed methods {state}")
    return int(options.check and bool(outdated))


if __name__ == "__main__":
    sys.exit(main())
