"""The workflows: what matters in them that no schema and no linter knows. The longer scripts are run on stand-ins."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from measure.base.exits import EXIT_CLAIM_FAILED, EXIT_DRIFT, EXIT_NOT_MEASURED

ROOT = Path(__file__).parent.parent
TEXTS = {path.name: path.read_text() for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
# The only jobs that may write, and what.
PROPOSE, PUBLISH = ("refresh.yml", "propose"), ("release.yml", "publish")
WRITES = {PROPOSE: {"contents": "write", "pull-requests": "write"}, PUBLISH: {"id-token": "write"}}
READS = {"contents": "read"}
CHOSEN = {"EXPRESSION": "olmo and `x`", "MODELS": "auto"}

Tree = dict[str, Any]


def workflow(name: str) -> Tree:
    tree: Tree = yaml.safe_load(TEXTS[name])
    tree["on"] = tree.pop(True)  # YAML 1.1 takes the key `on` for true
    return tree


def jobs() -> Iterator[tuple[str, str, Tree]]:
    for name in TEXTS:
        for job, tree in workflow(name)["jobs"].items():
            yield name, job, tree


def steps() -> Iterator[tuple[str, str, Tree]]:
    for name, job, tree in jobs():
        for step in tree["steps"]:
            yield name, job, step


def script(name: str, job: str, step: str) -> str:
    [found] = [tree["run"] for tree in workflow(name)["jobs"][job]["steps"] if tree.get("name") == step]
    return found


def bash(code: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a step's script as the runner does with `shell: bash`."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", code]
    return subprocess.run(command, cwd=folder, env=os.environ | env, capture_output=True, text=True, check=False)


def allowed(condition: str, github: Mapping[str, str]) -> bool:
    """A job's `if:` for one event; what an event does not have is empty, as on GitHub."""
    code = condition.replace("&&", "and").replace("||", "or")
    return bool(eval(re.sub(r"github\.([\w.]+)", lambda found: repr(github.get(found[1], "")), code)))


def test_the_workflows_are_found() -> None:
    assert sorted(TEXTS) == ["ci.yml", "gpu.yml", "refresh.yml", "release.yml"]


def test_no_trigger_gives_rights_to_a_forks_code() -> None:
    for name in TEXTS:
        assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(workflow(name)["on"]), name


def test_our_own_runner_never_runs_a_forks_code() -> None:
    on = workflow("gpu.yml")["on"]
    assert set(on) == {"workflow_dispatch", "schedule", "pull_request"}
    assert on["pull_request"] == {"types": ["labeled"]}
    condition = workflow("gpu.yml")["jobs"]["measure"]["if"]
    ours = {"event_name": "pull_request", "repository": "we/ours", "event.pull_request.head.repo.full_name": "we/ours"}
    fork = ours | {"event.pull_request.head.repo.full_name": "you/ours"}
    deleted = ours | {"event.pull_request.head.repo.full_name": ""}
    gpu, other = {"event.label.name": "gpu"}, {"event.label.name": "bug"}
    assert all(allowed(condition, {"event_name": event}) for event in ("schedule", "workflow_dispatch"))
    assert allowed(condition, ours | gpu)
    assert not any(allowed(condition, event) for event in (fork | gpu, deleted | gpu, ours | other, ours))
    for name, job, tree in jobs():
        if "self-hosted" in tree["runs-on"]:
            triggers = set(workflow(name)["on"])
            assert name == "gpu.yml" or triggers == {"workflow_dispatch"}, f"{name}: {job} on {triggers}"


def test_few_jobs_may_write_and_they_run_nothing_of_ours() -> None:
    for name in TEXTS:
        assert workflow(name)["permissions"] == READS, name
    for name, job, tree in jobs():
        assert tree.get("permissions", READS) == WRITES.get((name, job), READS), f"{name}: {job}"
    for name, job, step in steps():
        if (name, job) in WRITES:
            assert not re.search(r"\.venv|\bmake |python|\bpip ", step.get("run", "")), step
    assert "self-hosted" not in workflow("refresh.yml")["jobs"]["propose"]["runs-on"]


def test_scripts_take_inputs_and_events_from_the_environment() -> None:
    for name, job, step in steps():
        assert "${{" not in step.get("run", ""), f"{name}: {job}: {step.get('name')}"


