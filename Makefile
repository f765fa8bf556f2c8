# mainstay.ops: `make demo` shows it, `make test` tests it; the other targets are parts of these two. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON ?= python3
# The work folder lies outside the checkout: inside it ansible-test sees no files and passes without having tested any.
W ?= $(or $(MAINSTAY_WORK),$(HOME)/.cache/mainstay/work-$(shell printf %s "$(CURDIR)" | sha256sum | cut -c1-8))
VENV := $(W)/venv
TREE := $(W)/tree/ansible_collections
OPS := $(TREE)/mainstay/ops
REQUIREMENTS ?= requirements/dev.txt
STAMP := $(W)/setup-$(shell cat $(REQUIREMENTS) requirements.txt .ci/setup .ci/get_pip.py | sha256sum | cut -c1-12)

export PATH := $(VENV)/bin:$(PATH)
export ANSIBLE_HOME := $(W)/ansible-home
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# MkDocs' theme prints an advertisement of its successor at each build.
export NO_MKDOCS_2_WARNING := 1

SCENARIOS := $(filter-out shared,$(notdir $(patsubst %/,%,$(sort $(dir $(wildcard molecule/*/molecule.yml))))))
# What takes longer than its place in every run is worth: these are in test-all.
LONG := app_day2 deploy dr_drill monitoring newest_controller nginx_acme patch pitr postgres_day2 postgres_manual postgres_proxy postgres_upgrade redis_sentinel redis_versions remediation security_scan
# Each step's headline tells how long the run has taken until then, in the parts that a run starts too.
ifndef BEGAN
export BEGAN := $(shell date +%s)
endif
elapsed = $$(date -u -d "@$$(($$(date +%s) - $(BEGAN)))" +%T)
step = @printf '\n== %s (after %s)\n' "$(1)" "$(elapsed)"
# Two scenarios at a time; what failed is what is printed last.
scenarios = rm -f $(W)/failed; printf '%s\n' $(1) | FAILED=$(W)/failed xargs --max-procs=2 --process-slot-var=LANE --replace .ci/molecule {} || { cat $(W)/failed; exit 1; }

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "%-23s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup-lab ## bring up the stack on lab hosts, deploy under load, lose the database, recover it, report
	$(call step,the demo: report in artifacts/demo)
	python tests/demo/demo.py

test: checks unit integration molecule ## all tests: lint, sanity, unit, integration on real servers, Molecule
	@printf '\nAll tests passed after %s.\n' "$(elapsed)"

test-all: test import-check molecule-long molecule-debian12 tutorial ## the tests, the scenarios that take long, the whole stack on Debian 12, the tutorials

tutorial: setup-lab ## do what the tutorials say, command after command
	$(call step,the tutorials)
	python tests/tutorial.py

setup: $(STAMP) ## Python tools in a virtual environment under ~/.cache/mainstay
$(STAMP):
	$(call step,set-up: the Python tools (about 90 s the first time))
	.ci/setup "$(PYTHON)" "$(W)" "$(CURDIR)" "$(REQUIREMENTS)"
	@rm -f $(W)/setup-* && touch $@

setup-lab: setup ## what the lab needs of this machine (podman and others, by apt)
	$(call step,set-up: system packages for the lab)
	.ci/system-packages lab

setup-test: setup ## the servers and programs that the tests start
	$(call step,set-up: system packages for the tests)
	.ci/system-packages test

lint: setup ## yamllint, ansible-lint (production), shellcheck, changelog, licences, docs, build and install of the collection
	$(call step,lint)
	git ls-files -z '*.yml' '*.yaml' ':!changelogs' | xargs -0 yamllint --strict
	ansible-lint --offline
	shellcheck .ci/fresh-machine .ci/import-check .ci/molecule .ci/newest .ci/run .ci/setup .ci/syntax .ci/system-packages .ci/upgrade tests/demo/count-ssh
	antsibull-changelog lint
	reuse lint --quiet || reuse lint
	antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs self .
	mkdocs build --quiet
	rm -rf $(W)/dist $(W)/installed
	ansible-galaxy collection build --output-path $(W)/dist
	ansible-galaxy collection install --offline --force --collections-path $(W)/installed $(W)/dist/*.tar.gz

checks: setup ## lint and sanity, beside each other
	@$(MAKE) --no-print-directory sanity >$(W)/sanity.out 2>&1 & sanity=$$!; \
	lint=0; $(MAKE) --no-print-directory lint || lint=$$?; \
	wait $$sanity || { cat $(W)/sanity.out; exit 1; }; cat $(W)/sanity.out; exit $$lint

tree: setup
	@rm -rf $(OPS) && mkdir -p $(OPS)
	@git ls-files -z --cached --others --exclude-standard | xargs -0 cp -a --parents -t $(OPS)
	@sp=$$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ansible_collections; \
	for c in amazon/aws ansible/posix community/crypto community/postgresql; do mkdir -p $(TREE)/$${c%/*}; ln -sfn $$sp/$$c $(TREE)/$$c; done

sanity: tree ## ansible-test sanity, without ignores
	$(call step,sanity)
	cd $(OPS) && HOME=$(W)/home ansible-test sanity --color no --python $$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])') 2>&1 | tee $(W)/sanity.log
	@if grep -q 'All targets skipped' $(W)/sanity.log; then echo 'sanity tested nothing'; exit 1; fi

unit: setup-test ## unit tests and meta-tests
	$(call step,unit tests)
	pytest -q -p no:cacheprovider -n 2 --dist worksteal tests/unit

syntax: setup ## the syntax of every playbook; a deprecation fails
	$(call step,syntax of the playbooks)
	.ci/syntax

test-newest: ## unit tests, sanity and syntax with the newest stable ansible-core; NEWEST=/path/to/python3.13
	$(call step,the newest ansible-core)
	.ci/newest "$(W)/newest" "$(CURDIR)" "$(NEWEST)" unit sanity syntax

integration: setup-test ## modules against real servers on loopback
	$(call step,integration tests)
	pytest -q -p no:cacheprovider -n 3 --dist loadfile --no-loadscope-reorder -m 'not alone' tests/integration
	$(call step,integration tests that need the machine for themselves)
	pytest -q -p no:cacheprovider -m alone tests/integration

test-faults: setup-test setup-lab ## the long set of faults: kills, full disks, an S3 that misbehaves, damage, bad releases (an hour and more)
	$(call step,faults)
	pytest -q -s -p no:cacheprovider tests/faults

test-upgrade: setup-test ## what the last release has made, taken over by this checkout; UPGRADE_FROM=COMMIT
	$(call step,upgrade)
	UPGRADE_FROM="$(UPGRADE_FROM)" .ci/upgrade "$(W)" "$(CURDIR)"

fresh-machine: setup-lab ## do what README says on a Debian with nothing on it; RELEASE=debian12 TARGETS="demo test tutorial" KEEP=1
	$(call step,a fresh machine)
	KEEP="$(KEEP)" .ci/fresh-machine "$(CURDIR)" "$(or $(RELEASE),debian13)" $(or $(TARGETS),demo)

# The whole stack is judged by how fast it answers under load, so that nothing runs beside it.
molecule: setup-lab ## the whole stack on lab hosts, then the roles, two scenarios at a time; s=NAME runs one
	$(call step,Molecule)
	$(if $(s),molecule test -s $(s),$(call scenarios,full_stack); $(call scenarios,$(filter-out full_stack $(LONG),$(SCENARIOS))))

molecule-long: setup-lab ## the scenarios that take long
	$(call scenarios,$(LONG))

molecule-debian12: setup-lab ## the whole stack on Debian 12
	MAINSTAY_LAB_IMAGE=debian12 molecule test -s full_stack

bench: setup-lab ## measure site and the no-change run, into docs/benchmarks.md
	python tests/bench/site.py

bench-backup: setup-test ## measure backups of PostgreSQL against other tools, into docs/benchmarks.md; SIZE=2G ROUNDS=3
	PYTHONPATH=tests/bench python -m backup --work $(W) --size $(or $(SIZE),2G) --rounds $(or $(ROUNDS),3) $(if $(PEERS),--peers $(PEERS))

bench-redis-failover: setup-lab ## measure failovers of Redis on lab hosts, into docs/redis.md; RUNS=10 SCENARIO=planned
	PYTHONPATH=tests python -m drills.redis --runs $(or $(RUNS),10) $(foreach scenario,$(SCENARIO),--scenario $(scenario)) $(foreach runs,$(RUNS_OF),--runs-of $(runs))

bench-postgres-failover: setup-lab ## measure failovers of PostgreSQL on lab hosts, into docs/postgres.md; RUNS=10 SCENARIO=planned
	PYTHONPATH=tests python -m drills.postgres --runs $(or $(RUNS),10) $(foreach scenario,$(SCENARIO),--scenario $(scenario)) $(foreach runs,$(RUNS_OF),--runs-of $(runs))

bench-deploy: setup-lab ## measure releases under load, killed controllers and attacks on lab hosts, into docs/deploy.md; RUNS=1 RUNS_OF="quiet=10 good=10" SCENARIO=good
	PYTHONPATH=tests python -m drills.deploy --runs $(or $(RUNS),10) $(foreach scenario,$(SCENARIO),--scenario $(scenario)) $(foreach runs,$(RUNS_OF),--runs-of $(runs))

bench-redis: setup-test ## measure snapshots of Redis against stock tools, into docs/benchmarks.md; SIZE=1G ROUNDS=3
	PYTHONPATH=tests/bench python -m snapshot --size $(or $(SIZE),1G) --rounds $(or $(ROUNDS),3) $(if $(PEERS),--peers $(PEERS))

bench-probe: setup ## measure many health probes at once against a loop of uri, into docs/benchmarks.md; ENDPOINTS=1000 ROUNDS=3
	PYTHONPATH=tests/bench python -m probe --endpoints $(or $(ENDPOINTS),1000) --rounds $(or $(ROUNDS),3)

bench-prometheus: setup-test ## measure the memory of Prometheus for many hosts, into docs/benchmarks.md (12 minutes); TARGETS=100
	PYTHONPATH=tests/bench python -m watching --targets $(or $(TARGETS),100)

bench-scale: setup-lab ## measure how runs grow with the number of lab hosts, into docs/scale.md (hours); SIZES="5 10 20 40" ROUNDS=3 PEERS=none CONTINUE=1
	PYTHONPATH=tests/bench python -m scale $(foreach size,$(SIZES),--size $(size)) --rounds $(or $(ROUNDS),3) $(if $(PEERS),--peers '$(filter-out none,$(PEERS))') $(if $(CONTINUE),--continue)

ee: setup ## the build context of the execution environment, in artifacts/ee/context
	rm -rf artifacts/ee && mkdir -p artifacts/ee
	ansible-galaxy collection build --output-path artifacts/ee && mv artifacts/ee/mainstay-ops-*.tar.gz artifacts/ee/mainstay-ops.tar.gz
	ansible-builder create --file execution-environment.yml --context artifacts/ee/context

# The lab's balancer; its network follows from the lab's name.
SITE ?= https://10.89.$(shell echo $$((16#$$(printf lab | sha256sum | cut -c1-2)))).11
load: setup ## load the lab's site, or SITE, and fail above P95_MS=500 or ERROR_PERCENT=1; USERS=20 SECONDS=60
	LOAD_P95_MS=$(or $(P95_MS),500) LOAD_ERROR_PERCENT=$(or $(ERROR_PERCENT),1) LOAD_CA=$(or $(CA),$(wildcard $(HOME)/.local/state/mainstay/lab/pki/ca.crt)) \
	  locust --locustfile examples/load/locustfile.py --headless --only-summary --host $(SITE) \
	  --users $(or $(USERS),20) --spawn-rate $(or $(USERS),20) --run-time $(or $(SECONDS),60)s

lab: setup-lab ## make the hosts of inventories/lab
	ansible-playbook -i inventories/lab playbooks/lab_up.yml

lab-down: setup-lab ## remove them
	ansible-playbook -i inventories/lab playbooks/lab_down.yml

docs: setup ## build the documentation as a site, into artifacts/site; a link that leads nowhere fails
	mkdocs build --quiet
	@echo "The site is artifacts/site/index.html."

import-check: setup ## what Galaxy does with a collection that is published (galaxy-importer); a warning fails
	$(call step,import as by Galaxy)
	.ci/import-check "$(PYTHON)" "$(W)" "$(CURDIR)"

dashboards: setup ## make Grafana's dashboards of roles/grafana/files/dashboards.yml
	python .ci/dashboards.py

clean: ## remove the lab's hosts, the work folder and the artefacts; keep downloads and images
	-if [ -x $(VENV)/bin/ansible-playbook ]; then \
	  for lab in lab molecule molecule0 molecule1; do MAINSTAY_LAB=$$lab ansible-playbook -i inventories/lab playbooks/lab_down.yml; done; fi
	rm -rf $(W) artifacts

.PHONY: help demo fresh-machine test test-all test-faults test-newest test-upgrade tutorial setup setup-lab setup-test checks lint tree sanity unit syntax integration molecule molecule-long molecule-debian12 bench bench-backup bench-deploy bench-postgres-failover bench-probe bench-prometheus bench-redis bench-redis-failover bench-scale ee lab lab-down dashboards docs import-check clean load
