# `make demo` shows people found by a sentence; `make test` runs every test. Both set up what they need.
# `make lint`, `make doc` and `make deny` are the rest of the gate; they are apart because a newer toolchain may know newer
# lints.

CARGO ?= cargo
PYTHON ?= python3

RUNTIME := .onnxruntime
RUNTIME_STAMP := $(RUNTIME)/.installed-$(shell cksum < setup/requirements.txt | tr ' ' -)

.PHONY: demo test setup build lab stack lint doc deny sbom demo-models clean-demo

demo: setup
	$(CARGO) build --release --package descry
	./target/release/descry demo

# The demo's kind of models, trained from nothing; see demo/train-models.sh.
demo-models: lab
	demo/train-models.sh "$(or $(OUT),runs/demo-models)" $(if $(DATA),"$(DATA)")

test: setup
	# The tests run the programs too. Built together with them, both share every dependency.
	$(CARGO) build --workspace --bins --tests
	$(CARGO) test --workspace

# ONNX Runtime's library, beside the sources and not in the system.
setup: $(RUNTIME_STAMP)

$(RUNTIME_STAMP): setup/requirements.txt
	rm -rf $(RUNTIME)
	PIP_ROOT_USER_ACTION=ignore $(PYTHON) -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-compile --target $(RUNTIME) --requirement setup/requirements.txt
	touch $@

# The three programs for production: `descry`, `encoder-service` and `search-service`.
build: setup
	$(CARGO) build --release --package descry --package descry-encoder --package descry-search

# `descry` and the program that does what `descry train`, `descry synth` and `descry bench` ask for.
lab: setup
	$(CARGO) build --release --package descry --package descry-lab

COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

# The services and Qdrant as containers: make stack DESCRY_MODEL=./bundles/cuhk
stack:
	$(COMPOSE) up --build --detach

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings

doc:
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --workspace --no-deps

# Licences, sources and advisories of the dependencies.
deny:
	setup/deny.sh

# What each program is made of, for whoever must know: sbom/*.cdx.json.
sbom:
	setup/sbom.sh

clean-demo:
	rm -rf descry-demo
