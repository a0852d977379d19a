"""Tables of the domain listening in the admin."""

from learner_app.admin.admin_table import AdminTable, newest_first
from learner_app.listening.tables import BehavioralEventTable as Event
from learner_app.listening.tables import ListeningSessionTable as Session

SESSIONS = AdminTable(
    table=Session,
    group="Listening",
    columns=[
        Session.id,
        Session.started_at,
        Session.last_activity_at,
        Session.total_listening_time,
        Session.current_content_id,
    ],
    filters=[
        Session.id,
        Session.started_at,
        Session.last_activity_at,
        Session.total_listening_time,
    ],
    order=newest_first(Session.last_activity_at),
)

EVENTS = AdminTable(
    table=Event,
    group="Listening",
    columns=[
        Event.id,
        Event.timestamp,
        Event.event_type,
        Event.content_id,
        Event.session_id,
        Event.playback_position,
        Event.playback_position_percent,
    ],
    filters=[
        Event.id,
        Event.event_type,
        Event.content_id,
        Event.session_id,
        Event.timestamp,
    ],
    order=newest_first(Event.timestamp),
)
