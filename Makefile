# qz - see README.md.  GNU make; everything that is made lies under build/.
VERSION = 0.1.0
-include config.mk

CC      ?= gcc
NVCC    ?= nvcc
CUDA    ?= auto
PREFIX  ?= /usr/local
BINDIR  ?= $(PREFIX)/bin
LIBDIR  ?= $(PREFIX)/lib
MANDIR  ?= $(PREFIX)/share/man
COMPDIR ?= $(PREFIX)/share/bash-completion/completions
SAN     ?=
B       := build$(if $(SAN),/san)
Q       := $(if $(V),,@)

PKGS     = libzstd libarchive libxxhash libpcre2-8 libutf8proc
WARN     = -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
CPPFLAGS += -I. -D_GNU_SOURCE= -D_FILE_OFFSET_BITS=64 -DQZ_VERSION='"$(VERSION)"' -DQZ_LIBDIR='"$(LIBDIR)/qz"'
CFLAGS  ?= -O2 -g
override CFLAGS += -std=c11 -pthread -ffp-contract=off $(WARN) $(SAN:%=-fsanitize=% -fno-sanitize-recover=all -fno-omit-frame-pointer)
LDFLAGS += -pthread $(SAN:%=-fsanitize=%)

have_deps := $(shell pkg-config --exists $(PKGS) 2>/dev/null && echo yes)
goals     := $(or $(MAKECMDGOALS),all)
ifneq ($(have_deps)$(if $(filter-out clean,$(goals)),,clean),)

CPPFLAGS += $(shell pkg-config --cflags $(PKGS) 2>/dev/null | sed 's/-I/-isystem /g')
LDLIBS   += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -ldl -lm
ifeq ($(CUDA),auto)
CUDA := $(if $(shell command -v $(NVCC) 2>/dev/null),1,0)
endif

