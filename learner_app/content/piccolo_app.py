"""Piccolo app of content: its table and migrations."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from learner_app.content.tables import ContentTable

APP_CONFIG = AppConfig(
    app_name="content",
    migrations_folder_path=str(Path(__file__).parent / "piccolo_migrations"),
    table_classes=[ContentTable],
    migration_dependencies=[],
)
