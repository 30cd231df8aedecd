"""How what is counted compares with training: bins, what is watched, verdicts, words."""
