# Two commands do all the set-up on a fresh Debian or Ubuntu with Python >= 3.11:
#   sudo make up     starts everything and shows live flows
#   sudo make test   installs what the tests need, real servers included, and runs them
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAB := tests/lab
PLUGIN := grafana/datasource
STAMP := $(VENV)/.installed
export LAB_BIN ?=

.PHONY: up setup test test-host test-parts test-graph test-cassandra lint bpf bpf-check bench fuzz kernels docs wire pictures grafana dashboards wheel deploy format clean

up: $(STAMP)
	$(BIN)/skytrail up

setup: $(STAMP)

# Again only when the list of dependencies changed.
$(STAMP): pyproject.toml
	$(LAB)/packages.sh run
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip setuptools wheel
	PYTHONWARNINGS='ignore:Editable installation' $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[otlp,wire,ovs]'
	touch $@

$(VENV)/.installed-dev: $(STAMP)
	PYTHONWARNINGS='ignore:Editable installation' $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[otlp,wire,ovs,kubernetes,janusgraph,dev]'
	touch $@

test: $(VENV)/.installed-dev
	$(LAB)/packages.sh test
	$(MAKE) --no-print-directory lint bpf-check
	@echo "The tests run in three groups at once, some 30 minutes; what each says is printed when it has ended."
	$(MAKE) --no-print-directory --jobs=3 --output-sync=target test-host test-parts test-graph

# What asks the kernel about all of its host sees what other tests make there. So there are: the tests of whole agents, and those
# that ask it for the IDs of processes, on this host; the other ones that ask it, in namespaces apart; and what does not ask it.
HOST_TESTS := tests/integration tests/exporters/sockets tests/exporters/bpf/test_sockets.py tests/exporters/flows/test_table.py tests/deploy
GRAPH_TESTS := tests/contract tests/gremlin_api tests/topology/store tests/topology/remote tests/skytrail/http tests/skytrail/settings \
	tests/skytrail/asking tests/skytrail/wire tests/exporters/outputs tests/topology/snapshot \
	$(addprefix tests/topology/probes/kubernetes/,test_churn.py test_hostile.py test_probe.py) tests/topology/test_rules.py tests/topology/test_held.py \
	tests/topology/test_routes.py
test-host:
	$(BIN)/pytest $(HOST_TESTS)

test-parts: $(PLUGIN)/node_modules/.installed
	$(LAB)/apart.sh $(BIN)/pytest -o cache_dir=.pytest_cache/parts $(addprefix --ignore=,$(HOST_TESTS) $(GRAPH_TESTS))

test-graph:
	$(BIN)/pytest -o cache_dir=.pytest_cache/graph $(GRAPH_TESTS)
	$(MAKE) --no-print-directory kernels KERNEL_TESTS=short

# The JanusGraph store on a real Cassandra: some minutes, and 2 GB of memory.
test-cassandra: $(VENV)/.installed-dev
	$(LAB)/packages.sh test
	JANUSGRAPH_BACKEND=cql CI=true $(BIN)/pytest --timeout 900 tests/topology/store/janusgraph/test_contract.py \
		tests/topology/store/janusgraph/test_elements.py tests/topology/store/janusgraph/test_hubs.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy skytrail exporters topology gremlin_api grafana
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The objects are committed; building them needs clang.
bpf:
	$(MAKE) --no-print-directory -C exporters/bpf

bpf-check:
	$(MAKE) --no-print-directory -C exporters/bpf check

# The messages between agents and hubs. An old generator: what it makes runs with every later protobuf.
GENERATOR := $(VENV)/generator
wire:
	test -x $(GENERATOR)/bin/python || $(PYTHON) -m venv $(GENERATOR)
	$(GENERATOR)/bin/python -m pip install --quiet --disable-pip-version-check 'grpcio-tools==1.66.2' 'setuptools<81'
	$(GENERATOR)/bin/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. skytrail/wire/wire.proto

# Grafana's data source: grafana/datasource/dist.
grafana: $(PLUGIN)/node_modules/.installed
	cd $(PLUGIN) && ../../$(LAB)/node.sh npm run build

$(PLUGIN)/node_modules/.installed: $(PLUGIN)/package-lock.json
	cd $(PLUGIN) && ../../$(LAB)/node.sh npm ci --no-progress --loglevel=error
	touch $@

# One for every machine: BPF objects are the same for all processors of this byte order.
wheel: $(STAMP)
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

# Images, a bare root, Ansible: minutes, and downloads.
deploy: $(VENV)/.installed-dev
	$(LAB)/packages.sh deploy
	DEPLOY_LONG=1 CI=true $(BIN)/pytest --timeout 1500 tests/deploy

bench: $(VENV)/.installed-dev
	$(LAB)/packages.sh test
	$(BIN)/python -m tests.bench

fuzz: $(VENV)/.installed-dev
	$(LAB)/packages.sh test
	FUZZ_SECONDS=$${FUZZ_SECONDS:-600} $(BIN)/pytest tests/exporters/bpf -k fuzz -s --timeout 0

# Debian's stock kernels 6.1 and 6.12, in qemu's software emulation. KERNEL_TESTS=short: what belongs to `make test`.
KERNEL_TESTS ?= all
kernels: $(VENV)/.installed-dev
	$(LAB)/packages.sh kernels
	for series in 6.1 6.12; do \
		echo "Linux $$series:"; \
		$(LAB)/vm/run.sh $$series env SKYTRAIL_KERNEL_VM=1 $(BIN)/python -m pytest -q -p no:cacheprovider --timeout 0 tests/kernel \
			-k "$(if $(filter short,$(KERNEL_TESTS)),short,short or long)" || exit 1; \
	done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

# Pages of docs/ that say what the code declares.
docs: $(VENV)/.installed-dev
	$(BIN)/python -m skytrail.cli.pages docs

# Screenshots of docs/quick-start.md, each of the real thing.
pictures: $(VENV)/.installed-dev
	$(LAB)/packages.sh test
	$(BIN)/python -m tests.docs.pictures

# grafana/dashboards/json and grafana/provisioning/alerting are as grafana/dashboards and deploy/prometheus say.
dashboards: $(VENV)/.installed-dev
	$(BIN)/python -m grafana.dashboards
