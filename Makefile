# gabion: build, try, test. `make demo` and `make test` install what they need (see scripts/install-packages).

export CARGO_BUILD_JOBS ?= $(shell nproc)

PREFIX ?= /usr/local
CARGO ?= cargo

# What a user of the repository may want.
.PHONY: build demo test install
build:
	$(CARGO) build --release --locked --package cli

demo:
	scripts/install-packages demo
	$(CARGO) build --release --locked --package cli
	scripts/demo

# Every tier: pure, tree, root and peers. A tier that cannot run fails.
test:
	scripts/install-packages test
	$(CARGO) test --workspace --locked --config 'target."cfg(unix)".runner = "$(CURDIR)/scripts/as-root"'

install: build
	install -D -m 0755 target/release/gabion $(DESTDIR)$(PREFIX)/bin/gabion

# What a developer wants.
.PHONY: check bench
check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- --deny warnings

bench:
	scripts/install-packages test
	$(CARGO) bench --locked --package cli --bench against_buildah --config 'target."cfg(unix)".runner = "$(CURDIR)/scripts/as-root"'
