"""Which columns are likely to identify people, by their name and by what stands in them."""

import re
from collections.abc import Sequence

import numpy as np

from GAN_joint.columns import is_number

_LEAST_SHARE_OF_NUMBERS = 0.5
_LEAST_ROWS_TO_JUDGE = 10
_LEAST_DIGITS = 6  # of a record number
_MOST_STEP = 3  # on average, of a count of rows
_PEOPLE = frozenset(
    (
        *("fio", "name", "fullname", "patient", "patientname", "patientid", "subject", "subjectid", "person"),
        *("personid", "mrn", "snils", "ssn", "фио", "имя", "пациент", "снилс"),
    )
)
_IDENTIFYING = _PEOPLE | frozenset(
    (
        *("surname", "lastname", "firstname", "middlename", "id", "caseid", "recordid", "recordnumber"),
        *("medicalrecordnumber", "historynumber", "passport", "phone", "phonenumber", "telephone", "email", "address"),
        *("zip", "zipcode", "postcode", "dob", "birthday", "birthdate", "dateofbirth"),
        *("фамилия", "отчество", "паспорт", "телефон", "адрес", "датарождения", "номеркарты", "номеристории"),
    )
)
_DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}([T ].*)?", re.ASCII)
_DATE_OF_DIGITS = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", re.ASCII)
# Two to four capitalised words or initials: "Ivanov I.I.", "Anna-Maria Smith".
_NAME_OF_PERSON = re.compile(r"[A-ZА-ЯЁ][\w'’-]+(,? +[A-ZА-ЯЁ][\w'’-]*\.?([A-ZА-ЯЁ]\.)?){1,3}")


def plain_name(name: str) -> str:
    """Return a header in small letters, without spaces and signs."""
    return re.sub(r"[\W_]", "", name).casefold()


def names_people(name: str) -> bool:
    """Return whether a header says that its column names people, so that equal cells are one person."""
    return plain_name(name) in _PEOPLE


def identifying_reason(name: str, words: Sequence[str]) -> str | None:
    """Return why a column seems to identify people, in words; None where it does not.

    Args:
        name: Its header.
        words: Its cells but for the empty ones, 1 or more.
    """
    if plain_name(name) in _IDENTIFYING:
        return "its name says that it identifies a person"
    if all(map(_DATE.fullmatch, words)):
        return "dates, which identify a person with little else"
    if all(map(_is_whole, words)):
        return reason_of_digits(words) or ("it counts the rows" if _are_counting(words) else None)
    num_numbers = sum(is_number(word, ".") or is_number(word, ",") for word in words)
    return None if num_numbers >= _LEAST_SHARE_OF_NUMBERS * len(words) else _reason_of_text(words)


def reason_of_digits(words: Sequence[str]) -> str | None:
    """Return why numbers seem to be record numbers or dates (19600523), in words; None where they do not."""
    if all(map(_DATE_OF_DIGITS.fullmatch, words)):
        return "dates, which identify a person with little else"
    are_long = len(words) >= 3 and all(_is_whole(word) and len(word) >= _LEAST_DIGITS for word in words)
    return "another long number in every row, as records have" if are_long and len(set(words)) == len(words) else None


def _reason_of_text(words: Sequence[str]) -> str | None:
    num_distinct, num_words = len(set(words)), len(words)
    is_nearly_unique = 2 * num_distinct > num_words >= _LEAST_ROWS_TO_JUDGE
    if num_distinct < 3 or not (is_nearly_unique or num_distinct == num_words):
        return None
    num_names = sum(_NAME_OF_PERSON.fullmatch(word) is not None for word in words)
    if 2 * num_names > num_words:
        return "it looks like names of people"
    return f"another text in {'every row' if num_distinct == num_words else 'most rows'}"


def _are_counting(words: Sequence[str]) -> bool:
    """Return whether whole numbers rise from row to row in small steps, as in a list with gaps."""
    numbers = np.array([float(word) for word in words])
    are_dense = numbers[-1] - numbers[0] < _MOST_STEP * len(numbers)
    return len(words) >= _LEAST_ROWS_TO_JUDGE and bool(are_dense and (np.diff(numbers) > 0).all())


def _is_whole(word: str) -> bool:
    return word.isascii() and word.isdecimal()
