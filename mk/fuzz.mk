# SPDX-License-Identifier: Apache-2.0
# Fuzzers (libFuzzer, with the address and undefined-behaviour sanitizers) of what is hostile in the
# agent: manifests, the control socket, records of the ring buffer. `make fuzz` looks for what is new;
# tests/unit/test-fuzz.c runs the same functions on their seeds and what it makes of them.

# FUZZ_SECONDS: for each of FUZZ
FUZZ_SECONDS ?= 60
FUZZ ?= $(patsubst tests/fuzz/fuzz-%.c,%,$(wildcard tests/fuzz/fuzz-*.c))

FUZZ_BUILD := $(BUILD)/fuzz
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(FUZZ_BUILD)/%,$(wildcard tests/fuzz/fuzz-*.c))
FUZZ_OBJ := $(patsubst $(BUILD)/%,$(FUZZ_BUILD)/%,$(filter-out $(BUILD)/loader/main.o,$(LOADER_OBJ)) $(MAPS_OBJ))
# gcc's build has the warnings
FUZZ_CFLAGS := -std=gnu17 -D_GNU_SOURCE -DBN_VERSION='"$(VERSION)"' -fms-extensions -w -O1 -g -MMD -MP \
	-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
FUZZ_FLAGS = $(LOADER_FLAGS) -Itests $(call pkg_cflags,$(PKGS_LOADER))

.PHONY: fuzzers
fuzzers: $(FUZZ_BIN)

$(FUZZ_OBJ): $(FUZZ_BUILD)/%.o: %.c | skeletons $(BUILD)/ui/page.inc
	@mkdir -p $(@D)
	$(call say,FUZZ-CC,$@)
	$(Q)$(CLANG) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link $(FUZZ_FLAGS) -c $< -o $@

$(FUZZ_BUILD)/fuzz-%: tests/fuzz/fuzz-%.c $(FUZZ_OBJ)
	@mkdir -p $(@D)
	$(call say,FUZZ,$@)
	$(Q)$(CLANG) $(FUZZ_CFLAGS) -fsanitize=fuzzer $(FUZZ_FLAGS) $< $(FUZZ_OBJ) -o $@ \
		$(call pkg_libs,$(PKGS_LOADER)) $(LIBS_LOADER)

fuzz: $(FUZZ_BIN) ## look for inputs that break the agent, FUZZ_SECONDS=60 for each of FUZZ="manifest socket event"
	$(Q)for f in $(FUZZ); do \
		mkdir -p $(FUZZ_BUILD)/corpus/$$f; \
		(cd $(FUZZ_BUILD) && ./fuzz-$$f -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 \
			corpus/$$f $(CURDIR)/tests/fuzz/seeds/$$f) || exit 1; \
	done

FUZZ_TEST_OBJ := $(FUZZ_BIN:$(FUZZ_BUILD)/%=$(BUILD)/tests/fuzz/%.o)

$(FUZZ_TEST_OBJ): $(BUILD)/tests/fuzz/fuzz-%.o: tests/fuzz/fuzz-%.c | skeletons
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(BN_CFLAGS) -DLLVMFuzzerTestOneInput=fuzz_$* $(FUZZ_FLAGS) -c $< -o $@

$(BUILD)/tests/unit/test-fuzz: UNIT_MORE := $(FUZZ_TEST_OBJ)
$(BUILD)/tests/unit/test-fuzz: $(FUZZ_TEST_OBJ)

-include $(FUZZ_TEST_OBJ:.o=.d) $(FUZZ_OBJ:.o=.d) $(FUZZ_BIN:=.d)
