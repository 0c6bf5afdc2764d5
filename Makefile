# For people; meson does the work. `make demo` and `make check` install what is missing.
BUILD ?= build
MESON_ARGS ?= --prefix=/usr --libexecdir=libexec
export BUILD

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet

$(BUILD)/build.ninja:
	@tools/install-dependencies build
	meson setup $(MESON_ARGS) $(BUILD)

demo:
	@examples/demo.sh

# Root. A cluster on this machine, and a tour of it; STAY=1: a shell on it instead.
demo-cluster:
	@tools/install-dependencies build demo
	@$(MAKE) --no-print-directory all
	@examples/demo-cluster.sh demo

check:
	@tools/install-dependencies build test
	@$(MAKE) --no-print-directory all
	@tests/check.sh

# The Debian packages, in build/deb.
deb:
	@tools/install-dependencies build package
	@tools/build-deb

# Some minutes: the packages in a fresh Debian, and a next version of them.
check-deb: all deb
	@tools/install-dependencies build test package
	@tools/build-deb --next $(BUILD)/deb-next
	@WNODES_BUILD=$(realpath $(BUILD)) bats --print-output-on-failure tests/system/package.bats

# Up to an hour: the overhead of VMs against the formula of docs/memory.md, for all shapes.
check-memory: all
	@tools/install-dependencies build test
	@WNODES_TEST_SLOW=1 WNODES_BUILD=$(realpath $(BUILD)) bats --print-output-on-failure tests/system/memory.bats

# Half an hour: parts of a Slurm cluster are killed at random moments.
soak: all
	@tools/install-dependencies build test slurm
	@WNODES_BUILD=$(realpath $(BUILD)) tests/soak/kill.sh $(or $(ROUNDS),100)

bench: all
	@tools/install-dependencies build test
	@tests/bench/bench.sh $(BENCH)

asan:
	@tools/install-dependencies build test
	@BUILD=build-asan tests/asan.sh
	@BUILD=build-tsan tests/tsan.sh

fuzz:
	@tools/install-dependencies build test lint
	@tests/fuzz/fuzz.sh

lint:
	@tools/install-dependencies build test lint
	@tools/lint

fmt:
	@git ls-files '*.[ch]' | xargs clang-format -i

# The documents as pages for a browser, in build/site.
site: all
	@tools/install-dependencies build docs
	@tools/build-site

install: all
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --quiet

clean:
	rm -rf build build-*

.PHONY: all demo demo-cluster check deb check-deb check-memory soak bench asan fuzz lint fmt site install clean
