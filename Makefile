# Everything there is to run; `make` alone lists it. Takes GNU make, git and Python 3.11 or newer.

PYTHON ?= python3
PORT ?= 8000
DEMO ?= .demo
INSTALL ?= 1
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
LOCKED := deploy/requirements
MODULES := tests/providers/node_modules
REST := changes repair restarts single_pass
RUN_DEMO := $(PY) -m deploy.demo --folder $(DEMO)

export INSTALL
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# --- The demo ---

.PHONY: demo demo-wg demo-ping demo-person demo-reset
demo: packages-demo $(VENV)/demo.stamp ## run a whole Latchkey on this machine (PORT=8000, MODE=on_demand, DEMO=.demo, INSTALL=0)
	@exec $(RUN_DEMO) start --port $(PORT) --mode "$(or $(MODE),push)"

demo-wg: $(VENV)/demo.stamp ## show what wg(8) says of the running demo's wg0
	@exec $(RUN_DEMO) wg

demo-ping: $(VENV)/demo.stamp ## enrol at the running demo, ping through the tunnel, revoke; with times
	@exec $(RUN_DEMO) ping

demo-person: $(VENV)/demo.stamp ## disable somebody at the running demo's provider, or change their groups (NAME=bob STATE=disabled GROUPS=)
	@exec $(RUN_DEMO) person "$(NAME)" "$(or $(STATE),active)" $(GROUPS)

demo-reset: $(VENV)/demo.stamp ## delete all that the demo keeps
	@exec $(RUN_DEMO) reset

# --- Tests ---

.PHONY: test test-long test-kernel bench screenshots lint check messages
test: packages $(VENV)/dev.stamp $(MODULES)/stamp ## run the tests, at most 10 minutes (ARGS="-k lease"); with CI=true a skip fails
	$(PY) -m pytest tests --ignore=tests/long -m "not long" -p tests.no_skips -n 3 --dist worksteal $(ARGS)

test-long: packages $(VENV)/dev.stamp ## run the full counts, and all of test-kernel: two hours or three
	$(PY) -m pytest tests --ignore=tests/long -m long -p tests.no_skips --timeout=0
	HYPOTHESIS_PROFILE=long $(PY) -m pytest tests/long -p tests.no_skips --timeout=0 $(ARGS)
	@$(MAKE) test-kernel ARGS=
	@$(MAKE) test-kernel ARGS="$(REST:%=tests/gateway/test_%.py)"

test-kernel: packages packages-kernel $(VENV)/dev.stamp ## run the gateway's tests against the kernel's WireGuard, in an emulated machine: half an hour (ARGS=…)
	$(PY) -m tests.kernel $(ARGS)

bench: packages $(VENV)/dev.stamp ## measure, and print the tables of the documentation
	$(PY) -m tests.bench $(ARGS)

screenshots: packages $(VENV)/dev.stamp ## take the README's pictures of the real pages again (ARGS=FOLDER: of every page)
	$(PY) -m tests.screenshots $(ARGS)

# A production's environment, as far as loading the settings takes one; nothing answers at these addresses.
lint check messages: export SECRET_KEY = only-to-load-the-settings-0123456789-abcdefghijklmnopqrstuvwxyz
lint check messages: export LATCHKEY_ENCRYPTION_KEYS = bm90LWEtc2VjcmV0LW9ubHktdG8tbG9hZC1zZXR0aW4=
lint check messages: export DATABASE_URL = postgresql://nobody@127.0.0.1:1/none
lint check messages: export LATCHKEY_URL = https://latchkey.example.com
lint check messages: export LATCHKEY_TRUSTED_PROXY_HOPS = 1
lint check messages: export LATCHKEY_OIDC_PROVIDERS = [{"id": "idp", "name": "IdP", "issuer": "https://idp.example.com", \
	"client_id": "latchkey", "client_secret": "only-to-load-the-settings"}]

lint: $(VENV)/dev.stamp ## check style and types
	@status=0; for tool in "ruff check" "ruff format --check" "mypy ."; do \
		echo "$$tool"; $(PY) -m $$tool || status=1; \
	done; exit $$status

check: $(VENV)/dev.stamp ## ask Django for missing migrations and for what a production must not have
	$(PY) -W "ignore:Got an error checking a consistent" manage.py makemigrations --check --dry-run
	$(PY) manage.py check --deploy --fail-level WARNING

messages: packages $(VENV)/dev.stamp ## collect the texts for translation and compile the languages (ARGS="-l fr" begins French)
	$(PY) manage.py makemessages $(or $(ARGS),--all) --no-location --no-wrap --no-obsolete -i '.venv*' -i tests -i deploy
	$(PY) manage.py compilemessages -i '.venv*'

# --- What the others need ---

.PHONY: packages packages-demo packages-kernel venv requirements
packages: ## install the Debian packages that the tests need, as root; otherwise name them (INSTALL=0)
	@$(PYTHON) -m deploy.demo.packages test

packages-demo:
	@$(PYTHON) -m deploy.demo.packages demo

packages-kernel:
	@$(PYTHON) -m deploy.demo.packages kernel

venv: $(VENV)/dev.stamp ## make .venv with everything for development

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Latchkey takes Python 3.11 or newer, and this is `$(PYTHON) --version`: say PYTHON=…"; exit 1; }
	@$(PYTHON) -m deploy.demo.packages venv
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/%.stamp: $(LOCKED)/%.txt | $(PY)
	@echo "Installing $< into $(VENV)"
	@$(PY) -m pip install --disable-pip-version-check --require-hashes --only-binary :all: --no-deps -r $<
	@touch $@

# The tests do without: those that need it are skipped, or fail where CI is set.
$(MODULES)/stamp: tests/providers/package-lock.json
	@echo "Installing $< into $(MODULES)"
	@cd $(<D) && npm ci --no-progress && touch $(@:$(<D)/%=%) \
		|| echo "Not installed: the modules of $<. The tests that need them are skipped, or fail where CI is set."

requirements: $(VENV)/dev.stamp ## pin the dependencies of pyproject.toml again (ARGS=--upgrade for newer ones)
	@for extra in base demo dev; do \
		$(PY) -m uv pip compile pyproject.toml `[ $$extra = base ] || echo --extra $$extra` $(ARGS) --quiet --no-header \
			--universal --python-version 3.11 --generate-hashes --output-file $(LOCKED)/$$extra.txt || exit 1; \
	done
