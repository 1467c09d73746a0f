"""The API over HTTP and WebSocket: what programs and pages see and ask of the service."""

from orchestrator.service.api.app import create_api

__all__ = ["create_api"]
