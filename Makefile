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
	$(CARGO) test --workspace --locked --no-fail-fast --config 'target."cfg(unix)".runner = "$(CURDIR)/scripts/as-root"'

# The link named buildah takes no other Buildah's place: put its directory first in PATH to use it.
install: build
	install -D -m 0755 target/release/gabion $(DESTDIR)$(PREFIX)/bin/gabion
	mkdir -p $(DESTDIR)$(PREFIX)/lib/gabion/bin
	ln -sf ../../../bin/gabion $(DESTDIR)$(PREFIX)/lib/gabion/bin/buildah
	target/release/gabion man-pages $(DESTDIR)$(PREFIX)/share/man/man1
	mkdir -p $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	target/release/gabion completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/gabion
	target/release/gabion completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_gabion
	target/release/gabion completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/gabion.fish

# What a developer wants.
.PHONY: check bench
check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- --deny warnings

bench:
	scripts/install-packages test
	$(CARGO) bench --locked --package cli --bench against_buildah --config 'target."cfg(unix)".runner = "$(CURDIR)/scripts/as-root"'
