"""Numbers as people write them: with a decimal comma, and with separators between thousands.

A column is read where all its numbers fit one way of writing. Where two ways fit, and give other
numbers (``12.037`` may be twelve or twelve thousand), it is in doubt, and nothing is guessed.
"""

import numpy as np
import pandas as pd

from serving.model.reading import APOSTROPHES, BLANKS, EXPONENT, INFINITE, Style

SAMPLED = 1000
PLAIN = rf"(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+){EXPONENT}|{INFINITE}"
GROUPED = "|".join(
    rf"[1-9][0-9]{{0,2}}(?:{between}[0-9]{{3}})+(?:{mark}[0-9]*)?"
    for between, mark in (
        (r"\.", ","),
        (",", r"\."),
        (f"[{BLANKS}]", "[.,]"),
        (f"[{APOSTROPHES}]", "[.,]"),
    )
)
NUMBER = f"(?:[-+]?(?:{PLAIN}|{GROUPED}))"  # in parentheses, since what matches adds to its end
# With a currency, a percent sign, a minus at the end, in parentheses, in groups as in India,
# or in digits of other scripts, such as full-width ones.
SIGN = (
    "[%‰$¢£¥\u0e3f\u20a0-\u20c0\uff05\uffe5]|(?:R|US|A|C|NZ|HK|S)[$]"
    "|kr\\.?|zł|Kč|Ft|lei|\u0440\u0443\u0431\\.?|Rs\\.?|Fr\\."
    "|EUR|USD|GBP|CHF|SEK|NOK|DKK|PLN|CZK|HUF|RON|INR|JPY|CNY|AUD|CAD|BRL"
)
AMOUNT = r"\d[\d,.'\u2019 \xa0\u202f]*"
DECORATED = (
    rf"(?:[-+\u2212]?(?:{SIGN})\s?[-+\u2212]?{AMOUNT}|[-+\u2212]?{AMOUNT}\s?(?:{SIGN})"
    rf"|\((?:{SIGN})?\s?{AMOUNT}(?:\s?(?:{SIGN}))?\)|\d[\d,.]*-|\u2212\d[\d,.]*"
    r"|[-+]?\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?|[-+]?(?![0-9.,]+$)\d+(?:[.,\u066b]\d*)?)"
)


def are_numbers(cells: pd.Series) -> pd.Series:
    """Tell for each text whether it is a number in some way of writing."""
    return cells.str.fullmatch(NUMBER).astype("bool")


def evened(cells: pd.Series) -> pd.Series:
    """Write all kinds of blanks as one, and all kinds of apostrophes."""
    for others, one in ((BLANKS[1:], " "), (APOSTROPHES[1:], "'")):
        if cells.str.contains(f"[{others}]").any():
            cells = cells.str.replace(f"[{others}]", one, regex=True)
    return cells


def styles_of(cells: pd.Series) -> tuple[Style, ...]:
    """Give the ways of writing that all cells (evened ones) fit.

    Ways that would give the same numbers are one: a comma that no cell has is no decimal mark,
    unless points part thousands.
    """
    marks = [mark for mark in ".,' " if cells.str.contains(mark, regex=False).any()]
    ways = [
        Style(decimal, thousands)
        for decimal in ".,"
        for thousands in ("", *marks)
        if thousands != decimal and (decimal == "." or "," in marks or thousands == ".")
    ]
    head = cells.iloc[:SAMPLED]  # few ways are left to be tried on all
    ways = [way for way in ways if head.str.fullmatch(way.pattern).all()]
    return tuple(way for way in ways if cells.str.fullmatch(way.pattern).all())


def values_of(cells: pd.Series, style: Style) -> pd.Series | None:
    """Read cells that fit a way of writing: Int64 if all are whole, else Float64.

    None, if they are whole and too large.
    """
    written = cells
    if style.thousands:
        written = written.str.replace(style.thousands, "", regex=False)
    if style.decimal != ".":
        written = written.str.replace(style.decimal, ".", regex=False)
    whole = bool(written.str.fullmatch("[-+]?[0-9]+").all())
    texts = written.to_numpy("object")
    try:
        values = texts.astype("int64" if whole else "float64")
    except OverflowError:
        return None
    return pd.Series(values, index=cells.index).astype("Int64" if whole else "Float64")


def may_be_thousands(column: pd.Series) -> bool:
    """Tell whether numbers with a point may have been written with one between thousands.

    Only what the values tell: a fraction of a number below one, or of more than three digits, is
    none. What is left has to be looked at as it is written.
    """
    values = np.abs(column.dropna().to_numpy("float64"))
    parted = values[values % 1 != 0]
    if not parted.size or parted.min() < 1 or parted.max() >= 1000:
        return False
    return bool((np.abs(parted * 1000 - np.round(parted * 1000)) < 1e-6).all())


def doubt_of(cells: pd.Series, styles: tuple[Style, ...]) -> str:
    """Tell what may be meant by numbers that two ways of writing fit, and how to settle it."""
    apart = [values_of(cells, style) for style in styles]
    one, other = (values for values in apart if values is not None)
    row = (one != other).to_numpy("bool").argmax()
    (first, second), (this, that) = styles, (one.iloc[row], other.iloc[row])
    return (
        f"holds numbers that can be read in two ways, such as {cells.iloc[row]!r} in row "
        f"{int(cells.index[row]) + 1}: say --decimal {first.decimal} if that is {this:.15g}, or "
        f"--decimal {second.decimal} if it is {that:.15g}"
    )
