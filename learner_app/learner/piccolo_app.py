"""Piccolo app of the learner model and preferences: its tables and migrations."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from learner_app.learner.tables import (
    LearnerModelStateTable,
    UserPreferencesTable,
)

APP_CONFIG = AppConfig(
    app_name="learner",
    migrations_folder_path=str(Path(__file__).parent / "piccolo_migrations"),
    table_classes=[LearnerModelStateTable, UserPreferencesTable],
    migration_dependencies=[
        "learner_app.listening.piccolo_app",
    ],
)
