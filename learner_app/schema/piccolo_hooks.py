"""Changes in Piccolo that its tables and its command line need; :func:`install` makes them.

Piccolo knows one engine for each process: the ``DB`` of ``piccolo_conf.py``. :func:`use_engine`
replaces it for a block by a context variable. Tasks that the block starts inherit the variable, and
so do threads of ``asyncio.to_thread``, ``anyio.to_thread`` and Starlette, streaming responses and
background tasks. A thread of a plain ``ThreadPoolExecutor`` does not inherit it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

from piccolo.conf.apps import AppConfig, AppRegistry, Command, Finder, PiccoloConfModule
from piccolo.engine import engine_finder
from piccolo.engine.base import Engine
from piccolo.table import TableMeta

from learner_app.errors import SettingsError
from learner_app.settings import piccolo_conf_module

DATABASE_COMMANDS = {"migrations", "user", "fixtures", "sql_shell"}
"""Groups of Piccolo's commands that need a database."""


class _Route(NamedTuple):
    configured: Engine[Any]
    used: Engine[Any]


_route: ContextVar[_Route | None] = ContextVar("piccolo_engine", default=None)
_piccolo_table_engine = cast("property", TableMeta.__dict__["db"])
_piccolo_get_engine = Finder.get_engine
_piccolo_get_conf_module = Finder.get_piccolo_conf_module
_piccolo_get_commands = AppConfig.get_commands


@runtime_checkable
class CommandEngine(Protocol):
    """Engine that can be configured for a command of Piccolo."""

    def prepare_for_command(
        self, *, exits_without_database: bool, connects_as_owner: bool
    ) -> None: ...


def install() -> None:
    """Change four attributes of Piccolo's classes.

    A second call has no effect.

    ``TableMeta.db``
        A table of the configured engine uses the engine of :func:`use_engine` inside its block.
    ``Finder.get_engine``
        ``engine_finder()`` returns the same engine, for Piccolo's migration managers.
    ``Finder.get_piccolo_conf_module``
        A project without a ``piccolo_conf.py`` uses the configuration of the package.
    ``AppConfig.get_commands``
        Only the main function of ``piccolo`` asks the registered apps for their commands. At that
        moment the process is known to be a command, so the engine is prepared for it.
    """
    TableMeta.db = property(_table_engine, _piccolo_table_engine.fset)  # type: ignore[assignment]  # a property as well
    Finder.get_engine = _get_engine  # type: ignore[method-assign, assignment]  # replaced on purpose
    Finder.get_piccolo_conf_module = _get_conf_module  # type: ignore[method-assign, assignment]  # the same
    AppConfig.get_commands = _get_commands  # type: ignore[method-assign, assignment]  # the same


@contextmanager
def use_engine(engine: Engine[Any]) -> Iterator[None]:
    """Run Piccolo's queries on the engine inside the block, instead of on the configured engine.

    Repositories that were built without an engine follow. Tables that name a third engine
    (``class Book(Table, db=third)``) keep it. Blocks of different engines may be nested, and may
    run concurrently in different tasks.
    """
    outer = _route.get()
    configured = outer.configured if outer else current_engine()
    token = _route.set(_Route(configured, engine))
    try:
        yield
    finally:
        _route.reset(token)


def current_engine() -> Engine[Any]:
    """Return the engine of the surrounding :func:`use_engine`, or the configured engine.

    Raises:
        ModuleNotFoundError: the configuration module does not exist or defines no ``DB``.
    """
    engine = engine_finder()
    if engine is None:
        raise ModuleNotFoundError(
            "piccolo_conf.py defines no engine: add `from learner_app.conf import DB`"
        )
    return engine


def require_app_registry() -> None:
    """Raise SettingsError if the configuration module lists no apps.

    Piccolo would raise an AttributeError that names neither the reason nor the remedy.
    """
    module = Finder().get_piccolo_conf_module()
    if not isinstance(getattr(module, "APP_REGISTRY", None), AppRegistry):
        name = getattr(module, "__name__", "piccolo_conf")
        raise SettingsError(
            f"{name} defines no APP_REGISTRY: "
            "add `from learner_app.conf import APP_REGISTRY, DB`, or a registry of your own"
        )


def configured_engine() -> Engine[Any]:
    """Return the engine of ``piccolo_conf.py``, also inside :func:`use_engine`."""
    route = _route.get()
    return route.configured if route else current_engine()


def _table_engine(meta: TableMeta) -> Engine[Any]:
    """Return the engine of a table.

    Inside a block, Piccolo's own property is not called, because it caches the engine permanently.
    """
    route = _route.get()
    named = meta._db
    if route is None:
        engine: Engine[Any] = named or _piccolo_table_engine.__get__(meta)
        return engine
    return route.used if named is None or named is route.configured else named


def _get_engine(finder: Finder, module_name: str | None = None) -> Engine[Any] | None:
    route = _route.get()
    if route is not None and module_name is None:
        return route.used
    return _piccolo_get_engine(finder, module_name)


def _get_conf_module(finder: Finder, module_name: str | None = None) -> PiccoloConfModule | None:
    return _piccolo_get_conf_module(finder, module_name or piccolo_conf_module())


def _get_commands(config: AppConfig) -> list[Command]:
    """Return the commands of an app, after preparing the engine for the command that runs.

    A command sends few statements, each on a connection of its own. Piccolo answers an
    exception of a command with a page of help. Where the command needs a database, the engine
    therefore ends the program with one line. Migrations run as the owner role.
    """
    engine = current_engine()
    if isinstance(engine, CommandEngine):
        arguments = sys.argv[1:]
        engine.prepare_for_command(
            exits_without_database=not DATABASE_COMMANDS.isdisjoint(arguments),
            connects_as_owner="migrations" in arguments,
        )
    return _piccolo_get_commands(config)
