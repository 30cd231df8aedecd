"""What ends a training: the exceptions of all its rooms."""


class TrainingError(Exception):
    """It can't be done; the message tells a person why and what to do, a line for each problem."""


class UndecidedError(TrainingError):
    """Nothing tells on which form of input an estimator was fitted, though it answers several."""
