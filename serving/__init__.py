"""The rooms behind ``service.py``; docs/architecture.md shows how a request goes through them."""
