"""Conditions of filters."""

from typing import TypedDict

import pytest

from learner_app.content.rows import ContentFilters
from learner_app.content.tables import ContentTable
from learner_app.repository.filters import Filters, at_least


class Equal(TypedDict, total=False):
    genre: str
    min_duration: int


def test_a_filter_without_a_condition_is_the_column_of_its_name():
    filters = Filters(ContentTable, Equal, {"min_duration": at_least(ContentTable.duration)})
    condition = str(filters.condition(("genre", "min_duration")))
    assert '"content"."genre" = ' in condition
    assert '"content"."duration" >= ' in condition


def test_a_filter_that_is_no_column_needs_a_condition():
    with pytest.raises(ValueError, match="generated_since"):
        Filters(ContentTable, ContentFilters)
