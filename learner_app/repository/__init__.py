"""Generic part of the repositories: base classes, rows, inputs, filters and pages."""
