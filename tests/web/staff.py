"""Staff members at the login page of the admin."""

import httpx


async def sign_in(client: httpx.AsyncClient, name: str, password: str) -> httpx.Response:
    """Send the login form and return the response."""
    await client.get("/admin/public/login/")
    token = client.cookies["csrftoken"]
    form = {"username": name, "password": password, "csrftoken": token}
    return await client.post("/admin/public/login/", data=form, headers={"X-CSRFToken": token})
