"""Labels that come later: the prediction log joined with what really happened, and scored."""
