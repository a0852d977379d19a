"""The generic part of the repositories: rows, inputs, filters, pages and the base class."""
