"""Repositories of sessions, events and likes, one per table."""

from learner_app.listening.events import BehavioralEventRepository
from learner_app.listening.likes import LikeRepository
from learner_app.listening.sessions import ListeningSessionRepository

__all__ = ["BehavioralEventRepository", "LikeRepository", "ListeningSessionRepository"]
