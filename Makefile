# Two commands do everything from nothing (python3 and make are enough):
#
#   make quickstart   install into .venv, run notebooks/00_quickstart.ipynb to the end, say where the pictures are
#   make test         install into .venv, lint, run all tests
#
# Both may be run again: what is done and unchanged is skipped (`make clean` forgets it).

PYTHON ?= python3
BIN := .venv/bin
SOURCES := $(shell find mnclglf_lite tests notebooks/masters benchmarks docs -name '*.py' -o -name '*.js' -o -name '*.css' -o -name '*.html') \
           $(wildcard notebooks/*.ipynb) environment.yml README.md Makefile
EXECUTED := notebooks/pictures/00_quickstart.ipynb

.PHONY: quickstart test lint notebooks picture lab bench clean

quickstart: $(EXECUTED)
	@echo
	@echo "The executed notebook and its pictures are in notebooks/pictures/ :"
	@ls notebooks/pictures | sed 's/^/  /'
	@echo "To open JupyterLab:  $(BIN)/jupyter lab notebooks/00_quickstart.ipynb"

$(EXECUTED): .venv/installed notebooks/00_quickstart.ipynb $(shell find mnclglf_lite -name "*.py")
	@echo "running notebooks/00_quickstart.ipynb: about two minutes on two cores"
	$(BIN)/python notebooks/run.py notebooks/00_quickstart.ipynb $(EXECUTED)

test: .venv/tested
	@echo "lint and tests have passed for these sources"

.venv/tested: .venv/installed $(SOURCES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -m "not browser"
	$(BIN)/python -m pytest -m browser || { echo "once more: a busy machine can make a browser late"; $(BIN)/python -m pytest -m browser --last-failed; }
	@touch $@

# The marker is newer than the environment only when the whole install ended well.
.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "installing torch, jupyterlab and the rest into .venv (a few minutes, about 6 GB the first time)"
	$(BIN)/python -m pip install --quiet -e ".[all]"
	@touch $@

lint: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# notebooks/masters/*.py -> notebooks/*.ipynb
notebooks: .venv/installed
	$(BIN)/python notebooks/build.py

# the pictures of the README
picture: .venv/installed
	$(BIN)/python docs/make_picture.py
	$(BIN)/python docs/make_explorers.py

lab: .venv/installed
	$(BIN)/jupyter lab notebooks/00_quickstart.ipynb

bench: .venv/installed
	$(BIN)/python -m benchmarks.speed.import_time
	$(BIN)/python -m benchmarks.speed --out out/speed.json
	$(BIN)/python -m benchmarks.speed.explorers --out out/explorers.json

clean:
	rm -rf .venv notebooks/pictures
