# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config_tree through ansible-playbook: a role on this host, with templates, handlers, validators and secrets."""

from __future__ import annotations

import dataclasses
import grp
import json
import os
import pathlib
import pwd
import secrets
import stat
import subprocess
import sys
import typing as t

import pytest

SECRET = "Sentinel" + secrets.token_hex(8)
ME = {"owner": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name}
HANDLERS = [
    {"name": "restart a", "ansible.builtin.debug": {"msg": "a"}},
    {"name": "restart b", "listen": "topic b", "ansible.builtin.debug": {"msg": "b"}},
    {"name": "restart c", "ansible.builtin.debug": {"msg": "c"}},
    {"name": "always said", "ansible.builtin.debug": {"msg": "task"}},
]


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its exit status, the result of each task and handler by name, and all that it printed."""

    status: int
    results: dict[str, dict[str, t.Any]]
    output: str

    @property
    def result(self) -> dict[str, t.Any]:
        """What config_tree returned."""
        return self.results["Write"]

    @property
    def handlers(self) -> list[str]:
        """The handlers that ran, in order."""
        return [name for name in self.results if name in {handler["name"] for handler in HANDLERS}]


class Project:
    """A playbook with one role, ``demo``, that writes below ``out``."""

    def __init__(self, folder: pathlib.Path) -> None:
        """Keep everything in ``folder``."""
        self.folder, self.out, self.state = folder, folder / "out", folder / "state"
        self.out.mkdir()
        for name in ("tasks", "handlers", "templates"):
            (folder / "roles/demo" / name).mkdir(parents=True)
        self._dump("roles/demo/handlers/main.yml", HANDLERS)

    def _dump(self, path: str, content: t.Any) -> None:
        (self.folder / path).write_text(json.dumps(content))

    def template(self, name: str, text: str) -> None:
        """Write a template of the role."""
        (self.folder / "roles/demo/templates" / name).write_text(text)

    def file(self, dest: str, **entry: t.Any) -> dict[str, t.Any]:
        """An entry below ``out`` that belongs to whoever runs the tests."""
        owned = ME if entry.get("state", "file") in ("file", "directory") else {}
        return {"dest": f"{self.out}/{dest}", **owned, **entry}

    def argv(self, *arguments: str) -> list[str]:
        """The command that runs the playbook."""
        return [str(pathlib.Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", *arguments, str(self.folder / "play.yml")]

    def run(
        self,
        files: t.Any,
        *arguments: str,
        task: dict[str, t.Any] | None = None,
        variables: dict[str, t.Any] | None = None,
        text: bool = False,
        prefix: t.Sequence[str] = (),
        before: t.Sequence[dict[str, t.Any]] = (),
        **options: t.Any,
    ) -> Run:
        """Run the role with one config_tree task.

        Args:
            files: its option ``files``.
            arguments: for ansible-playbook.
            task: keywords of the task.
            variables: variables of the play.
            text: whether the output is what a person sees; the results are empty then.
            prefix: a command that runs the command.
            before: tasks that come first.
            options: further options of config_tree.
        """
        module = {"name": "demo", "state_dir": str(self.state), "files": files, **options}
        self._dump("roles/demo/tasks/main.yml", [*before, {"name": "Write", "mainstay.ops.config_tree": module, **(task or {})}])
        play = {
            "name": "Play",
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "roles": ["demo"],
            "vars": {"ansible_python_interpreter": sys.executable, **(variables or {})},
        }
        self._dump("play.yml", [play])
        environment = {
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_DEPRECATION_WARNINGS": "1",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default" if text else "ansible.posix.json",
        }
        done = subprocess.run(
            [*prefix, *self.argv(*arguments)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.folder,
            check=False,
        )
        output = done.stdout + done.stderr
        assert "DEPRECATION" not in output, output
        results = {}
        if not text:
            plays = json.loads(done.stdout[done.stdout.index("{") :])["plays"]
            results = {task["task"]["name"].removeprefix("demo : "): task["hosts"]["localhost"] for play in plays for task in play["tasks"]}
        return Run(done.returncode, results, output)

    def look(self) -> dict[str, t.Any]:
        """What is below ``out``: mode and content, or target."""
        found: dict[str, t.Any] = {}
        for path in sorted(self.out.rglob("*")):
            mode = f"{stat.S_IMODE(path.lstat().st_mode):04o}"
            found[str(path.relative_to(self.out))] = os.readlink(path) if path.is_symlink() else (mode, None if path.is_dir() else path.read_text())
        return found


@pytest.fixture
def project(tmp_path: pathlib.Path) -> Project:
    """An empty project."""
    return Project(tmp_path)


def a_tree(project: Project) -> list[dict[str, t.Any]]:
    """One entry of each kind, each with a topic."""
    return [
        project.file("app.conf", src="app.conf.j2", notify=["restart a", "topic b"]),
        project.file("key", content="{{ secret }}\n", mode="0600", sensitive=True, notify="restart c"),
        project.file("conf.d", state="directory", mode="0750"),
        project.file("conf.d/one", content="port {{ port }}\n", notify=["restart a"]),
        project.file("current", state="link", target="conf.d"),
        project.file("old", state="absent"),
    ]


KEYS = ("changed", "actions", "changed_files", "files", "notify", "generation", "diff", "validators")
VARIABLES = {"port": 8000, "secret": SECRET}


def both(project: Project, files: t.Any, **options: t.Any) -> Run:
    """Check, then run for real: the check changes nothing and says exactly what the real run does."""
    before = project.look()
    check = project.run(files, "--check", **options)
    assert project.look() == before
    real = project.run(files, **options)
    assert check.status == real.status == 0, check.output + real.output
    assert {key: check.result[key] for key in KEYS} == {key: real.result[key] for key in KEYS}
    assert check.handlers == real.handlers
    return real


def test_create_repeat_change_repeat(project: Project) -> None:
    """Check equals real each time, and a second run has nothing to do."""
    project.template("app.conf.j2", "# {{ ansible_managed }}\n{% if port %}\nlisten {{ port }}\n{% endif %}\n")
    (project.out / "old").write_text("old")
    files = a_tree(project)
    names = ["app.conf", "key", "conf.d", "conf.d/one", "current"]

    first = both(project, files, variables=VARIABLES)
    assert first.result["changed"] is True
    assert first.result["changed_files"] == [f"{project.out}/{name}" for name in [*names, "old"]]
    assert [item["change"] for item in first.result["files"]] == ["created"] * 5 + ["removed"]
    assert first.result["notify"] == ["restart a", "topic b", "restart c"]
    assert first.result["generation"] == 1
    assert first.result["actions"][-1] == f"remove {project.out}/old"
    assert project.look() == {
        "app.conf": ("0644", "# Ansible managed\nlisten 8000\n"),
        "key": ("0600", f"{SECRET}\n"),
        "conf.d": ("0750", None),
        "conf.d/one": ("0644", "port 8000\n"),
        "current": "conf.d",
    }

    again = both(project, files, variables=VARIABLES)
    assert again.result["changed"] is False
    assert {key: again.result[key] for key in ("actions", "changed_files", "notify", "diff")} == {"actions": [], "changed_files": [], "notify": [], "diff": []}
    assert {item["change"] for item in again.result["files"]} == {"unchanged"}
    assert again.handlers == []

    (project.out / "key").chmod(0o644)
    changed = both(project, files, variables={**VARIABLES, "port": 9000})
    assert [item["change"] for item in changed.result["files"]] == ["modified", "mode", "unchanged", "modified", "unchanged", "unchanged"]
    assert changed.result["generation"] == 2
    assert changed.result["diff"][0] == {
        "before_header": f"{project.out}/app.conf",
        "after_header": f"{project.out}/app.conf",
        "before": "# Ansible managed\nlisten 8000\n",
        "after": "# Ansible managed\nlisten 9000\n",
    }
    assert project.look()["conf.d/one"] == ("0644", "port 9000\n")
    assert both(project, files, variables={**VARIABLES, "port": 9000}).result["changed"] is False


@pytest.mark.parametrize(
    ("port", "secret", "ran"),
    [(9000, SECRET, ["restart a", "restart b"]), (8000, "other", ["restart c"]), (8000, SECRET, [])],
    ids=["the port", "the secret", "nothing"],
)
def test_handlers_of_what_changed(project: Project, port: int, secret: str, ran: list[str]) -> None:
    """By name and by ``listen``, in the role, only for files that changed, in check mode too; the task's own ``notify`` is kept."""
    project.template("app.conf.j2", "listen {{ port }}\n")
    files = a_tree(project)
    project.run(files, variables=VARIABLES)
    run = both(project, files, variables={"port": port, "secret": secret}, task={"notify": "always said"})
    assert run.handlers == (ran + ["always said"] if ran else [])


