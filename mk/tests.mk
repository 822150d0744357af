# SPDX-License-Identifier: Apache-2.0
# Tests: unit (cmocka), program (BPF_PROG_TEST_RUN), end to end (namespaces), kernels (virtual
# machines). tools/run-tests.py runs and counts; one suite's failure does not hide the others.

UNIT_SRC := $(wildcard tests/unit/test-*.c)
UNIT_BIN := $(UNIT_SRC:%.c=$(BUILD)/%)
UNIT_LINK := $(filter-out $(BUILD)/loader/main.o,$(LOADER_OBJ)) $(MAPS_OBJ)

$(BUILD)/tests/unit/%: tests/unit/%.c $(UNIT_LINK)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(BN_CFLAGS) $(LOADER_FLAGS) -Itests $(call pkg_cflags,$(PKGS_LOADER) cmocka) $< $(UNIT_MORE) $(UNIT_LINK) \
		-o $@ $(CFLAGS) $(call pkg_libs,$(PKGS_LOADER) cmocka) $(LIBS_LOADER)

# the command's own modules, which know nothing of the agent's
CLI_LINK := $(filter-out $(BUILD)/cli/main.o,$(CLI_OBJ))

$(BUILD)/tests/unit/test-cli-%: tests/unit/test-cli-%.c $(CLI_LINK)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(BN_CFLAGS) $(CLI_FLAGS) $(call pkg_cflags,$(PKGS_CLI) cmocka) $< $(CLI_LINK) \
		-o $@ $(CFLAGS) $(call pkg_libs,$(PKGS_CLI) cmocka) $(LIBS_CLI)

# what the agent and the command must say the same of
$(BUILD)/tests/unit/test-flows-stored: tests/unit/test-flows-stored.c $(UNIT_LINK) $(CLI_LINK)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(BN_CFLAGS) $(LOADER_FLAGS) -Icli -Itests $(call pkg_cflags,$(PKGS_LOADER) cmocka) $< \
		$(UNIT_LINK) $(CLI_LINK) -o $@ $(CFLAGS) \
		$(call pkg_libs,$(PKGS_LOADER) $(PKGS_CLI) cmocka) $(LIBS_LOADER) $(LIBS_CLI)

-include $(UNIT_BIN:=.d)

# KERNELS: which kernels check-kernels boots; PYTEST_ARGS: for check-e2e, such as "-k hairpin -x"
KERNELS ?= 5.10 newest
RUN_TESTS = BPFNET_BUILD=$(BUILD) BPFTOOL=$(BPFTOOL) $(PYTHON) tools/run-tests.py
TRAFFIC_RUNS := e2e e2e-node-off e2e-pod-off

.PHONY: unit-tests test-kernels
unit-tests: $(UNIT_BIN)

test: deps ## install what is missing, build, run every test but the virtual machines' (root)
	$(Q)$(MAKE) all || { echo 'it does not build'; echo '0 passed, 1 failed'; exit 1; }
	$(Q)$(MAKE) -k unit-tests program-tests || echo 'some tests do not build: counted as failed below'
	$(Q)$(RUN_TESTS) unit cli program $(TRAFFIC_RUNS)

check: lint all unit-tests program-tests ## lint, unit and program tests, without installing
	$(Q)$(RUN_TESTS) unit cli program

check-unit: all unit-tests ## unit tests, and what the commands print
	$(Q)$(RUN_TESTS) unit cli

check-program: program-tests ## program tests (root)
	$(Q)$(RUN_TESTS) program

check-e2e: all ## end-to-end tests, as is and without checksum offload (root)
	$(Q)$(RUN_TESTS) $(TRAFFIC_RUNS) -- $(PYTEST_ARGS)

check-kernels: all unit-tests program-tests ## program tests and a small end-to-end suite on KERNELS="5.10 newest" (root)
	$(Q)BPFNET_BUILD=$(BUILD) tests/kernels/run.sh $(KERNELS)

test-kernels: check-kernels

lint: ## what a tool can check: SPDX lines, formatting, shell and Python
	$(Q)tools/lint.sh

demo: deps ## a node with pods, a service, real requests and their flows (root)
	$(Q)$(MAKE) all
	$(Q)BPFNET_BUILD=$(BUILD) $(PYTHON) demo/demo.py
