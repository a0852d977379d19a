"""Piccolo looks for this file; the configuration itself comes with the package."""

from learner_app.conf import APP_REGISTRY, DB

__all__ = ["APP_REGISTRY", "DB"]