def test_actions_are_pinned_and_leave_no_credentials() -> None:
    pins: dict[str, set[str]] = {}
    for name, text in TEXTS.items():
        for line in text.splitlines():
            if "uses:" in line:
                found = re.fullmatch(r" *(?:- )?uses: ([\w/-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)", line)
                assert found, f"{name}: {line}"
                pins.setdefault(found[1], set()).add(found[2])
    assert [action for action, found in pins.items() if len(found) > 1] == []
    for name, _, step in steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}, name


def test_the_hubs_token_is_for_fetching_and_measuring_is_offline() -> None:
    for name, job, step in steps():
        run, where = step.get("run", ""), f"{name}: {job}: {step.get('name')}"
        assert ("HF_TOKEN" in str(step)) == ("measure fetch" in run), where
        if re.search(r"bin/pytest|measure refresh -k \"", run):
            assert step["env"]["HF_HUB_OFFLINE"] == "1", where
    assert all("HF_TOKEN" not in str(tree.get("env")) for _, _, tree in jobs())
    assert all("HF_TOKEN" not in str(workflow(name).get("env")) for name in TEXTS)


def test_each_exit_status_is_told_apart(tmp_path: Path) -> None:
    code = script("gpu.yml", "measure", "Say what the exit status means")
    titles = {EXIT_CLAIM_FAILED: "claim failed", EXIT_DRIFT: "drift"}
    titles |= {EXIT_NOT_MEASURED: "could not be measured", "": "no result", 4: "pytest ended with 4"}
    for status, title in titles.items():
        assert f"::error title={title}::" in bash(code, tmp_path, STATUS=str(status)).stdout
    assert bash(code, tmp_path, STATUS="0").stdout == ""


def test_the_exit_status_is_kept_and_fails_the_step(tmp_path: Path) -> None:
    pytest_stand_in = tmp_path / ".venv" / "bin" / "pytest"
    pytest_stand_in.parent.mkdir(parents=True)
    for status in (0, 10):
        pytest_stand_in.write_text(f"#!/bin/sh\nexit {status}\n")
        pytest_stand_in.chmod(0o755)
        noted = tmp_path / f"{status}.txt"
        done = bash(script("gpu.yml", "measure", "Measure"), tmp_path, GITHUB_OUTPUT=str(noted), **CHOSEN)
        assert (done.returncode, noted.read_text()) == (status, f"status={status}\n")


