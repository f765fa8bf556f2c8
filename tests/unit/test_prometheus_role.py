# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role ``prometheus`` takes, and what it refuses before it begins."""

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from prometheus_tree import ROLE, rendered

SPECS = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))


def problems(entry: str, **variables: t.Any) -> str:
    """What is wrong with variables besides the defaults, as Ansible says it when it begins an entry point."""
    options = SPECS[entry]["options"]
    given = {name: content for name, content in {**DEFAULTS, **variables}.items() if name in options and "{{" not in str(content)}
    return "; ".join(ArgumentSpecValidator(options).validate(given).error_messages)


@pytest.mark.parametrize("entry", sorted(SPECS))
def test_the_defaults_are_taken(entry: str) -> None:
    assert problems(entry) == ""


@pytest.mark.parametrize(
    ("entry", "variables", "message"),
    [
        ("main", {"prometheus_thresholds": {"disk_free": 0.2}}, "disk_free"),
        ("main", {"prometheus_thresholds": {"disk_free_ratio": "much"}}, "disk_free_ratio"),
        ("main", {"prometheus_rules": ["stack"]}, "hosts, application, slo"),
        ("main", {"prometheus_slos": [{"name": "a", "objective": 99.0, "bad": "a"}]}, "total"),
        ("main", {"prometheus_remote_write": [{"url": "https://far"}]}, "name"),
        ("main", {"prometheus_probes": [{"module": "https"}]}, "targets"),
        ("alertmanager", {"prometheus_alertmanager_receivers": [{"name": "a", "slack": [{"url": "https://a"}]}]}, "channel"),
        ("alertmanager", {"prometheus_alertmanager_receivers": [{"name": "a", "sms": [{"to": "1"}]}]}, "sms"),
        ("alertmanager", {"prometheus_alertmanager_routes": [{"receiver": "a", "severities": ["page"]}]}, "severities"),
        ("exporters", {"prometheus_exporters": ["windows"]}, "windows"),
    ],
)
def test_what_is_not_right_is_named(entry: str, variables: dict[str, t.Any], message: str) -> None:
    assert message in problems(entry, **variables)


def test_secrets_are_marked() -> None:
    """Every option that is a secret is hidden by Ansible, wherever it stands."""

    def walk(options: dict[str, t.Any]) -> t.Iterator[tuple[str, dict[str, t.Any]]]:
        for name, option in options.items():
            yield name, option
            yield from walk(option.get("options", {}))

    secret = {name for spec in SPECS.values() for name, option in walk(spec["options"]) if option.get("no_log")}
    assert {"password", "token", "routing_key", "prometheus_web_tls_key", "prometheus_exporter_redis_password"} <= secret
    open_ones = [name for spec in SPECS.values() for name, option in walk(spec["options"]) if name in secret and not option.get("no_log") and name != "url"]
    assert open_ones == []


def test_what_does_not_fit_together_is_named(tmp_path: pathlib.Path) -> None:
    """Each problem with what it is about; without a problem there is none."""
    job = {"targets": ["a:1"]}
    far = {"url": "https://far"}
    variables = {
        "prometheus_web_tls_key": "a key",
        "prometheus_web_users": {"jo": "$2b$hash"},
        "prometheus_web_login": {"username": "al"},
        "prometheus_scrape_jobs": [{"name": "prometheus", **job}, {"name": "a", **job}, {"name": "a", "username": "jo", **job}],
        "prometheus_remote_write": [{"name": "far", **far}, {"name": "far", "password": "x", **far}],
        "prometheus_alertmanager_receivers": [
            {"name": "nobody", "webhook": [{"url": "http://a"}]}, {"name": "a b"}, {"name": "mail", "email": [{"username": "jo"}]}, {"name": "mail"},
        ],
        "prometheus_alertmanager_routes": [{"receiver": "pagger"}],
        "prometheus_alertmanager_heartbeat": {"interval": "1m"},
    }
    expression = "{{ {'main': __prometheus_problems, 'alertmanager': __prometheus_alertmanager_problems} | to_json }}"
    found = rendered(tmp_path / "bad", expression, **variables)
    main = ["has a job prometheus", "two jobs a", "the job a has a username", "two entries far", "remote_write far has a username"]
    main += ["that Prometheus itself has not", "needs username and password", "one is missing"]
    assert [expected for expected, problem in zip(main, found["main"], strict=True) if expected not in problem] == []
    manager = ["has nobody", "two of the name mail", "the receiver a b would not", "the receiver a b has no way", "mail of the receiver mail"]
    manager += ["the receiver mail has no way", "routed to pagger", "heartbeat has no url", "one is missing"]
    assert [expected for expected, problem in zip(manager, found["alertmanager"], strict=True) if expected not in problem] == []
    assert rendered(tmp_path / "good", expression) == {"main": [], "alertmanager": []}
