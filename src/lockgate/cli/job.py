"""The CI job that a command runs in."""

from collections.abc import Mapping

_LONGEST = 2_000


def job_url(environment: Mapping[str, str]) -> str | None:
    """Return where people see the job: in GitLab CI, GitHub Actions or Jenkins; None where that is unknown.

    Args:
        environment: The variables that the job has.
    """
    url = environment.get("CI_JOB_URL") or _of_github(environment) or environment.get("BUILD_URL") or ""
    return url if url.startswith(("https://", "http://")) and len(url) <= _LONGEST else None


def _of_github(environment: Mapping[str, str]) -> str | None:
    parts = [environment.get(name) for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    if not all(parts):
        return None
    server, repository, run = parts
    attempt = environment.get("GITHUB_RUN_ATTEMPT")
    return f"{server}/{repository}/actions/runs/{run}" + (f"/attempts/{attempt}" if attempt else "")
