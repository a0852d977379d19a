"""Repositories of learner states and preferences."""

from learner_app.learner.model_states import LearnerModelStateRepository
from learner_app.learner.preferences import UserPreferencesRepository

__all__ = ["LearnerModelStateRepository", "UserPreferencesRepository"]
