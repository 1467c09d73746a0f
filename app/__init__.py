"""The name under which uvicorn finds the service; see `app.main`."""
