"""Names of the settings that a transaction sets for policies, triggers and logs.

``DB.scope()`` sets them, and policies of row-level security read them.
"""

TENANT_SETTING = "app.current_tenant_id"
"""Id of the tenant whose rows are visible."""

ACTOR_SETTING = "app.current_actor"
"""User or service on whose behalf the statements run."""

REQUEST_ID_SETTING = "app.request_id"
"""Id of the request that caused the statements."""
