"""Piccolo's ``migrations`` commands on the migration runner of this package."""

from datetime import datetime
from pathlib import Path

import jinja2
from piccolo.apps.migrations.commands import backwards, base, check, forwards, new
from piccolo.apps.migrations.commands.base import BaseMigrationManager, MigrationResult
from piccolo.conf.apps import AppConfig

from learner_app.schema import piccolo_hooks
from learner_app.schema.differ import Differ
from learner_app.schema.migration_engine import current_migration_engine
from learner_app.schema.migration_history import MigrationHistory
from learner_app.schema.migration_runner import MigrationRunner
from learner_app.schema.pending import MigrationKey, applied_migrations


def install() -> None:
    """Make all changes of this package in Piccolo.

    Importing the modules of :mod:`learner_app.schema` changes nothing. A second call has no effect.

    Changes that route queries to an engine, by :func:`learner_app.schema.piccolo_hooks.install`:
    ``TableMeta.db``, ``Finder.get_engine``, ``Finder.get_piccolo_conf_module`` and
    ``AppConfig.get_commands``. Changes of the ``migrations`` commands:

    ========================================================= ======================================
    attribute of ``piccolo.apps.migrations.commands``         change
    ========================================================= ======================================
    ``forwards.ForwardsMigrationManager``                     each migration once, under a lock, in
                                                              one transaction with its history row
    ``backwards.BackwardsMigrationManager``                   the same
    ``check.CheckMigrationManager.get_migration_statuses``    creates no table
    ``base.BaseMigrationManager.create_migration_table``      under the lock, in the current schema,
                                                              not writable for other roles
    ``new.SchemaDiffer``                                      :mod:`learner_app.schema.differ`
    ``new.JINJA_ENV.loader``                                  template of this package first
    ========================================================= ======================================
    """
    piccolo_hooks.install()
    forwards.ForwardsMigrationManager = _Forwards  # type: ignore[misc]  # the commands look it up there
    backwards.BackwardsMigrationManager = _Backwards  # type: ignore[misc]  # the same
    check.CheckMigrationManager.get_migration_statuses = _statuses  # type: ignore[method-assign, assignment]  # piccolo.main has imported the class
    base.BaseMigrationManager.create_migration_table = _create_history  # type: ignore[method-assign, assignment]  # every command inherits it
    new.SchemaDiffer = Differ  # type: ignore[attr-defined]  # imported by name there
    templates = Path(__file__).with_name("templates")
    new.JINJA_ENV.loader = jinja2.FileSystemLoader([str(templates), new.TEMPLATE_DIRECTORY])


async def _create_history(_manager: BaseMigrationManager) -> bool:
    return await MigrationHistory(current_migration_engine()).create()


async def _statuses(manager: check.CheckMigrationManager) -> list[check.MigrationStatus]:
    """Return the migrations of the chosen apps, without creating the history as Piccolo does."""
    applied = await _applied()
    return [
        check.MigrationStatus(
            app_name=config.app_name,
            migration_id=migration_id,
            description=getattr(module, "DESCRIPTION", "-"),
            has_ran=(config.app_name, migration_id) in applied,
        )
        for config in manager.get_app_configs()
        if manager.app_name in ("all", config.app_name)
        for migration_id, module in sorted(
            manager.get_migration_modules(config.resolved_migrations_folder_path).items()
        )
    ]


async def _applied() -> dict[MigrationKey, datetime]:
    connection = await current_migration_engine().get_new_connection()
    try:
        return await applied_migrations(connection)
    finally:
        await connection.close()


class _Forwards(forwards.ForwardsMigrationManager):
    async def create_migration_table(self) -> bool:
        return False if self.preview else await super().create_migration_table()

    async def run_migrations(self, app_config: AppConfig) -> MigrationResult:
        runner = MigrationRunner(current_migration_engine(), app_config)
        chosen = await runner.to_apply(self.migration_id)
        if not chosen:
            print("🏁 No migrations need to be run")
        question = f"Record {len(chosen)} migrations as applied without running them? [y/N] "
        if self.fake and len(chosen) > 1 and not _agrees(question):
            return _stopped()
        if self.preview:
            await runner.preview(chosen, backwards=False)
        else:
            await runner.apply(chosen, fake=self.fake)
        return MigrationResult(success=True, message="Migration succeeded")


class _Backwards(backwards.BackwardsMigrationManager):
    async def create_migration_table(self) -> bool:
        """Create nothing: without a history there is nothing to undo."""
        return False

    async def run_migrations_backwards(self, app_config: AppConfig) -> MigrationResult:
        runner = MigrationRunner(current_migration_engine(), app_config)
        chosen = await runner.to_undo(self.migration_id)
        if not chosen:
            print("🏁 No migrations to reverse!")
            return MigrationResult(success=True)
        if self.preview:
            await runner.preview(chosen, backwards=True)
            return MigrationResult(success=True)
        if not self.auto_agree and not _agrees(f"Reverse {len(chosen)} migrations? [y/N] "):
            return _stopped()
        for migration_id in chosen:
            await runner.undo([migration_id])
            if self.clean:
                runner.file_of(migration_id).unlink()
        return MigrationResult(success=True)


def _agrees(question: str) -> bool:
    return input(question).lower() == "y"


def _stopped() -> MigrationResult:
    print("Nothing was changed.")
    return MigrationResult(success=False, message="nothing was changed")
