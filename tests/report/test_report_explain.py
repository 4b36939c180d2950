from typing import get_args

import pytest

from apheleia.core.bound import Bound
from apheleia.core.certificate import Certificate, CertificateStatus, Claim
from apheleia.report.explain import QUESTIONS, explain


@pytest.mark.parametrize("claim", get_args(Claim))
def test_every_claim_has_words_and_every_status_its_own_mark(claim):
    said = [explain(Certificate(claim, status, None, "because", ""), 100) for status in get_args(CertificateStatus)]
    assert {one.question for one in said} == {QUESTIONS[claim]}
    assert len({one.mark for one in said}) == len({one.label for one in said}) == len({one.meaning for one in said}) == 3
    assert all(one.meaning[0].isupper() and one.meaning.endswith(".") for one in said)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("exact", "0.5, exact up to rounding (m)"),
        ("upper", "at most 0.5 (m)"),
        ("lower", "at least 0.5 (m)"),
        ("estimate", "about 0.5 (m)"),
    ],
)
def test_the_pedigree_of_a_number_is_said(kind, words):
    assert explain(Certificate("objective_gap", "estimated", Bound(0.5, kind, "m"), "w", ""), 100).value == words


def test_a_distance_is_restated_for_each_value():
    value = explain(Certificate("distance", "proved", Bound(2.0, "upper", "gap"), "w", ""), 400).value
    assert value == "at most 2 in all; spread over 400 values, a root mean square of 0.1 for each (gap)"


@pytest.mark.parametrize(
    ("source", "pieces"),
    [
        ("", ()),
        ("Condat 2013", (("Condat 2013", ""),)),
        ("Condat 2013, doi:10.1007/s10957-012-0245-9", (("Condat 2013, ", "10.1007/s10957-012-0245-9"),)),
        (
            "A, doi:10.1137/1.9; B, https://doi.org/10.1/not, 10.1016/x(1)y.",
            (("A, ", "10.1137/1.9"), ("; B, https://doi.org/10.1/not, ", "10.1016/x(1)y"), (".", "")),
        ),
    ],
)
def test_dois_are_found(source, pieces):
    assert explain(Certificate("rate", "none", None, "w", source), 1).source == pieces
