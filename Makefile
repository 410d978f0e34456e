.PHONY: help test race fuzz bench checker model e2e chaos

help:
	@echo 'make test     everything, real servers and the race detector included'
	@echo 'make fuzz     each fuzz test for 20 s'
	@echo 'make bench    the Go benchmarks'
	@echo 'make checker  the randomized checker, 30 s a profile'
	@echo 'make model    the lease as a model, every interleaving, by spin'
	@echo 'make e2e      failovers and moving slots under traffic, at length, with figures'
	@echo 'make chaos    faults of Redis, the network and the database in random order, for FOR=10m; prints its seed and a table'

test:
	./scripts/test

fuzz:
	./scripts/fuzz 20s

bench:
	go test -run '^$$' -bench . -benchmem ./... ./cmd/nearside/...

checker:
	go test -run TestChecker -v ./internal/store/storetest -checker 30s -timeout 2h

model:
	./scripts/model

e2e:
	go test -race -v -count=1 -timeout 1h ./e2e -e2e.long

# What is given is for TestChaos; the processes take each fault once. SEED repeats the order of a run.
FOR ?= 10m
SEED ?= 0
chaos:
	go test -race -v -count=1 -timeout 0 -run 'TestChaos|TestLoadsAfterFlush|TestProcessDies' ./e2e -chaos $(FOR) -chaos.seed $(SEED)
