"""How the image is made."""
