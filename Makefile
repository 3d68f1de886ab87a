# The two commands are `make train` and `make test`; each sets up what is missing first.
PYTHON ?= python3
DATA ?= digits
BIN := .venv/bin

unexport PYTHONDONTWRITEBYTECODE  # what is compiled once is compiled for all the processes of the tests

.PHONY: train test whole quick parity drills numerics check style types docs format clean

train: .venv/.ready  # train on DATA (a name, folder, .csv or .npz; the built-in digits by default)
	$(BIN)/deepres train "$(DATA)"

test: .venv/.ready check  # format, lint, types, floors, the tests; some seventeen minutes on two cores
	$(BIN)/pytest -n 2 --dist worksteal -m "not long"

whole: .venv/.ready check  # the long tests too: runs killed and resumed, several processes, every page and program; before a release
	$(BIN)/pytest -n 2 --dist worksteal

quick: .venv/.ready  # the tests that take under 90 seconds together
	$(BIN)/pytest -n 2 --dist worksteal -m "not medium and not slow"

parity: .venv/.ready  # every network that timm, torchvision or transformers also has, against theirs; writes evidence/parity.json
	$(BIN)/pytest tests/parity
	$(BIN)/python evidence/parity.py

drills: .venv/.ready  # runs killed, disks filled, files damaged, readers fuzzed, for some minutes; writes evidence/drills.json
	$(BIN)/python tests/faults/drill.py --output evidence/drills.json

numerics: .venv/.ready  # every number that the record of the code before has, computed by the code that is here
	$(BIN)/python tests/numerics/numerics.py compare

docs: .venv/.ready  # the documentation, into build/site; a broken link or a request to elsewhere fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "docs: build/site/index.html; with search: $(BIN)/python -m http.server --directory build/site"

check: .venv/.ready  # what can be said without running anything
	@$(MAKE) --no-print-directory --jobs 2 types docs style

types: .venv/.ready
	$(BIN)/mypy --num-workers 2 --native-parser

style: .venv/.ready
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/lint-imports --no-cache

format: .venv/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv
