"""Tables of users and sign-in. Secret columns contain hashes or tokens that no row contains."""

from enum import Enum

from piccolo.columns import UUID, Boolean, Date, Integer, Text, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.columns.defaults.uuid import UUID4
from piccolo.table import Table

from learner_app.schema.columns import Inet, Now, Reference
from learner_app.schema.objects import Check, Index, OneOf, Unique, UpdatedAtTrigger
from learner_app.schema.tables import SchemaTable

__all__ = [
    "AccountTable",
    "AuthSessionTable",
    "DarkMode",
    "KnowledgeLevel",
    "ReferralSource",
    "UserTable",
    "VerificationTable",
]


class KnowledgeLevel(str, Enum):
    beginner = "Beginner"
    intermediate = "Intermediate"
    advanced = "Advanced"


class ReferralSource(str, Enum):
    search = "Search"
    friend = "Friend"
    social = "Social"
    other = "Other"


class DarkMode(str, Enum):
    light = "light"
    dark = "dark"
    auto = "auto"


class UserTable(SchemaTable, Table, tablename="users", help_text="People with an account."):
    id = UUID(primary_key=True, default=UUID4(), help_text="Key.")
    email = Varchar(255, default=None, help_text="Normalised, in lower case.")
    hashed_password = Varchar(
        255,
        default=None,
        secret=True,
        help_text="argon2id hash, or a placeholder for users without a password.",
    )
    name = Varchar(255, default="", help_text="Name to address the person by.")
    email_verified = Boolean(default=False, help_text="True if the address was verified.")
    image = Text(default=None, null=True, help_text="URL of a picture.")
    exam_date = Date(default=None, null=True, help_text="Onboarding: date of the exam.")
    target_score = Integer(default=None, null=True, help_text="Onboarding: target score, 0 to 100.")
    daily_study_time = Integer(
        default=None, null=True, help_text="Onboarding: study time in minutes per day."
    )
    knowledge_level = Varchar(
        50,
        default=None,
        null=True,
        choices=KnowledgeLevel,
        help_text="Onboarding: self-assessed level.",
    )
    motivation = Text(default=None, null=True, help_text="Onboarding: motivation.")
    referral_source = Varchar(
        50,
        default=None,
        null=True,
        choices=ReferralSource,
        help_text="Onboarding: referral source.",
    )
    is_admin = Boolean(default=False, help_text="True for administrators of the product.")
    dark_mode = Varchar(
        10, default="auto", choices=DarkMode, help_text="Colour scheme of the product."
    )
    created_at = Timestamptz(default=Now(), help_text="Time of the insert, set by the database.")
    updated_at = Timestamptz(
        default=Now(), help_text="Time of the last change, set by the database."
    )

    check_email_lower = Check("email = lower(email)")
    check_target_score_range = Check("target_score BETWEEN 0 AND 100")
    check_daily_study_time = Check("daily_study_time > 0")
    check_knowledge_level = OneOf(knowledge_level, KnowledgeLevel)
    check_referral_source = OneOf(referral_source, ReferralSource)
    check_dark_mode = OneOf(dark_mode, DarkMode)
    idx_users_email = Index(email, unique=True)
    idx_users_created_at = Index(created_at)
    users_touch_updated_at = UpdatedAtTrigger(updated_at)


class AccountTable(
    SchemaTable, Table, tablename="accounts", help_text="Identities with which users sign in."
):
    id = UUID(primary_key=True, default=UUID4(), help_text="Key.")
    user_id = Reference(
        UserTable, "fk_accounts_user", OnDelete.cascade, help_text="User of the account."
    )
    provider_id = Varchar(
        50,
        default=None,
        help_text="Sign-in provider such as google, or credential for the local password.",
    )
    account_id = Varchar(255, default=None, help_text="Id of the identity at the provider.")
    access_token = Text(default=None, null=True, secret=True, help_text="Issued by the provider.")
    refresh_token = Text(default=None, null=True, secret=True, help_text="Issued by the provider.")
    id_token = Text(default=None, null=True, secret=True, help_text="Issued by the provider.")
    access_token_expires_at = Timestamptz(default=None, null=True, help_text="Expiry of the token.")
    refresh_token_expires_at = Timestamptz(
        default=None, null=True, help_text="Expiry of the token."
    )
    scope = Text(default=None, null=True, help_text="Scope of the tokens.")
    created_at = Timestamptz(default=Now(), help_text="Time of the insert, set by the database.")
    updated_at = Timestamptz(
        default=Now(), help_text="Time of the last change, set by the database."
    )

    accounts_provider_id_account_id_key = Unique([provider_id, account_id])
    idx_accounts_user_id = Index(user_id)
    accounts_touch_updated_at = UpdatedAtTrigger(updated_at)


class AuthSessionTable(
    SchemaTable,
    Table,
    tablename="auth_sessions",
    help_text="Devices on which users are signed in.",
):
    id = UUID(primary_key=True, default=UUID4(), help_text="Key.")
    user_id = Reference(
        UserTable, "fk_auth_sessions_user", OnDelete.cascade, help_text="User of the session."
    )
    token_hash = Varchar(64, default=None, secret=True, help_text="SHA-256 hash of the token.")
    expires_at = Timestamptz(default=None, help_text="The session is invalid from this time on.")
    ip_address = Inet(null=True, help_text="IP address of the device.")
    user_agent = Text(default=None, null=True, help_text="User agent of the device.")
    created_at = Timestamptz(default=Now(), help_text="Time of the insert, set by the database.")
    updated_at = Timestamptz(
        default=Now(), help_text="Time of the last change, set by the database."
    )

    auth_sessions_token_hash_key = Unique([token_hash])
    idx_auth_sessions_user_id = Index(user_id)
    idx_auth_sessions_expires_at = Index(expires_at)
    auth_sessions_touch_updated_at = UpdatedAtTrigger(updated_at)


class VerificationTable(
    SchemaTable, Table, tablename="verifications", help_text="Single-use codes."
):
    id = UUID(primary_key=True, default=UUID4(), help_text="Key.")
    identifier = Varchar(
        255, default=None, help_text="Purpose and address, or purpose and user id."
    )
    value_hash = Varchar(64, default=None, secret=True, help_text="SHA-256 hash of the code.")
    attempts = Integer(default=0, help_text="Number of wrong codes.")
    expires_at = Timestamptz(default=None, help_text="The code is invalid from this time on.")
    created_at = Timestamptz(default=Now(), help_text="Time of the insert, set by the database.")
    updated_at = Timestamptz(
        default=Now(), help_text="Time of the last change, set by the database."
    )

    idx_verifications_identifier = Index(identifier)
    idx_verifications_expires_at = Index(expires_at)
    verifications_touch_updated_at = UpdatedAtTrigger(updated_at)
