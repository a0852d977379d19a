"""Piccolo app of the admin: its tables and migrations."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from learner_app.admin.tables import StaffSessionTable, StaffUserTable

APP_CONFIG = AppConfig(
    app_name="staff",
    migrations_folder_path=str(Path(__file__).parent / "piccolo_migrations"),
    table_classes=[StaffSessionTable, StaffUserTable],
    migration_dependencies=[],
)
