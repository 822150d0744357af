# SPDX-License-Identifier: Apache-2.0
# Tests: unit (cmocka), program (BPF_PROG_TEST_RUN), end to end (namespaces), kernels (virtual machines).

UNIT_SRC := $(wildcard tests/unit/test-*.c)
UNIT_BIN := $(UNIT_SRC:%.c=$(BUILD)/%)
UNIT_LINK := $(filter-out $(BUILD)/loader/main.o,$(LOADER_OBJ)) $(MAPS_OBJ)

$(BUILD)/tests/unit/%: tests/unit/%.c $(UNIT_LINK)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(BN_CFLAGS) $(LOADER_FLAGS) -Itests $(call pkg_cflags,$(PKGS_LOADER) cmocka) $< $(UNIT_LINK) \
		-o $@ $(CFLAGS) $(call pkg_libs,$(PKGS_LOADER) cmocka) $(LIBS_LOADER)

# the command's own modules, which know nothing of the agent's
CLI_LINK := $(filter-out $(BUILD)/cli/main.o,$(CLI_OBJ))

$(BUILD)/tests/unit/test-cli-%: tests/unit/test-cli-%.c $(CLI_LINK)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(BN_CFLAGS) $(CLI_FLAGS) $(call pkg_cflags,$(PKGS_CLI) cmocka) $< $(CLI_LINK) \
		-o $@ $(CFLAGS) $(call pkg_libs,$(PKGS_CLI) cmocka)

-include $(UNIT_BIN:=.d)