def test_handlers_of_a_loop(project: Project) -> None:
    """Each item notifies for itself; a topic that nobody listens to is an error."""
    topics = "{{ {'a': 'restart a', 'b': 'topic b', 'c': 'nobody listens'}[item] }}"
    files = [{**project.file("{{ item }}", content="x"), "notify": topics}]
    (project.out / "a").write_text("x")
    assert project.run(files, task={"loop": ["a", "b"]}, name="{{ item }}").handlers == ["restart b"]
    run = project.run(files, task={"loop": ["a", "b", "c"]}, name="{{ item }}", text=True)
    assert run.status != 0
    assert "The requested handler 'nobody listens' was not found" in run.output


RENDERED = {
    "data.j2": '{"port": [{{ port }}, 2]}\n',
    "bare.j2": "{{ port }}",
    "backslash.j2": 'back\\nslash {{ "\\\\n" }} \\1\n\n\n',
    "header.j2": "#jinja2: lstrip_blocks: True\n{% for i in [1] %}\n   {% if i %}\n  v{{ i }}\n   {% endif %}\n{% endfor %}\n{% include 'bare.j2' %}\n",
    "facts.j2": "{{ template_path }} {{ template_fullpath }} {{ ansible_managed }} {{ none_given | default('-') }} \u00e9\n",
}


