"""The tests: by room, over the wire, and with system packages."""
