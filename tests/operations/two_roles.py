"""A database with an owner role and an application role, and ways to connect as either."""

import os
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg

from learner_app.conf import DB
from learner_app.database.dsn import DatabaseUrl
from learner_app.operations.embedded import SUPERUSER
from learner_app.operations.migrate import apply_migrations
from learner_app.operations.role_script import Roles
from learner_app.operations.roles import RolesReport, set_up_roles
from learner_app.settings import Settings
from learner_app.testing.servers import OwnServer

_numbers = count(1)
_TENANTS = """
INSERT INTO users (id, email, hashed_password) VALUES
  ('00000000-0000-4000-8000-00000000000a', 'a@example.com', 'x'),
  ('00000000-0000-4000-8000-00000000000b', 'b@example.com', 'x');
INSERT INTO tenants (id, name, slug) VALUES
  ('00000000-0000-4000-8000-000000000001', 'One', 'one'),
  ('00000000-0000-4000-8000-000000000002', 'Two', 'two');
INSERT INTO tenant_members (tenant_id, user_id, role) VALUES
  ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-00000000000a', 'owner'),
  ('00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-00000000000b', 'owner');
"""
PRIVILEGES = """
    SELECT relname::text, pg_get_userbyid(relowner)::text, relacl::text FROM pg_class
    WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'S', 'v')
    UNION ALL SELECT proname, pg_get_userbyid(proowner), proacl::text FROM pg_proc
    WHERE pronamespace = $1::regnamespace
    UNION ALL SELECT nspname, pg_get_userbyid(nspowner), nspacl::text FROM pg_namespace
    WHERE oid = $1::regnamespace
    UNION ALL SELECT datname, pg_get_userbyid(datdba), datacl::text FROM pg_database
    WHERE datname = current_database()
    UNION ALL SELECT defaclobjtype::text, pg_get_userbyid(defaclrole), defaclacl::text
    FROM pg_default_acl
    ORDER BY 1, 2, 3
"""


class TwoRoles:
    """Names of two roles and a database on a server, and connections to them."""

    def __init__(self, server: OwnServer) -> None:
        number = f"{os.getpid()}_{next(_numbers)}"
        self.server = server
        self.roles = Roles(f"learner_test_{number}", f"owner_{number}", f"app_{number}")
        self._databases = {self.roles.database}

    @property
    def administrator(self) -> DatabaseUrl:
        """The superuser of the server."""
        return self.server._admin

    @property
    def socket(self) -> str:
        return self.administrator.hosts[0]

    @property
    def programs(self) -> Path:
        """Folder of the client programs that belong to the server."""
        return Path(self.server.server._programs) / "bin"

    def url(self, user: str, database: str | None = None) -> str:
        return self.server.server.url(database or self.roles.database, user)

    @property
    def app_url(self) -> str:
        return self.url(self.roles.application)

    @property
    def owner_url(self) -> str:
        return self.url(self.roles.owner)

    @property
    def environment(self) -> dict[str, str]:
        """Settings of a program that uses both roles."""
        return {"DATABASE_URL": self.app_url, "DB_OWNER_USER": self.roles.owner}

    async def set_up(self, roles: Roles | None = None, **options: Any) -> RolesReport:
        """Run what `learner roles` runs."""
        administrator = options.pop("administrator", self.administrator)
        self._databases.add((roles or self.roles).database)
        return await set_up_roles(administrator, Settings(), roles or self.roles, **options)

    async def execute(self, sql: str, user: str = SUPERUSER, database: str | None = None) -> None:
        connection = await asyncpg.connect(self.url(user, database))
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def fetch(
        self, sql: str, *args: Any, user: str = SUPERUSER, database: str | None = None
    ) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self.url(user, database))
        try:
            return [tuple(row) for row in await connection.fetch(sql, *args)]
        finally:
            await connection.close()

    async def create_single_role(self) -> None:
        """Create the database of an earlier version, in which one role owns everything."""
        app, database = self.roles.application, self.roles.database
        await self.execute(f'CREATE ROLE "{app}" LOGIN', database=SUPERUSER)
        await self.execute(f'CREATE DATABASE "{database}" OWNER "{app}"', database=SUPERUSER)
        DB.url = self.app_url
        async with DB.running():
            await apply_migrations(DB)
        DB.url = None

    async def migrate(self) -> None:
        DB.url, DB.owner_url = self.app_url, self.owner_url
        try:
            async with DB.running():
                await apply_migrations(DB)
        finally:
            DB.url = DB.owner_url = None

    async def add_tenants(self) -> None:
        """Add two tenants with a member each."""
        await self.execute(_TENANTS)

    async def remove(self) -> None:
        for database in self._databases:
            name = database.replace('"', '""')
            drop = f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'
            await self.execute(drop, database=SUPERUSER)
        for role in (self.roles.application, self.roles.owner):
            quoted = role.replace('"', '""')
            exists = "SELECT true FROM pg_roles WHERE rolname = $1"
            if await self.fetch(exists, role, database=SUPERUSER):
                await self.execute(f'DROP OWNED BY "{quoted}"', database=SUPERUSER)
                await self.execute(f'DROP ROLE "{quoted}"', database=SUPERUSER)


def renamed(roles: Roles, **names: str) -> Roles:
    return replace(roles, **names)


def program_environment(**settings: str) -> Mapping[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **settings}
