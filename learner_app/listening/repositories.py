"""What services import: one repository for each table of the domain."""

from learner_app.listening.sessions import ListeningSessionRepository

__all__ = ["ListeningSessionRepository"]
