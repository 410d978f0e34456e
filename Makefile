.PHONY: help test lint race fuzz bench bench-full compare checker model e2e chaos

help:
	@echo 'make test     everything, real servers and the race detector included'
	@echo 'make lint     gofmt, go vet, staticcheck, unused, errcheck, ineffassign, errorlint and misspell, on all modules'
	@echo 'make fuzz     each fuzz test for 20 s'
	@echo 'make bench    the Go benchmarks, and a short pass of the comparison with the peers: about 15 minutes'
	@echo 'make bench-full  the long pass, which writes its tables into docs/benchmarks.md: half an hour on a machine without other work; TRACE=file for the real trace'
	@echo 'make compare  the Go benchmarks of this checkout and of another revision in turns: BASE=revision BENCH=pattern PKG=folders'
	@echo 'make checker  the randomized checker, 30 s a profile'
	@echo 'make model    the lease as a model, every interleaving, by spin'
	@echo 'make e2e      failovers and moving slots under traffic, at length, with figures'
	@echo 'make chaos    faults of Redis, the network and the database in random order, for FOR=10m; prints its seed and a table'

test:
	./scripts/test

lint:
	./scripts/lint

fuzz:
	./scripts/fuzz 20s

# The trace orm-busy of cache2k (bench/scenario/trace.go has where it is from); without it that scenario is left out.
TRACE ?=
bench:
	go test -run '^$$' -bench . -benchmem ./... ./cmd/nearside/...
	cd bench && GOWORK=off go run . -trace '$(TRACE)'

bench-full:
	cd bench && GOWORK=off go run . -full -docs ../docs -trace '$(TRACE)'

# Pairs of runs, with the base against itself as the measure of the noise: tools/compare.
BASE ?= HEAD~1
PKG ?= .
LAYOUTS ?= 4
BENCH ?= RedisHit/^nearside$$|NearHit/nearside|MemoryHit/nearside|RedisMiss/nearside|GetMany|Update
compare:
	cd tools && go run ./compare -base '$(BASE)' -layouts $(LAYOUTS) -bench '$(BENCH)' $(PKG)

checker:
	go test -run TestChecker -v ./internal/store/storetest/checker -checker 30s -timeout 2h

model:
	./scripts/model

e2e:
	go test -race -v -count=1 -timeout 1h ./e2e -e2e.long

# What is given is for TestChaos; the processes take each fault once. SEED repeats the order of a run.
FOR ?= 10m
SEED ?=
chaos:
	NEARSIDE_SEED=$(SEED) go test -race -v -count=1 -timeout 0 -run 'TestChaos|TestLoadsAfterFlush|TestProcessDies' ./e2e -chaos $(FOR)
