"""Pools of the engine with other settings."""

from learner_app.database.engine import DatabaseEngine


async def reopen(engine: DatabaseEngine, **settings: object) -> DatabaseEngine:
    """Close the pool, change the settings and open it again."""
    await engine.close_connection_pool()
    engine.settings = engine.settings.model_copy(update=settings)
    await engine.start_connection_pool()
    return engine


async def switch_jit_on(engine: DatabaseEngine) -> None:
    """Open the pool again with ``jit=on`` in the URL, which pooled connections switch off."""
    await engine.close_connection_pool()
    assert engine.url is not None
    engine.url += f"{'&' if '?' in engine.url else '?'}jit=on"
    await engine.start_connection_pool()
