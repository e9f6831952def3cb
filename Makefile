UV ?= python3 -m uv

.PHONY: check test slow bench
check:  ## style and types
	$(UV) run ruff check .
	$(UV) run ruff format --check .
	$(UV) run pyright
test:   ## what CI runs
	$(UV) run pytest
slow:   ## minutes to an hour
	$(UV) run pytest -m slow -n 0 -s --timeout 7200
bench:  ## ratios to peers, table and JSON
	$(UV) run python -m benchmarks
