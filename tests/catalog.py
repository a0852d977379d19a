"""Reads from a PostgreSQL catalog all that a table is, for tests to compare."""

from typing import Any

import asyncpg

COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
       NOT a.attnotnull AS nullable, pg_get_expr(d.adbin, d.adrelid) AS default
FROM pg_attribute a
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
# contype n: newer servers list NOT NULL as constraints
CONSTRAINTS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = $1::regclass AND contype IN ('p', 'u', 'f', 'c', 'x')
"""
INDEXES = """
SELECT c.relname, pg_get_indexdef(i.indexrelid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = $1::regclass
"""
COMMENTS = """
SELECT a.attname, col_description(a.attrelid, a.attnum) FROM pg_attribute a
WHERE a.attrelid = $1::regclass AND col_description(a.attrelid, a.attnum) IS NOT NULL
"""
STORAGE = """
SELECT attname, attstorage::text FROM pg_attribute JOIN pg_type t ON t.oid = atttypid
WHERE attrelid = $1::regclass AND attstorage <> typstorage AND attnum > 0 AND NOT attisdropped
"""
GENERATED = """
SELECT attname, attgenerated FROM pg_attribute
WHERE attrelid = $1::regclass AND attgenerated <> '' AND NOT attisdropped
"""
TRIGGERS = """
SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger
WHERE tgrelid = $1::regclass AND NOT tgisinternal
"""
POLICIES = """
SELECT polname, concat_ws(' | ', polcmd, polpermissive, polroles::regrole[],
       pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
FROM pg_policy WHERE polrelid = $1::regclass
"""
SECURITY = "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = $1::regclass"
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"
FUNCTIONS = """
SELECT proname::text, md5(pg_get_functiondef(oid)) FROM pg_proc
WHERE pronamespace = quote_ident(current_schema())::regnamespace ORDER BY 1
"""


async def read_table(connection: asyncpg.Connection, table: str) -> dict[str, Any]:
    """Columns in order, then every named thing with its definition as the server prints it."""
    quoted = f'"{table}"'

    async def pairs(query: str) -> dict[str, str]:
        return {row[0]: row[1] for row in await connection.fetch(query, quoted)}

    return {
        "columns": [dict(row) for row in await connection.fetch(COLUMNS, quoted)],
        "constraints": await pairs(CONSTRAINTS),
        "indexes": await pairs(INDEXES),
        "comments": await pairs(COMMENTS),
        "storage": await pairs(STORAGE),
        "generated": await pairs(GENERATED),
        "triggers": await pairs(TRIGGERS),
        "policies": await pairs(POLICIES),
        "row_level_security": tuple(await connection.fetchrow(SECURITY, quoted)),
    }


async def read_schema(connection: asyncpg.Connection) -> dict[str, Any]:
    """Every table of the current schema, and its functions."""
    tables = [row[0] for row in await connection.fetch(TABLES)]
    functions = {row[0]: row[1] for row in await connection.fetch(FUNCTIONS)}
    return {"functions": functions} | {
        table: await read_table(connection, table) for table in tables
    }