def test_the_page_of_a_gpu_run_is_made_whatever_it_found_and_kept() -> None:
    names = [step.get("name") for step in workflow("gpu.yml")["jobs"]["measure"]["steps"]]
    places = [names.index(name) for name in ("Measure", "Draw the page and the figures", "Keep the reports")]
    assert places == sorted(places)
    [drawn] = [step for step in workflow("gpu.yml")["jobs"]["measure"]["steps"] if names[places[1]] == step.get("name")]
    assert "!cancelled()" in drawn["if"]
    assert drawn["run"].startswith(".venv/bin/measure report --figures")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with two baselines, whose `measure` moves one, makes one and reports; `gh` notes what it is asked."""
    for name, value in {"HOME": tmp_path, "GIT_CONFIG_GLOBAL": "/dev/null", "RUNNER_TEMP": tmp_path}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("GITHUB_OUTPUT", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_STEP_SUMMARY"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    for name, value in {"GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_REF_NAME": "main"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}:{os.environ['PATH']}")
    clone = tmp_path / "clone"
    for path, text in {
        tmp_path / "tools" / "gh": f'#!/bin/sh\nprintf "%s\\n" "$*" >> {tmp_path}/gh.txt\n',
        clone / ".venv" / "bin" / "measure": '#!/bin/sh\n. ./wanted; echo "the table"; exit "$status"\n',
        clone / "baselines" / "suite" / "a.json": "1\n",
        clone / "README.md": "ours\n",
        clone / ".gitignore": ".venv/\nwanted\n",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    setting_up = """
        git init --quiet --bare ../origin && git init --quiet --initial-branch main && git add .
        git -c user.name=us -c user.email=us@ours commit --quiet --message first
        git remote add origin ../origin && git push --quiet origin main"""
    assert bash(setting_up, clone).returncode == 0
    return clone


def outputs(clone: Path) -> dict[str, str]:
    path = clone.parent / "github_output"
    return dict(line.split("=", 1) for line in path.read_text().splitlines()) if path.exists() else {}


@pytest.mark.parametrize("status", ["0", "1"])
def test_a_refresh_proposes_baselines_alone_on_a_branch_of_its_own(clone: Path, status: str) -> None:
    (clone / "wanted").write_text(
        f"status={status}; echo 2 > baselines/suite/a.json; echo 3 > baselines/suite/b.json; echo theirs > README.md"
    )
    done = bash(script("refresh.yml", "measure", "Measure"), clone, **CHOSEN)
    assert (done.returncode, outputs(clone)) == (0, {"status": status, "changed": "true"}), done.stderr
    # A patch that holds more than baselines.
    assert bash("git diff -- README.md >> ../refresh/baselines.patch; git reset --quiet --hard", clone).returncode == 0
    done = bash(script("refresh.yml", "propose", "Open a pull request"), clone, STATUS=status, **CHOSEN)
    assert done.returncode == 0, done.stderr
    look = "git branch --format='%(refname:short)'; git diff --name-only main refresh-7-1; git log --format=%s main"
    assert bash(look, clone.parent / "origin").stdout.split() == [
        "main", "refresh-7-1", "baselines/suite/a.json", "baselines/suite/b.json", "first",
    ]  # fmt: skip
    assert "--base main --head refresh-7-1 --title Baselines measured anew: olmo and `x`" in (
        (clone.parent / "gh.txt").read_text()
    )
    first, *text = (clone.parent / "text.md").read_text().splitlines()
    assert first.startswith(
        "No verdict among the chosen tests has fallen" if status == "0" else "**A claim's verdict has fallen"
    )
    assert "    the table" in text


@pytest.mark.parametrize(
    ("status", "said"),
    [("0", {"status": "0", "changed": "false"}), ("1", {"status": "1", "changed": "false"}), ("2", {})],
)
def test_a_refresh_without_change_proposes_nothing(clone: Path, status: str, said: dict[str, str]) -> None:
    (clone / "wanted").write_text(f"status={status}")
    done = bash(script("refresh.yml", "measure", "Measure"), clone, **CHOSEN)
    assert (done.returncode, outputs(clone)) == (0 if said else int(status), said)
    assert ("::notice title=no change::" in done.stdout) == bool(said)


def test_nothing_else_pushes_and_a_fallen_verdict_fails_the_run(tmp_path: Path) -> None:
    assert workflow("refresh.yml")["on"].keys() == {"workflow_dispatch"}
    assert [(name, job) for name, job, step in steps() if "git push" in step.get("run", "")] == [PROPOSE]
    failing = script("refresh.yml", "measure", "Fail where a verdict has fallen")
    assert [bash(failing, tmp_path, STATUS=status).returncode for status in "01"] == [0, 1]
    assert "needs.measure.outputs.changed == 'true'" in workflow("refresh.yml")["jobs"]["propose"]["if"]


@pytest.mark.parametrize(
    ("tag", "heading", "cited", "title"),
    [
        ("v0.2.0", "## [0.2.0] - 2026-12-01", "0.2.0", ""),
        ("v0.2.1", "## [0.2.0] - 2026-12-01", "0.2.0", "tag"),
        ("v0.2.0", "## [0.2.0] - unreleased", "0.2.0", "changelog"),
        ("v0.2.0", "## [0.2.0] - 2026-12-01", "0.1.0", "citation"),
    ],
)
def test_a_release_has_one_version(tmp_path: Path, tag: str, heading: str, cited: str, title: str) -> None:
    hatchling = tmp_path / ".venv" / "bin" / "hatchling"
    hatchling.parent.mkdir(parents=True)
    hatchling.write_text("#!/bin/sh\necho 0.2.0\n")
    hatchling.chmod(0o755)
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n")
    (tmp_path / "CITATION.cff").write_text(f"cff-version: 1.2.0\nversion: {cited}\n")
    done = bash(script("release.yml", "build", "The tag is the version"), tmp_path, GITHUB_REF_NAME=tag)
    assert done.returncode == (1 if title else 0)
    assert done.stdout.startswith(f"::error title={title}::" if title else "")


def test_a_release_is_published_by_a_tag_alone_and_without_a_token() -> None:
    release = workflow("release.yml")
    assert release["on"] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}}
    publish = release["jobs"]["publish"]
    assert (publish["needs"], publish["environment"]) == ("build", "pypi")
    assert [step["uses"].partition("@")[0] for step in publish["steps"]] == [
        "actions/download-artifact",
        "pypa/gh-action-pypi-publish",
    ]
    assert "secrets." not in TEXTS["release.yml"]
    # What another run left must not get into a release.
    assert "cache" not in str([step.get("with") for step in release["jobs"]["build"]["steps"]])
