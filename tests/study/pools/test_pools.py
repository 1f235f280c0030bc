from __future__ import annotations

from chanc.study.pools import Job, attempt


def test_attempts_tell_what_went_wrong(jobs, tmp_path) -> None:
    def tell(function) -> str:
        return attempt(Job("x", function, (str(tmp_path / "x"),)))

    assert tell(jobs.write) == ""
    assert tell(lambda path: (_ for _ in ()).throw(SystemExit(0))) == ""
    assert tell(jobs.fail) == "ended with exit code 3"
    assert tell(jobs.told) == "ValueError: no luck"
    assert tell(jobs.raises) == f"KeyError: '{tmp_path / 'x'}'"