TOOLS := $(filter-out common,$(notdir $(patsubst %/,%,$(wildcard tools/*/))))
TOOLS := $(foreach t,$(TOOLS),$(if $(wildcard tools/$t/qz-$t.c),$t))
core  := $(patsubst %.c,$B/%.o,$(wildcard libcore/*/*.c) $(wildcard kernels/*.c))
cli   := $(patsubst %.c,$B/%.o,$(wildcard tools/common/*.c))

# Each CPU kernel file is compiled once for each instruction set, and once in float64 as the oracle.
isa_base   =
isa_avx2   = -mavx2 -mfma -mf16c
isa_avx512 = -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512
isa_avx512bf16 = $(isa_avx512) -mavx512bf16
isa_f64    = -DQZ_ORACLE
ifneq ($(shell uname -m),x86_64)
ISAS = base f64
else
ISAS = base avx2 avx512 avx512bf16 f64
endif
cpu_src := $(wildcard kernels/cpu/*.c)
cpu     := $(foreach i,$(ISAS),$(cpu_src:%.c=$B/%.$i.o))

bins  := $(TOOLS:%=$B/bin/qz-%)
pages := $(TOOLS:%=$B/man/qz-%.1) $B/man/qz.7 $B/man/qz-shard.5
completions := $(TOOLS:%=$B/completions/qz-%)
units := $(patsubst tests/unit/%.c,$B/tests/unit/%.t,$(wildcard tests/unit/*.c))
interop := $(patsubst %.c,$B/%,$(wildcard tests/interop/*.c))
cuobj := $(patsubst %.cu,$B/%.cu.o,$(wildcard kernels/cuda/*.cu))
cuact := $(shell grep -l '^ACT_BEGIN' kernels/cuda/*.cu) # these compute with activations
cuobj += $(cuact:%.cu=$B/%.f16.cu.o)
# What the plugin shares with the tools: tables, and where files of measurements lie.
cushared := $(addprefix $B/kernels/cuda/,nf4.o dtype.o cache.o)
cuobj += $(cushared)
cuhost := $(patsubst %.c,$B/%.o,$(wildcard kernels/cuda/*.c))
cuobj += $(cuhost)
plugin := $(if $(filter 1,$(CUDA)),$(if $(wildcard kernels/cuda/*.cu),$B/lib/qz-cuda.so))

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all check fuzz check-interop demo install uninstall lint format clean deps-check
all: $(bins) $(plugin) $B/examples/shardcat $(pages)

$B/libqz.a: $(core) $(cpu)
	$Q rm -f $@ && $(AR) rc $@ $^
$B/libcli.a: $(cli)
	$Q mkdir -p $(@D); rm -f $@ && $(AR) rc $@ $^

define tool_rule
$B/bin/qz-$1: $(patsubst %.c,$B/%.o,$(wildcard tools/$1/*.c)) $B/libcli.a $B/libqz.a
endef
$(foreach t,$(TOOLS),$(eval $(call tool_rule,$t)))
$(bins):
	$Q mkdir -p $(@D)
	$(if $V,,@echo '  link $@')
	$Q $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $B/libcli.a $B/libqz.a $(LDLIBS)

$B/tests/unit/%.t: $B/tests/unit/%.o $B/libqz.a
	$Q $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $B/libqz.a $(LDLIBS)
$B/tests/unit/cudnn.t: $B/kernels/cuda/cudnn.o $B/kernels/cuda/library.o
$B/tests/unit/library.t: $B/kernels/cuda/library.o

$B/tests/interop/%: $B/tests/interop/%.o $B/libqz.a
	$Q $(CC) $(LDFLAGS) -o $@ $< $B/libqz.a $(LDLIBS)

$B/tests/bench/%: $B/tests/bench/%.o $B/libqz.a
	$Q $(CC) $(LDFLAGS) -o $@ $< $B/libqz.a $(LDLIBS)

$B/examples/%: examples/%.c
	$Q mkdir -p $(@D)
	$Q $(CC) -std=c11 -O2 $(WARN) -o $@ $<

$B/%.o: %.c
	$Q mkdir -p $(@D)
	$(if $V,,@echo '  cc   $<')
	$Q $(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# -O3: these loops are written to be vectorised.  The -fno flags drop errno and traps, not bits.  -Wno-psabi: no
# function that takes a vector is called from another file.
define isa_rule
$B/kernels/cpu/%.$1.o: kernels/cpu/%.c
	$$Q mkdir -p $$(@D)
	$$(if $$V,,@echo '  cc   $$< ($1)')
	$$Q $$(CC) $$(CPPFLAGS) -DQZ_ISA=$1 $$(CFLAGS) -O3 -Wno-psabi -fno-math-errno -fno-trapping-math $$(isa_$1) -MMD -MP -c -o $$@ $$<
endef
$(foreach i,$(ISAS),$(eval $(call isa_rule,$i)))

CUDA_ARCH ?= 75 80 86 89 90 100 120
arch = $(CUDA_ARCH)
ptx  = $(lastword $(arch))
gencode = $(foreach a,$(arch),-gencode arch=compute_$a,code=sm_$a) -gencode arch=compute_$(ptx),code=compute_$(ptx)
# Files for one kind of GPU, whose own instructions they use; they are queued nowhere else.
$B/kernels/cuda/attention_90.cu.o $B/kernels/cuda/few_90.cu.o $B/kernels/cuda/gemm_90.cu.o: gencode = -gencode arch=compute_90a,code=sm_90a
# Activations are bfloat16 from sm_80 on.  In float16 code is for the first GPU of the list; newer ones, where it has
# to be asked for, make their own of its PTX when it is first used.
CUDA_ARCH_F16 ?= $(firstword $(CUDA_ARCH))
$(cuact:%.cu=$B/%.cu.o): arch = $(or $(filter-out 7%,$(CUDA_ARCH)),$(CUDA_ARCH))
$(cuact:%.cu=$B/%.f16.cu.o): arch = $(CUDA_ARCH_F16)
$(cuact:%.cu=$B/%.f16.cu.o): ptx = $(firstword $(arch))
$(cuact:%.cu=$B/%.f16.cu.o): NVCCFLAGS += -DQZ_CUDA_F16
$B/kernels/cuda/%.f16.cu.o: kernels/cuda/%.cu
	$(nvcc)
$B/kernels/cuda/%.cu.o: kernels/cuda/%.cu
	$(nvcc)
define nvcc
	$Q mkdir -p $(@D)
	$(if $V,,@echo '  nvcc $<$(if $(filter %.f16.cu.o,$@), (float16))')
	$Q $(NVCC) $(NVCCFLAGS) -std=c++17 -O3 -lineinfo -I. $(gencode) -fmad=false -Xcompiler -fPIC,-fvisibility=hidden,-Wall \
	    -Werror all-warnings -MMD -MP -MF $(@:.o=.d) -c -o $@ $<
endef
$B/kernels/cuda/nf4.o: kernels/nf4.c
$B/kernels/cuda/dtype.o: libcore/base/dtype.c
$B/kernels/cuda/cache.o: libcore/base/cache.c
$(cuhost): $B/kernels/cuda/%.o: kernels/cuda/%.c
$(cushared) $(cuhost):
	$Q mkdir -p $(@D)
	$(if $V,,@echo '  cc   $< (plugin)')
	$Q $(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -fvisibility=hidden -MMD -MP -c -o $@ $<
$B/lib/qz-cuda.so: $(cuobj)
	$Q mkdir -p $(@D)
	$(if $V,,@echo '  link $@')
	$Q $(NVCC) -shared -cudart static -Xlinker --exclude-libs=ALL,-z,defs -o $@ $^ -lpthread -ldl -lrt

$B/tests/gpu/attention $B/tests/gpu/gemm: $B/tests/gpu/%: tests/gpu/%.cu $(cuobj)
	$Q mkdir -p $(@D)
	$(if $V,,@echo '  nvcc $<')
	$Q $(NVCC) -std=c++17 -O2 -I. $(gencode) -cudart static -MMD -MP -o $@ $< $(cuobj) -lpthread -ldl -lrt

# Pages and completions come out of the tools' own tables of options.
$B/man/qz-%.1: man/qz-%.1 man/options.awk $B/bin/qz-% $(wildcard examples/*.sh)
	$Q mkdir -p $(@D)
	$Q $B/bin/qz-$* --help=table >$@.table
	$Q awk -v version=$(VERSION) -f man/options.awk $@.table $< >$@
	$Q rm $@.table
$B/man/%: man/%
	$Q mkdir -p $(@D)
	$Q sed 's/^\.Os qz$$/.Os qz $(VERSION)/' $< >$@
$B/completions/qz-%: tools/common/complete.awk $B/bin/qz-%
	$Q mkdir -p $(@D)
	$Q $B/bin/qz-$* --help=table | awk -v tool=qz-$* -f $< >$@

# make check SAN=address,undefined: the same tests on programs with sanitizers, which lie in build/san; what a
# sanitizer finds fails the run.  Not the consumers: their tests are of bytes, which the other build makes too.
check: deps-check all $(units) $(interop)
	$Q B=$B tests/run
	$(if $(SAN),,$Q tests/interop/run light)
deps-check:
	$Q scripts/deps.sh check
# make fuzz: each target under libFuzzer for FUZZ_SECONDS, with the sanitizers; what it finds lies in build/fuzz.
FUZZ_SECONDS ?= 60
FUZZ_CC      ?= clang
fuzzers := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))
fuzz_flags = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
build/fuzz/libqz.a: $(patsubst %.c,build/fuzz/%.o,$(wildcard libcore/*/*.c))
	$Q rm -f $@ && $(AR) rc $@ $^
build/fuzz/%.o: %.c
	$Q mkdir -p $(@D)
	$(if $V,,@echo '  fuzz $<')
	$Q $(FUZZ_CC) $(CPPFLAGS) $(CFLAGS) $(fuzz_flags) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<
$(fuzzers:%=build/fuzz/%): build/fuzz/%: build/fuzz/tests/fuzz/%.o build/fuzz/libqz.a
	$Q $(FUZZ_CC) $(LDFLAGS) $(fuzz_flags) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)
fuzz: $(fuzzers:%=build/fuzz/%)
	$Q mkdir -p build/fuzz/seeds $(fuzzers:%=build/fuzz/found/%) && perl tests/fuzz/seeds.pl build/fuzz/seeds
	$Q for f in $(fuzzers); do \
	    build/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -timeout=30 -rss_limit_mb=1024 -max_len=16384 -print_final_stats=1 \
	    -artifact_prefix=build/fuzz/$$f- build/fuzz/found/$$f $$(case $$f in imatrix | yaml) echo build/fuzz/seeds/$$f ;; \
	    gguf | source) echo build/fuzz/seeds/gguf ;; *) echo tests/fuzz/seeds/$$f ;; esac) >build/fuzz/$$f.log 2>&1 || { tail -40 build/fuzz/$$f.log; exit 1; }; \
	    echo "$$f: $$(grep '^Done' build/fuzz/$$f.log), nothing found"; done

