"""Repositories of learner states and preferences, one per table."""

from learner_app.learner.model_states import LearnerModelStateRepository
from learner_app.learner.preferences import UserPreferencesRepository

__all__ = ["LearnerModelStateRepository", "UserPreferencesRepository"]
