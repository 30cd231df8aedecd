"""What tells how an estimator was fitted, beside its answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from serving.model.description import Categories
from training.describing.columns import Column


@dataclass(frozen=True, slots=True)
class Evidence:
    """What tells how an estimator was fitted, beside its answers.

    ``named`` says whether it knows the table's columns by name, which is so if it was fitted on a
    frame, and not if it was fitted on an array; None is for what is not known. ``said`` has the
    columns that a person says to be of pandas' dtype ``category``, None if nothing is said.
    ``told`` is what the estimator tells of columns, ``dtypes`` what a Parquet file has of them.
    """

    named: bool | None = None
    said: Mapping[str, Categories] | None = None
    told: Mapping[str, Column] = field(default_factory=dict)
    dtypes: Mapping[str, Categories | str] = field(default_factory=dict)


NO_EVIDENCE = Evidence()
FITTED_ON_ARRAYS = Evidence(named=False)