check-interop: all $(units) $(interop)
	$Q scripts/deps.sh interop
	$Q tests/interop/run full
demo:
	$Q $(MAKE) --no-print-directory -j$$(nproc) all
	$Q examples/demo.sh

install: all $(completions)
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man7 $(DESTDIR)$(COMPDIR)
	install -m 755 $(bins) $(DESTDIR)$(BINDIR)
	install -m 644 $(filter %.1,$(pages)) $(DESTDIR)$(MANDIR)/man1
	install -m 644 $B/man/qz-shard.5 $(DESTDIR)$(MANDIR)/man5
	install -m 644 $B/man/qz.7 $(DESTDIR)$(MANDIR)/man7
	install -m 644 $(completions) $(DESTDIR)$(COMPDIR)
	$(if $(plugin),install -d $(DESTDIR)$(LIBDIR)/qz && install -m 755 $(plugin) $(DESTDIR)$(LIBDIR)/qz)
uninstall:
	rm -f $(TOOLS:%=$(DESTDIR)$(BINDIR)/qz-%) $(TOOLS:%=$(DESTDIR)$(MANDIR)/man1/qz-%.1) $(TOOLS:%=$(DESTDIR)$(COMPDIR)/qz-%)
	rm -f $(DESTDIR)$(MANDIR)/man5/qz-shard.5 $(DESTDIR)$(MANDIR)/man7/qz.7 $(DESTDIR)$(LIBDIR)/qz/qz-cuda.so

lint: all
	$Q tests/layers.t
	$Q clang-format --dry-run -Werror $$(git ls-files '*.c' '*.h')
	$Q shellcheck -x $$(git ls-files '*.sh' '*.bats' '*.bash' .ci/run tests/run tests/layers.t)
	$Q for p in $(pages); do mandoc -Tlint -Wwarning $$p || exit 1; done
	$Q $(MAKE) --no-print-directory B=build/clang CC=clang CUDA=0 all $(units:$B/%=build/clang/%)

clean:
	rm -rf build
format:
	clang-format -i $$(git ls-files '*.c' '*.h')

-include $(shell find $B -name '*.d' 2>/dev/null)

else
# Nothing can be built yet: install what is missing, or name the one command, then start over.
.PHONY: $(goals)
$(firstword $(goals)):
	$(if $(QZ_DEPS_TRIED),$(error the libraries are installed and pkg-config does not find them: $(PKGS)))
	$Q scripts/deps.sh build
	$Q $(MAKE) --no-print-directory QZ_DEPS_TRIED=1 $(goals)
$(wordlist 2,$(words $(goals)),$(goals)): $(firstword $(goals)) ;
endif
