"""Repositories of users and sign-in, one per table."""

from learner_app.accounts.auth_sessions import AuthSessionRepository
from learner_app.accounts.identities import AccountRepository
from learner_app.accounts.users import UserRepository
from learner_app.accounts.verifications import VerificationRepository

__all__ = [
    "AccountRepository",
    "AuthSessionRepository",
    "UserRepository",
    "VerificationRepository",
]
