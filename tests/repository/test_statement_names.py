"""Names of the hand-written statements, which observers of the engine receive."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

from learner_app.database.sql_inspection import is_read
from learner_app.repository.base import ReadOnlyRepository
from learner_app.repository.sql import Statement

DOMAINS = ("accounts", "content", "generation", "learner", "listening", "tenancy")


WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE|SHARE|advisory|CREATE|TRUNCATE)", re.IGNORECASE)


def module_values() -> Iterator[object]:
    for domain in DOMAINS:
        package = importlib.import_module(f"learner_app.{domain}")
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            yield from vars(importlib.import_module(info.name)).values()


def test_statements_that_write_and_lock_nothing_are_repeated_after_a_lost_connection():
    statements = [value for value in module_values() if isinstance(value, Statement)]
    reads = [statement for statement in statements if not WRITES.search(statement.sql)]
    assert len(reads) > 10
    assert [statement.name for statement in reads if not is_read(statement.sql)] == []


def test_statement_names_are_unique_and_consist_of_table_and_operation():
    sql_of: dict[str, set[str]] = {}
    tables = set()
    for value in module_values():
        if isinstance(value, Statement):
            sql_of.setdefault(value.name, set()).add(value.sql)
        if isinstance(value, type) and issubclass(value, ReadOnlyRepository):
            tables |= {value.table._meta.tablename} if hasattr(value, "table") else set()
    assert len(sql_of) > 50
    assert {name for name, texts in sql_of.items() if len(texts) > 1} == set()
    for name in sql_of:
        table, _, operation = name.partition(".")
        assert table in tables, name
        assert re.fullmatch(r"[a-z][a-z_]*", operation), name
