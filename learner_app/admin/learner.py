"""Tables of the domain learner in the admin."""

from learner_app.admin.admin_table import AdminTable, newest_first
from learner_app.learner.tables import LearnerModelStateTable as State
from learner_app.learner.tables import UserPreferencesTable as Preferences

MODEL_STATES = AdminTable(
    table=State,
    group="Learner",
    columns=[
        State.session_id,
        State.comprehension_level,
        State.difficulty_adjustment,
        State.data_points,
        State.last_updated,
    ],
    filters=[State.session_id, State.comprehension_level, State.last_updated],
    order=newest_first(State.last_updated),
)

PREFERENCES = AdminTable(
    table=Preferences,
    group="Learner",
    columns=[
        Preferences.id,
        Preferences.difficulty_preference,
        Preferences.preferred_formats,
        Preferences.playback_speed,
        Preferences.auto_play,
        Preferences.version,
        Preferences.last_updated,
    ],
    filters=[
        Preferences.id,
        Preferences.session_id,
        Preferences.difficulty_preference,
        Preferences.last_updated,
    ],
    order=newest_first(Preferences.last_updated),
)
