"""The way to the provider: an ASGI application that forwards, and knows no policy."""
