"""Piccolo app of accounts: its tables and migrations."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from learner_app.accounts.tables import (
    AccountTable,
    AuthSessionTable,
    UserTable,
    VerificationTable,
)

APP_CONFIG = AppConfig(
    app_name="accounts",
    migrations_folder_path=str(Path(__file__).parent / "piccolo_migrations"),
    table_classes=[AccountTable, AuthSessionTable, UserTable, VerificationTable],
    migration_dependencies=[],
)