def test_templates_render_as_the_builtin_module_renders_them(project: Project) -> None:
    """Byte for byte: whitespace, headers, includes, data that looks like data, template variables."""
    for name, text in RENDERED.items():
        project.template(name, text)
    (project.out / "builtin").mkdir()
    builtin = {"name": "Builtin", "ansible.builtin.template": {"src": "{{ item }}", "dest": f"{project.out}/builtin/{{{{ item }}}}"}, "loop": list(RENDERED)}
    files = [project.file(f"ours/{name}", src=name) for name in RENDERED]
    run = project.run(files, before=[builtin], variables=VARIABLES, parents=True)
    assert run.status == 0, run.output
    for name in RENDERED:
        assert (project.out / "ours" / name).read_bytes() == (project.out / "builtin" / name).read_bytes(), name


def test_one_template_for_several_files(project: Project) -> None:
    """``vars`` of an entry, and ``ansible_managed`` of the inventory."""
    project.template("slot.j2", "{{ ansible_managed }} {{ slot }} {{ port }}\n")
    files = [project.file(slot, src="slot.j2", vars={"slot": slot}) for slot in ("blue", "green")]
    project.run(files, variables={**VARIABLES, "ansible_managed": "Ours"})
    assert project.look() == {"blue": ("0644", "Ours blue 8000\n"), "green": ("0644", "Ours green 8000\n")}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"src": "undefined.j2"}, ["undefined.j2", "/out/x", "'nosuch' is undefined"]),
        ({"src": "syntax.j2"}, ["syntax.j2", "/out/x", "Syntax error"]),
        ({"src": "missing.j2"}, ["missing.j2", "/out/x", "Could not find"]),
        ({"content": "x", "mode": 420}, ["/out/x", "420", "0644"]),
        ({"content": "x", "contnet": "y"}, ["/out/x", "unknown key contnet"]),
        ({"content": "x", "src": "good.j2"}, ["/out/x", "exclude"]),
        ({}, ["/out/x", "neither src nor content"]),
    ],
)
def test_mistakes_are_found_on_the_controller(project: Project, entry: dict[str, t.Any], words: list[str]) -> None:
    """One error that names the file; nothing is sent to the host, so the good entries are not written either."""
    project.template("undefined.j2", "x {{ nosuch.thing }}\n")
    project.template("syntax.j2", "{% if %}")
    run = project.run([project.file("good", content="x"), project.file("x", **entry)], "-vvv")
    assert run.status != 0
    for word in words:
        assert word in run.result["msg"]
    assert "EXEC" not in run.output
    assert project.look() == {}


@pytest.mark.parametrize(
    "options", [{"filse": []}, {"name": None}, {"validators": [{"argv": []}]}, {"name": "../x"}, {"keep_generations": "many"}, {"payload": "x"}]
)
def test_wrong_options(project: Project, options: dict[str, t.Any]) -> None:
    """They fail before anything is written."""
    run = project.run([project.file("good", content="x")], **options)
    assert run.status != 0
    assert run.result["failed"]
    assert project.look() == {}


def test_one_execution_whatever_changes(project: Project) -> None:
    """Over pipelining, for many files, changed or not."""
    files = [project.file(str(number), content="{{ port }}") for number in range(30)]
    for changed in (True, False):
        run = project.run(files, "-vvv", variables=VARIABLES, text=True)
        assert f"changed={int(changed)} " in run.output
        assert run.output.count("EXEC ") == 1, run.output


SYNTAX = [{"argv": ["sh", "-n", "{stage}{{ out }}/script"], "when_changed": ["*/script"]}]


