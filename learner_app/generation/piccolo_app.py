"""Piccolo app of generation: its table and migrations."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from learner_app.generation.tables import GenerationStatusTable

APP_CONFIG = AppConfig(
    app_name="generation",
    migrations_folder_path=str(Path(__file__).parent / "piccolo_migrations"),
    table_classes=[GenerationStatusTable],
    migration_dependencies=[
        "learner_app.content.piccolo_app",
        "learner_app.listening.piccolo_app",
    ],
)
