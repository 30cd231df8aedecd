"""What ends a training: the one exception of all its rooms."""


class TrainingError(Exception):
    """It can't be done; the message tells a person why and what to do, a line for each problem."""
