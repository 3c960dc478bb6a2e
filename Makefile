# For those who expect make; meson and ninja do the work.
PREFIX ?= /usr/local
DESTDIR ?=
SECONDS ?= 600

.PHONY: all run test install fuzz faults format lint docs clean

all:
	./run --build

run:
	./run

test:
	./test

# A build of its own, with the prefix compiled in. DESTDIR is for packagers.
install:
	tools/deps build
	[ -f build-install/build.ninja ] || meson setup build-install
	meson configure build-install -Dprefix=$(PREFIX)
	ninja -C build-install
	DESTDIR=$(DESTDIR) meson install -C build-install --no-rebuild

# Each target for SECONDS; new inputs and crashes are kept in build-fuzz/corpus.
fuzz:
	./test build fuzz --fuzz-seconds $(SECONDS)

faults:
	./test build faults --kills 500 --every 1

format:
	git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format -i

lint:
	./test build lint

# The parts of the manual that come from tables.
docs:
	./run --build
	tools/man-table build/src/conf/conf_man docs/man/brant.conf.5

clean:
	rm -rf build build-asan build-fuzz build-install
