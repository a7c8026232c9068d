# The few commands that a clone needs. `make` alone lists them.
#
# LIBTORCH=/path    use an existing libtorch (or PyTorch) 2.11 instead of downloading one
# REMATCH_CUDA=1    set up the CUDA libraries even where no NVIDIA GPU is seen

.PHONY: help setup build demo test check
.DEFAULT_GOAL := help

# Programs are built against .libtorch, whatever the environment says.
CARGO := env -u LIBTORCH cargo

help:
	@echo "make demo    set up, build, and run pipelines/quickstart.yaml"
	@echo "make test    set up, and run every test"
	@echo "make setup   put libtorch where cargo finds it (.libtorch)"
	@echo "make build   set up, and build both programs (target/release)"
	@echo "make check   format, lints, tests: what a change must pass"

setup:
	@python3 tools/setup-libtorch.py

build: setup
	$(CARGO) build --release

demo: build
	target/release/rematch run pipelines/quickstart.yaml

test: setup
	$(CARGO) test --workspace

check: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --workspace
