"""The table tells the truth: a case that fails says so, one that says nothing of what was lost is none."""

from __future__ import annotations

import pytest

from tests.faults import table


@pytest.fixture
def rows(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    monkeypatch.setenv(table.FILE_VARIABLE, str(path))
    return lambda: table.read(path)


def test_a_case_that_goes_well_is_a_row_with_its_slowest_time(case, rows):
    with case("well") as row:
        row.right(0.5)
        row.right(0.25)
        row.lost, row.remark = "nothing", "two | times"
    (row,) = rows()
    assert (row.survived, row.seconds) == ("yes", 0.5)
    assert table.markdown([row]).splitlines()[-1] == "| well | yes | 0.50 | nothing | two / times |"


def test_a_case_that_fails_is_told_as_such_and_fails_the_test(case, rows):
    with pytest.raises(ZeroDivisionError), case("badly"):
        raise ZeroDivisionError("no")
    assert (rows()[0].survived, rows()[0].remark) == ("no", "ZeroDivisionError: no")


def test_a_case_must_say_what_was_lost(case, rows):
    with pytest.raises(AssertionError, match="what was lost"), case("silent"):
        pass
    assert rows()[0].survived == "no"


def test_a_case_that_cannot_be_run_says_why(case, rows):
    with pytest.raises(pytest.skip.Exception), case("elsewhere"):
        pytest.skip("no such machine")
    assert (rows()[0].survived, rows()[0].remark) == ("not run", "no such machine")


def test_counts(counts, monkeypatch):
    from tests.faults import conftest

    monkeypatch.setattr(conftest, "FULL", True)
    assert counts(reduced=3, full=5) == 5
    monkeypatch.setattr(conftest, "FULL", False)
    assert counts(reduced=3, full=5) == 3
