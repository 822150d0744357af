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

# the agent's own modules write the services that these choose from
CHOICE_OBJ := $(BUILD)/tests/program/choice.o $(patsubst %,$(BUILD)/loader/%.o,error log \
	$(addprefix datapath/,audit maglev runs services services-audit services-choice \
	services-mirror services-stage services-write))
CHOICE_BIN := $(addprefix $(BUILD)/tests/program/,test-choice test-leaving)
$(CHOICE_BIN): PROGRAM_LINK := $(CHOICE_OBJ)
$(CHOICE_BIN) $(BUILD)/tests/program/choice.o: TESTLIB_FLAGS += -Iloader
$(CHOICE_BIN): PKGS_TESTLIB += libxxhash jansson
$(CHOICE_BIN): $(CHOICE_OBJ)

$(BUILD)/tests/program/%.o: tests/program/%.c | skeletons
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(BN_CFLAGS) $(TESTLIB_FLAGS) $(call pkg_cflags,$(PKGS_TESTLIB)) -c $< -o $@

$(BUILD)/tests/program/%: tests/program/%.c $(TESTLIB_OBJ)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(BN_CFLAGS) $(TESTLIB_FLAGS) $(call pkg_cflags,$(PKGS_TESTLIB)) $< $(TESTLIB_OBJ) \
		$(PROGRAM_LINK) -o $@ $(CFLAGS) $(call pkg_libs,$(PKGS_TESTLIB))

# the agent's way of learning a namespace's cookie
STAGE_OBJ := $(BUILD)/tests/program/sock-stage.o $(patsubst %,$(BUILD)/loader/%.o,error \
	datapath/cookie net/netns net/netns-cookie)
$(BUILD)/tests/program/test-sock: PROGRAM_LINK := $(STAGE_OBJ)
$(BUILD)/tests/program/sock-stage.o: TESTLIB_FLAGS += -Iloader
$(BUILD)/tests/program/test-sock: $(STAGE_OBJ)

.PHONY: program-tests
program-tests: $(PROGRAM_BIN)

-include $(TESTLIB_OBJ:.o=.d) $(CHOICE_OBJ:.o=.d) $(STAGE_OBJ:.o=.d) $(PROGRAM_BIN:=.d)
