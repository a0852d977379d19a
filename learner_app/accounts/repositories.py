"""What services import: one repository for each table of the domain."""

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
