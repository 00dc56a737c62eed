# Berth: `make up` sets a machine up and runs the quickstart; `make test` runs everything that CI runs.

.DEFAULT_GOAL := help
SHELL := /bin/bash

.PHONY: help up down test lint unit fuzz e2e bench web clean

help: ## Say what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

up: ## Set this machine up: packages, build, image, server, key, quickstart
	@scripts/up

down: ## Stop the server and end its sessions
	@scripts/down

test: ## Everything CI runs; ends with the counts
	@scripts/test

lint: ## Formatting, clippy, licences, types and documentation
	@scripts/test lint

unit: ## Tests that need no running server
	@scripts/test unit

fuzz: ## Made-up bytes for what reads strangers' bytes, for some seconds each
	@scripts/test fuzz

e2e: ## Tests through real clients against a running server
	@scripts/test e2e

bench: ## Measure beside peers; prints a table
	@scripts/bench

web: ## Build the live view page
	@scripts/web

clean: ## Remove what was built (not images, not data)
	. scripts/environment && cargo clean
	rm -rf web/dist web/node_modules sdk/typescript/{dist,artifacts,node_modules} examples/node_modules .venv