def test_a_validator_keeps_a_bad_file_out(project: Project) -> None:
    """The shell itself judges a script: the bad one is refused in check mode and in a real run, all files stay as they were."""
    variables = {"out": str(project.out)}
    good = [project.file("script", content="if true; then echo 1; fi\n", mode="0755"), project.file("other", content="1")]
    first = both(project, good, validators=SYNTAX, variables=variables)
    assert first.result["validators"] == [{"argv": ["sh", "-n", f"{{stage}}{project.out}/script"], "result": "passed"}]
    assert first.result["actions"][0] == f"validate with sh -n '{{stage}}{project.out}/script'"
    before = project.look()
    bad = [project.file("script", content="if true; then echo 1\n", mode="0755", notify="restart a"), project.file("other", content="2")]
    for flags in (["--check"], []):
        run = project.run(bad, *flags, validators=SYNTAX, variables=variables)
        assert run.status != 0
        assert "nothing on the host was changed" in run.result["msg"]
        assert "sh -n" in run.result["msg"] and "ended with status 2" in run.result["msg"] and "Syntax error" in run.result["msg"]
        assert run.result["rc"] == 2 and "stage-" not in run.result["stderr"]
        assert run.handlers == []
        assert project.look() == before
    assert sorted(path.name for path in (project.state / "demo").iterdir()) == ["generations", "lock"]
    other = both(project, [good[0], bad[1]], validators=SYNTAX, variables=variables)
    assert other.result["validators"] == []
    assert other.result["actions"] == [f"update file {project.out}/other"]


def test_a_bare_host(project: Project) -> None:
    """In check mode users, groups, folders and validators may be missing; a real run names them and writes nothing."""
    files = [project.file("ok", content="x"), project.file("deep/x", content="x", owner="no-such-user", group="no-such-group")]
    validators = [{"argv": ["no-such-program"]}]
    check = project.run(files, "--check", validators=validators)
    assert check.status == 0, check.output
    assert check.result["changed_files"] == [f"{project.out}/ok", f"{project.out}/deep/x"]
    assert check.result["validators"] == [{"argv": ["no-such-program"], "result": "not_installed"}]
    real = project.run(files, validators=validators)
    assert real.status != 0
    for word in ("no-such-user", "no-such-group", f"{project.out}/deep", "nothing was changed"):
        assert word in real.result["msg"]
    missing = project.run(files[:1], validators=validators)
    assert "the program no-such-program is not installed" in missing.result["msg"]
    assert project.look() == {}


def test_a_swap_that_fails_is_undone(project: Project) -> None:
    """A file that is a mount point cannot be renamed over: the files before it in the list are put back."""
    names = ["a", "b", "c"]
    project.run([project.file(name, content="1") for name in names])
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    mount = f'mount --bind {project.out}/b {project.out}/b && exec "$@"'
    prefix = ["unshare", "--mount", *user, "sh", "-c", mount, "sh"]
    before = project.look()
    run = project.run([project.file(name, content="2", notify="restart a") for name in names] + [project.file("new", content="2")], prefix=prefix)
    assert run.status != 0
    assert "Device or resource busy" in run.result["msg"] and "all files are as they were before" in run.result["msg"]
    assert project.look() == before
    assert run.handlers == []
    assert [path.name for path in (project.state / "demo/generations").iterdir()] == ["1"]


def found_in(folder: pathlib.Path, word: str) -> list[pathlib.Path]:
    """The files below a folder that hold a word."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and word in path.read_text(errors="replace")]


def test_secrets_stay_where_they_belong(project: Project, tmp_path: pathlib.Path) -> None:
    """At the highest useful verbosity, with a diff, created, changed, repeated, refused: no output shows the secret, and no helper file keeps it."""
    project.template("env.j2", "PASSWORD={{ secret }}\n")
    files = [project.file("env", src="env.j2", mode="0600", sensitive=True), project.file("key", content="{{ secret }}", mode="0600", sensitive=True)]
    complain = [{"argv": ["sh", "-c", "cat {stage}{{ out }}/env {stage}{{ out }}/key >&2; exit {{ status }}"]}]
    secret_file = tmp_path / "vars.json"
    states = []
    for secret, status in ((SECRET + "Old", 0), (SECRET, 1), (SECRET, 0), (SECRET, 0)):
        secret_file.write_text(json.dumps({"secret": secret}))
        for flags in (["--check"], []):
            run = project.run(
                files,
                "-vvv",
                "--diff",
                "-e",
                f"@{secret_file}",
                *flags,
                text=secret == SECRET or not flags,
                validators=complain,
                variables={"out": str(project.out), "status": status},
            )
            states.append(run.status)
            assert SECRET not in run.output, run.output
    assert states == [0, 0, 2, 2, 0, 0, 0, 0]
    assert (project.out / "key").read_text() == SECRET
    shown = project.run([project.file("key", content="x", sensitive=True)], "--diff", text=True)
    assert "-(sensitive: previous content not shown)" in shown.output and "+(sensitive: new content not shown)" in shown.output
    secret_file.unlink()
    kept = found_in(project.state, SECRET)
    assert len(kept) == 3  # both old ones, and the key that the last run replaced
    for path in kept:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((project.state / "demo").stat().st_mode) == 0o700
    assert found_in(project.folder, SECRET) and set(found_in(project.folder, SECRET)) == {*kept, project.out / "env"}
    assert not list(pathlib.Path("/run").glob("mainstay-stage-*"))
