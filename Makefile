# All commands that people run are here; `make help` prints the list from the comments after each
# target.

# Separate commands build the extension and the worker. In one command cargo would unify their
# features and pull the worker's async runtime into the extension.
TARGET := $(or $(CARGO_TARGET_DIR),target)
TESTKIT := $(TARGET)/release/testkit

.DEFAULT_GOAL := help
.PHONY: help setup build install uninstall dist deb demo test integration chaos matrix fuzz bench check

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what a bare Debian 12 lacks (root or sudo); again: a second
	@scripts/setup

build: ## target/release: libcelery.so, celery-worker, examples, testkit
	cargo build --release -p celery-php
	cargo build --release -p celery-worker --bins --example playground --example integration --example work_page
	cargo build --release -p celery-testkit --bins

install: ## put the extension into PHP, enabled, and the worker under PREFIX (root; DESTDIR=... for packagers)
	@scripts/install

uninstall: ## take away what install put there
	@scripts/install --undo

dist: ## archives for a release, with the names that PIE looks for, SBOMs and checksums: target/dist
	@scripts/dist

deb: ## Debian packages of the extension and the worker: target/deb
	@scripts/deb

demo: export APP_KEY := base64:$(shell head -c 32 /dev/urandom | base64)
# The folder is this run's own: the number is that of make.
demo: export DEMO_WORKERS := $(abspath $(TARGET))/demo-workers-$(shell echo $$PPID)
demo: export CELERY_CONNECTOR := $(if $(filter rabbitmq,$(BROKER)),amqp,redis)
demo: export CELERY_POST_TIMEOUT := 30
demo: setup build ## Laravel page, Redis, workers and MySQL at work (BROKER=rabbitmq; WORKER=rust|python; OPEN=1: stay up)
	$(if $(filter-out redis rabbitmq,$(BROKER)),$(error BROKER is redis or rabbitmq, not $(BROKER)))
	@$(TESTKIT) up redis $(filter rabbitmq,$(BROKER)) mariadb fpm=examples/laravel-tasks/public -- scripts/demo

test: setup build ## every suite, with totals
	@scripts/test

integration: setup build ## Celery's own suite on Python's worker and ours (WORKER=python|ours: one)
	@scripts/integration $(WORKER)

chaos: setup ## the fault suite in large numbers, with a table at the end (SCALE=short|middle|long, default long)
	@scripts/chaos $(or $(SCALE),long)

matrix: ## the suites on PHP 8.4, Laravel 10 to 13, Redis 8, MySQL 9.7 and RabbitMQ 4.3, in newer Debians (root; ONLY=...)
	@scripts/matrix $(ONLY)

fuzz: ## made-up bytes for everything that reads bytes (FUZZ_SECONDS for each target, default 60; ONLY=...)
	@scripts/fuzz $(ONLY)

bench: setup build ## speed, ours and others' (half an hour; QUICK=1: minutes; ROW="post worker")
	cargo build --release --manifest-path bench/Cargo.toml --target-dir bench/target
	@$(TESTKIT) up redis rabbitmq mariadb -- .venv/celery-5.7/bin/python -B bench/run.py $(if $(QUICK),--quick) $(if $(OUTPUT),--output $(OUTPUT)) $(ROW)

check: setup ## format, lints, docs, stubs: what has to be clean before a commit
	@scripts/check
