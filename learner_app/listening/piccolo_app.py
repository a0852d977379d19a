"""Piccolo app of listening: its tables and migrations."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from learner_app.listening.tables import (
    BehavioralEventTable,
    LikeEngagementTable,
    ListeningSessionTable,
)

APP_CONFIG = AppConfig(
    app_name="listening",
    migrations_folder_path=str(Path(__file__).parent / "piccolo_migrations"),
    table_classes=[BehavioralEventTable, LikeEngagementTable, ListeningSessionTable],
    migration_dependencies=[
        "learner_app.content.piccolo_app",
    ],
)
