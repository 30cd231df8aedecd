"""Dates and times as people write them, which a model can't learn from as they are.

Versions, ratios, addresses and telephone numbers are none: a day, a month, an hour and a minute
have to be possible ones, in nearly all rows.
"""

import re

import pandas as pd

from training.marks import USUAL

MIN_SHARE = 0.95
MIN_COMPACT = 5  # different ones: of fewer, eight digits may be a code
KINDS = {"date", "datetime", "datetime64", "time", "timedelta", "timedelta64", "period"}

DAY, MONTH, YEAR = "(?:0?[1-9]|[12][0-9]|3[01])", "(?:0?[1-9]|1[0-2])", "(?:1[5-9]|2[01])[0-9]{2}"
DAY2, MONTH2 = "(?:0[1-9]|[12][0-9]|3[01])", "(?:0[1-9]|1[0-2])"
# The beginnings of months in English, German, French, Spanish, Italian, Portuguese and Dutch.
NAMED = (
    r"(?i:jan|ene|gen|feb|fev|fév|mar|mär|mrt|apr|avr|abr|may|mai|mei|mag|maj|jun|juin|giu|jul|juil"
    r"|lug|aug|aoû|ago|sep|set|oct|okt|out|ott|nov|dec|dez|déc|dic)[a-zà-ÿ]{0,7}\.?"
)
NTH = f"{DAY}(?:st|nd|rd|th|er|º)?"
WEEKDAY = r"(?:[A-Za-zÀ-ÿ]{2,10}\.?,? )?"
ZONE = r"(?: ?(?:Z|UTC|GMT|[-+][0-9]{2}(?::?[0-9]{2})?|[A-Z]{3,4}|Uhr|h))?"
TIME = (
    r"(?:[0-9]{1,2}[:h][0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?(?: ?[AaPp]\.?[Mm]\.?)?"
    rf"|(?:0?[1-9]|1[0-2]) ?[AaPp]\.?[Mm]\.?){ZONE}"
)
NUMERIC = "|".join(
    f"{one}{mark}{other}{mark}{year}"
    for mark, year in ((r"\.", YEAR), ("/", YEAR), ("-", YEAR), ("/", "[0-9]{2}"))
    for one, other in ((DAY, MONTH), (MONTH, DAY))
)
# With two digits for the year, and points, only if day and month have two: 1.10.24 is a version.
SHORT = "|".join(
    f"{one}{mark}{other}{mark}[0-9]{{2}}"
    for mark in (r"\.", "-")
    for one, other in ((DAY2, MONTH2), (MONTH2, DAY2))
)
FIRST_YEAR = "|".join(f"{YEAR}{mark}{MONTH}{mark}{DAY}" for mark in ("-", "/", r"\.")) + (
    f"|{YEAR}{MONTH2}{DAY2}T[0-9]{{4,6}}Z?|{YEAR}-W[0-5][0-9](?:-[1-7])?"
)
WORDS = (
    rf"{WEEKDAY}{NTH}(?:\. ?|[ /-])(?:de )?{NAMED}(?:,? (?:de )?|[ /-])(?:{YEAR}|[0-9]{{2}})"
    rf"|{WEEKDAY}{NAMED} {NTH},? {YEAR}"
    rf"|{WEEKDAY}{NAMED} {DAY} {TIME} {YEAR}"
)
MONTHS = rf"{YEAR}-{MONTH2}|{MONTH2}/{YEAR}|{YEAR}/{MONTH2}|{NAMED} {YEAR}|{DAY2}\.{MONTH2}\."
DATE = f"(?:{NUMERIC}|{SHORT}|{FIRST_YEAR}|{WORDS}|{MONTHS})"
WRITTEN = f"(?:{DATE}(?:(?:[T :]|, ?){TIME})?|{TIME}(?:,? {DATE})?)"
# Dates as whole numbers, such as 20260113: nothing else looks like that in each row.
COMPACT = f"(?:19|20)[0-9]{{2}}{MONTH2}{DAY2}"


def are_dates(values: pd.Series) -> bool:
    """Tell whether a column without gaps holds dates or times, as such or as text."""
    if not isinstance(values.dtype, pd.StringDtype):
        return pd.api.types.infer_dtype(values) in KINDS
    said = values[~values.isin(USUAL)]
    return bool(len(said) and said.str.fullmatch(WRITTEN).mean() >= MIN_SHARE)


def are_compact(values: pd.Series) -> bool:
    """Tell whether whole numbers are dates in eight digits, all of them."""
    if not pd.api.types.is_integer_dtype(values) or values.nunique() < MIN_COMPACT:
        return False
    return bool(values.astype("string").str.fullmatch(COMPACT).all())


def is_date(text: str) -> bool:
    """Tell whether a text is a date or a time."""
    return re.fullmatch(WRITTEN, text) is not None
