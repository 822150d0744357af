# SPDX-License-Identifier: Apache-2.0
# Program tests: the real objects through BPF_PROG_TEST_RUN; tests/lib is their library.

TESTLIB_SRC := $(wildcard tests/lib/*.c)
TESTLIB_OBJ := $(TESTLIB_SRC:%.c=$(BUILD)/%.o) $(MAPS_OBJ)
PROGRAM_SRC := $(wildcard tests/program/test-*.c)
PROGRAM_BIN := $(PROGRAM_SRC:%.c=$(BUILD)/%)
PKGS_TESTLIB := libbpf cmocka
TESTLIB_FLAGS := -Imaps -Itests -I$(BUILD)/skel

$(BUILD)/tests/lib/%.o: tests/lib/%.c | skeletons
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(BN_CFLAGS) $(TESTLIB_FLAGS) $(call pkg_cflags,$(PKGS_TESTLIB)) -c $< -o $@

$(BUILD)/tests/program/%: tests/program/%.c $(TESTLIB_OBJ)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(BN_CFLAGS) $(TESTLIB_FLAGS) $(call pkg_cflags,$(PKGS_TESTLIB)) $< $(TESTLIB_OBJ) \
		-o $@ $(CFLAGS) $(call pkg_libs,$(PKGS_TESTLIB))

.PHONY: program-tests
program-tests: $(PROGRAM_BIN)

-include $(TESTLIB_OBJ:.o=.d) $(PROGRAM_BIN:=.d)
