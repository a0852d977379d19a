"""Piccolo app of tenancy: its tables and migrations."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from learner_app.tenancy.tables import (
    TenantMemberTable,
    TenantTable,
)

APP_CONFIG = AppConfig(
    app_name="tenancy",
    migrations_folder_path=str(Path(__file__).parent / "piccolo_migrations"),
    table_classes=[TenantMemberTable, TenantTable],
    migration_dependencies=[
        "learner_app.accounts.piccolo_app",
    ],
)
