"""Pools of the engine with other settings."""

from learner_app.database.engine import DatabaseEngine


async def reopen(engine: DatabaseEngine, **settings: object) -> DatabaseEngine:
    """Close the pool, change the settings and open it again."""
    await engine.close_connection_pool()
    engine.settings = engine.settings.model_copy(update=settings)
    await engine.start_connection_pool()
    return engine
