from __future__ import annotations

import pytest

from chanc.report.record import read_record
from chanc.report.sections import sections


@pytest.fixture
def record(runs, tmp_path):
    return read_record(runs.write_run(tmp_path / "run", groups=6, trials=8, epochs=2))


@pytest.fixture
def plots_of():
    """The plots of a record's report, by name."""
    return lambda record: {plot.id: plot for section in sections(record) for plot in section.plots}
