"""Dates and times as people write them, which a model can't learn from as they are.

Versions, ratios, addresses and telephone numbers are none: a day, a month, an hour and a minute
have to be possible ones, in nearly all rows.
"""

import re

import pandas as pd

from serving.model.reading import USUAL

MIN_SHARE = 0.95
MAX_MAJOR = 12  # the first number of a version, as a rule
MIN_DAYS = 5  # different ones beyond that
MIN_COMPACT = 5  # different ones: of fewer, eight digits may be a code
KINDS = {"date", "datetime", "datetime64", "time", "timedelta", "timedelta64", "period"}

DAY, MONTH, YEAR = "(?:0?[1-9]|[12][0-9]|3[01])", "(?:0?[1-9]|1[0-2])", "(?:1[5-9]|2[01])[0-9]{2}"
DAY2, MONTH2 = "(?:0[1-9]|[12][0-9]|3[01])", "(?:0[1-9]|1[0-2])"
# The beginnings of months in English, German, French, Spanish, Italian, Portuguese, Dutch, the
# languages of Scandinavia, Polish and Russian.
MON = (
    r"(?i:jan|ene|gen|feb|fev|fév|mar|mär|mrt|apr|avr|abr|may|mai|mei|mag|maj|jun|juin|giu|jul|juil"
    r"|lug|aug|aoû|ago|sep|set|oct|okt|out|ott|nov|dec|dez|déc|dic|des"
    r"|sty|lut|kwi|cze|lip|sie|wrz|paź|lis|gru|янв|фев|мар|апр|ма[йя]|июн|июл|авг|сен|окт|ноя|дек)"
)
NAMED = rf"{MON}[a-zà-žа-я]{{0,9}}\.?"
NTH = f"{DAY}(?:st|nd|rd|th|er|º)?"
WEEKDAY = r"(?:[A-Za-zÀ-ÿ]{2,10}\.?,? )?"
ZONE = r"(?: ?(?:Z|UTC|GMT|[-+][0-9]{2}(?::?[0-9]{2})?|[A-Z]{3,4}|Uhr|h))?"
TIME = (
    r"(?:[0-9]{1,2}[:h][0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?(?: ?[AaPp]\.?[Mm]\.?)?"
    rf"|[0-9]{{1,3}}:[0-5][0-9]:[0-5][0-9]|[0-9]{{1,2}}\.[0-5][0-9]\.[0-5][0-9](?:\.[0-9]+)? ?[AP]M"
    rf"|(?:0?[1-9]|1[0-2]) ?[AaPp]\.?[Mm]\.?){ZONE}"
)
NUMERIC = "|".join(
    f"{one}{mark}{other}{mark}{year}"
    for mark, year in ((r"\. ?", YEAR), ("/", YEAR), ("-", YEAR), ("/", "[0-9]{2}"))
    for one, other in ((DAY, MONTH), (MONTH, DAY))
)
# With two digits for the year, and points, only if day and month have two: 1.10.24 is a version,
# unless the column has many days that are too large for one.
SHORT = "|".join(
    f"{one}{mark}{other}{mark}[0-9]{{2}}"
    for mark in (r"\.", "-")
    for one, other in ((DAY2, MONTH2), (MONTH2, DAY2))
)
BRIEF = rf"({DAY})\.{MONTH}\.[0-9]{{2}}"
FIRST_YEAR = "|".join(f"{YEAR}{mark}{MONTH}{mark}{DAY}" for mark in ("-", "/", r"\. ?")) + (
    rf"|{YEAR}\. ?{MONTH}\. ?{DAY}\.|{YEAR} ?[年년] ?{MONTH} ?[月월](?: ?{DAY} ?[日일])?"
    f"|{YEAR}{MONTH2}{DAY2}[T ][0-9]{{4,6}}Z?|{YEAR}-W[0-5][0-9](?:-[1-7])?"
    f"|{YEAR}[- ]?Q[1-4]|Q[1-4][- /]?{YEAR}"
)
WORDS = (
    rf"{WEEKDAY}{NTH}(?:\. ?|[ /-])(?:de |of )?{NAMED}(?:,? (?:de )?|[ /-])(?:{YEAR}|[0-9]{{2}})"
    rf"|{WEEKDAY}{NAMED} {NTH},? {YEAR}"
    rf"|{WEEKDAY}{NAMED} +{DAY} {TIME} {YEAR}|{DAY2}{MON}{YEAR}"
)
MONTHS = rf"{YEAR}-{MONTH2}|{MONTH2}/{YEAR}|{YEAR}/{MONTH2}|{DAY2}\.{MONTH2}\." + (
    f"|{NAMED}[ -]{YEAR}|{MON}-[0-9]{{2}}"
)
DATE = f"(?:{NUMERIC}|{SHORT}|{FIRST_YEAR}|{WORDS}|{MONTHS})"
SPAN = rf"-?[0-9]+ days?,? [-+]?{TIME}|P(?:[0-9]+D)?T(?:[0-9.]+[HMS])+"
WRITTEN = f"(?:{DATE}(?:(?:[T :]|, ?){TIME})?|{TIME}(?:,? {DATE})?|{SPAN})"
# Dates as whole numbers, such as 20260113 or 202601132250: nothing else looks so in each row.
COMPACT = f"(?:19|20)[0-9]{{2}}{MONTH2}{DAY2}(?:(?:[01][0-9]|2[0-3])(?:[0-5][0-9]){{1,2}})?"


def are_dates(values: pd.Series) -> bool:
    """Tell whether a column without gaps holds dates or times, as such or as text."""
    if not isinstance(values.dtype, pd.StringDtype):
        return pd.api.types.infer_dtype(values) in KINDS
    said = values[~values.isin(USUAL)]
    if said.empty:
        return False
    return bool(said.str.fullmatch(WRITTEN).mean() >= MIN_SHARE or _are_brief(said))


def _are_brief(said: pd.Series) -> bool:
    """Tell whether texts such as 1.10.24 are dates, and no versions."""
    days = said.str.extract(f"^{BRIEF}$", expand=False)
    if days.notna().mean() < MIN_SHARE:
        return False
    days = days.dropna().astype("int64")
    return bool(days[days > MAX_MAJOR].nunique() >= MIN_DAYS)


def are_compact(values: pd.Series) -> bool:
    """Tell whether whole numbers are dates in eight digits, all of them."""
    if not pd.api.types.is_integer_dtype(values) or values.nunique() < MIN_COMPACT:
        return False
    return bool(values.astype("string").str.fullmatch(COMPACT).all())


def is_date(text: str) -> bool:
    """Tell whether a text is a date or a time."""
    return re.fullmatch(WRITTEN, text) is not None
