"""Why a model answers as it does: what each column of a row contributes to the number answered."""
