"""`app`, for `uvicorn app.main:app`; nothing starts before the server runs its lifespan."""

from orchestrator.main import create_app

app = create_app()
