"""Repositories of listening sessions, behavioral events and likes."""

from learner_app.listening.events import BehavioralEventRepository
from learner_app.listening.likes import LikeRepository
from learner_app.listening.sessions import ListeningSessionRepository

__all__ = ["BehavioralEventRepository", "LikeRepository", "ListeningSessionRepository"]
