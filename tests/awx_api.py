# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the API of AWX, which runs on Kubernetes alone: lists, objects, associations, surveys and approvals, as the modules of awx.awx use them.

It refuses what AWX refuses: a login without the token, a name that there is already, a playbook that the project does not hold, a survey that is not one,
an answer to a question that does not fit it. It shows no secret. It runs no job.
"""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import pathlib
import threading
import typing as t
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[1]
TOKEN = "token-of-the-tests"
UNIFIED = {"job_templates": "job_template", "projects": "project", "workflow_job_templates": "workflow_job_template"}
SECRET = {"ssh_key_data", "vault_password", "password", "identity", "key", "secret_id"}
# What an approval has; further fields are ignored.
APPROVAL = ("name", "description", "timeout")
# The types of questions, and of their defaults.
QUESTIONS = {"text": str, "textarea": str, "password": str, "multiplechoice": str, "multiselect": str, "integer": int, "float": (float, int)}


class Refused(Exception):
    """A request that AWX answers with a status and a reason."""

    def __init__(self, status: int, body: dict[str, t.Any]) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


def survey_problem(survey: dict[str, t.Any]) -> str:
    """Why AWX refuses a survey; empty if it does not."""
    if not all(isinstance(survey.get(key), kind) for key, kind in (("name", str), ("description", str), ("spec", list))) or not survey["spec"]:
        return "name, description and spec are needed, and a question"
    if len({question["variable"] for question in survey["spec"]}) != len(survey["spec"]):
        return "a variable is asked for twice"
    for question in survey["spec"]:
        for key, kind in (("type", str), ("question_name", str), ("variable", str), ("required", bool)):
            if not isinstance(question.get(key), kind):
                return f"{question.get('variable')}: {key} is not as it must be"
        default = question.get("default", "")
        if default != "" and not isinstance(default, QUESTIONS[question["type"]]):
            return f"{question['variable']}: the default is not as the question"
        if question["type"] in ("multiplechoice", "multiselect"):
            chosen = default.splitlines()
            if [answer for answer in chosen if answer not in question["choices"]] or len(chosen) > 1 and question["type"] == "multiplechoice":
                return f"{question['variable']}: the default is no choice"
    return ""


class Api:
    """What AWX holds.

    Attributes:
        objects: the objects of each kind by their number.
        writes: every request that changed something, as method and path.
    """

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.objects: dict[str, dict[int, dict[str, t.Any]]] = {}
        self.associations: dict[str, list[int]] = {}
        self.surveys: dict[str, dict[str, t.Any]] = {}
        self.writes: list[str] = []
        for name in ("Machine", "Vault", "Amazon Web Services"):
            self.add("credential_types", {"name": name})

    def named(self, kind: str) -> dict[str, dict[str, t.Any]]:
        """The objects of a kind by name."""
        return {entry["name"]: entry for entry in self.objects.get(kind, {}).values()}

    def add(self, kind: str, data: dict[str, t.Any]) -> dict[str, t.Any]:
        """Make an object."""
        there = self.objects.setdefault(kind, {})
        if "name" in data and [entry for entry in there.values() if entry.get("name") == data["name"]]:
            raise Refused(400, {"__all__": [f"{kind} with this name already exists."]})
        if kind == "job_templates" and not (ROOT / data["playbook"]).is_file():
            raise Refused(400, {"playbook": ["Playbook not found for project."]})
        number = next(self.numbers)
        url = f"/api/v2/{kind}/{number}/"
        related = {"survey_spec": f"{url}survey_spec/"}
        there[number] = {**data, "id": number, "url": url, "type": UNIFIED.get(kind, kind), "related": related, "summary_fields": {}}
        if kind == "projects":
            # AWX fetches a new project by itself.
            update = self.add("project_updates", {"status": "successful"})
            return {**there[number], "scm_revision": "", "summary_fields": {"current_update": {"id": update["id"]}}}
        return there[number]

    def get(self, parts: list[str], query: dict[str, str]) -> t.Any:
        """Answer a read: a list, an object, or what hangs on one."""
        if len(parts) == 1:
            kinds = UNIFIED if parts[0] == "unified_job_templates" else [parts[0]]
            entries = [entry for kind in kinds for entry in self.objects.get(kind, {}).values()]
            filters = {key: value for key, value in query.items() if key not in ("page_size", "page")}
            return self.list_of([entry for entry in entries if all(str(entry.get(key)) == value for key, value in filters.items())])
        entry = self.entry(parts)
        if len(parts) == 2:
            return self.shown(entry)
        if parts[2] == "survey_spec":
            return self.surveys.get(entry["url"], {})
        return self.list_of([{"id": number} for number in self.associations.get("/".join(parts), [])])

    def entry(self, parts: list[str]) -> dict[str, t.Any]:
        """The object that a path names."""
        try:
            return self.objects[parts[0]][int(parts[1])]
        except (KeyError, ValueError):
            raise Refused(404, {"detail": "Not found."}) from None

    def list_of(self, entries: list[dict[str, t.Any]]) -> dict[str, t.Any]:
        """A page with all of it."""
        return {"count": len(entries), "next": None, "previous": None, "results": [self.shown(entry) for entry in entries]}

    def shown(self, entry: dict[str, t.Any]) -> dict[str, t.Any]:
        """An object without its secrets."""
        inputs = entry.get("inputs")
        if entry.get("type") != "credentials" or not isinstance(inputs, dict):
            return entry
        return {**entry, "inputs": {key: "$encrypted$" if key in SECRET else value for key, value in inputs.items()}}

    def post(self, parts: list[str], data: dict[str, t.Any]) -> tuple[int, t.Any]:
        """Make an object, or hang something on one."""
        if len(parts) == 1:
            return 201, self.shown(self.add(parts[0], data))
        entry = self.entry(parts)
        if parts[2] == "survey_spec":
            problem = survey_problem(data)
            if problem:
                raise Refused(400, {"error": problem})
            self.surveys[entry["url"]] = data
            return 200, {}
        if parts[2] == "create_approval_template":
            made = self.add("workflow_approval_templates", {key: data[key] for key in APPROVAL if key in data})
            entry["unified_job_template"] = made["id"]
            entry["related"]["unified_job_template"] = made["url"]
            return 201, made
        members = self.associations.setdefault("/".join(parts), [])
        if data.get("disassociate"):
            members.remove(data["id"])
        elif data["id"] not in members:
            members.append(data["id"])
        return 204, None

    def patch(self, parts: list[str], data: dict[str, t.Any]) -> t.Any:
        """Change an object. A secret that is sent back as it is shown stays."""
        entry = self.entry(parts)
        if parts[0] == "workflow_approval_templates":
            data = {key: data[key] for key in APPROVAL if key in data}
        inputs = {key: entry["inputs"][key] if value == "$encrypted$" else value for key, value in data.get("inputs", {}).items()}
        entry.update({**data, **({"inputs": inputs} if "inputs" in data else {})})
        return self.shown(entry)


class Handler(http.server.BaseHTTPRequestHandler):
    """Speaks HTTP for an :class:`Api`."""

    api: t.ClassVar[Api]

    def answer(self) -> None:
        """Answer a request."""
        url = urllib.parse.urlsplit(self.path)
        parts = [part for part in url.path.removeprefix("/api/v2").split("/") if part]
        length = int(self.headers.get("Content-Length") or 0)
        data = json.loads(self.rfile.read(length) or b"{}")
        try:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refused(401, {"detail": "Authentication credentials were not provided."})
            status, body = self.act(parts, dict(urllib.parse.parse_qsl(url.query)), data)
        except Refused as refused:
            status, body = refused.status, refused.body
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-API-Product-Name", "AWX")
        self.send_header("X-API-Product-Version", "24.6.1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def act(self, parts: list[str], query: dict[str, str], data: dict[str, t.Any]) -> tuple[int, t.Any]:
        """Do what is asked for."""
        if self.command == "GET":
            return 200, self.api.get(parts, query)
        self.api.writes.append(f"{self.command} {'/'.join(parts)}")
        return self.api.post(parts, data) if self.command == "POST" else (200, self.api.patch(parts, data))

    do_GET = do_POST = do_PATCH = answer

    def log_message(self, format: str, *args: t.Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving() -> t.Iterator[tuple[str, Api]]:
    """Run the API on loopback: its address, and what it holds."""
    api = Api()
    handler = type("BoundHandler", (Handler,), {"api": api})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
