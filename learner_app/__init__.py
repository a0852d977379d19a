"""The data foundation of adaptive-learning applications on PostgreSQL."""
