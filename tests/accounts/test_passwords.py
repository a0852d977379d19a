"""Hashes of passwords."""

from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type

from learner_app.accounts.passwords import hash_password


def test_two_spellings_of_one_password_are_one():
    composed, decomposed = "caff\u00e8-1234", "caffe\u0300-1234"
    assert PasswordHasher().verify(hash_password(decomposed), composed)


def test_hashes_are_argon2id_as_owasp_wants_them_and_salted():
    one, other = hash_password("learner-1"), hash_password("learner-1")
    assert one != other
    found = extract_parameters(one)
    assert (found.type, found.memory_cost, found.time_cost) == (Type.ID, 19_456, 2)
