"""Users for tests, with their password."""

from datetime import timedelta

from learner_app.accounts.repositories import UserRepository
from learner_app.accounts.rows import User, UserCreate

PASSWORD = "correct-horse-7"
HOUR = timedelta(hours=1)


def new_user(
    email: str = "anna@example.com", password: str = PASSWORD, name: str = ""
) -> UserCreate:
    return UserCreate(email=email, password=password, name=name)


async def registered(email: str = "anna@example.com", password: str = PASSWORD) -> User:
    return await UserRepository().register(new_user(email, password))
