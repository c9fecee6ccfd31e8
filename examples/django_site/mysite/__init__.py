from .umbel import app

__all__ = ["app"]
