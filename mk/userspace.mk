# SPDX-License-Identifier: Apache-2.0
# The agent (loader/), the command (cli/) and the ABI's accessors (maps/).
# Each folder gets only its own -I paths, so that an arrow drawn the wrong way does not compile.

PKGS_MAPS := libbpf
PKGS_LOADER := libbpf libmnl libsystemd jansson yaml-0.1 sqlite3 libxxhash libmicrohttpd
PKGS_CLI := jansson yaml-0.1 ncursesw
LIBS_LOADER := -lm
LIBS_CLI := -lm

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-Wno-unused-parameter -Wno-missing-field-initializers -fms-extensions
HARDEN := -fstack-protector-strong -fPIE -fno-common -fcf-protection
ifeq ($(SANITIZE),1)
OPT := -O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
LDHARDEN := -pie
else
OPT := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
LDHARDEN := -pie -Wl,-z,relro,-z,now,-z,noexecstack
endif
CFLAGS ?= $(OPT)
BN_CFLAGS := -std=gnu17 -D_GNU_SOURCE -DBN_VERSION='"$(VERSION)"' $(WARN) $(HARDEN) $(CFLAGS) -MMD -MP

MAPS_SRC := $(wildcard maps/*.c)
LOADER_SRC := $(wildcard loader/*.c loader/*/*.c)
CLI_SRC := $(wildcard cli/*.c cli/*/*.c)

MAPS_OBJ := $(MAPS_SRC:%.c=$(BUILD)/%.o)
LOADER_OBJ := $(LOADER_SRC:%.c=$(BUILD)/%.o)
CLI_OBJ := $(CLI_SRC:%.c=$(BUILD)/%.o)

pkg_cflags = $(shell $(PKG_CONFIG) --cflags $(1))
pkg_libs = $(shell $(PKG_CONFIG) --libs $(1))

MAPS_FLAGS := -Imaps
LOADER_FLAGS := -Imaps -Iloader/public -Iloader -I$(BUILD)/skel -I$(BUILD)/ui
CLI_FLAGS := -Imaps -Iloader/public -Icli

$(BUILD)/maps/%.o: maps/%.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(BN_CFLAGS) $(MAPS_FLAGS) $(call pkg_cflags,$(PKGS_MAPS)) -c $< -o $@

$(BUILD)/loader/%.o: loader/%.c | skeletons
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(BN_CFLAGS) $(LOADER_FLAGS) $(call pkg_cflags,$(PKGS_LOADER)) -c $< -o $@

# the page, its scripts in the order in which they are joined
UI_SCRIPTS := $(addprefix ui/,flow.js filters.js stream.js graph.js map.js table.js detail.js main.js)
$(BUILD)/ui/page.inc: ui/join.sh ui/page.html ui/style.css $(UI_SCRIPTS)
	@mkdir -p $(@D)
	$(call say,PAGE,$@)
	$(Q)ui/join.sh $@ $(UI_SCRIPTS)

$(BUILD)/loader/ui/page.o: $(BUILD)/ui/page.inc

$(BUILD)/cli/%.o: cli/%.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(BN_CFLAGS) $(CLI_FLAGS) $(call pkg_cflags,$(PKGS_CLI)) -c $< -o $@

$(BUILD)/bpfnetd: $(LOADER_OBJ) $(MAPS_OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDHARDEN) $^ -o $@ $(LDFLAGS) $(call pkg_libs,$(PKGS_LOADER)) $(LIBS_LOADER)

$(BUILD)/bpfnet: $(CLI_OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDHARDEN) $^ -o $@ $(LDFLAGS) $(call pkg_libs,$(PKGS_CLI)) $(LIBS_CLI)

-include $(MAPS_OBJ:.o=.d) $(LOADER_OBJ:.o=.d) $(CLI_OBJ:.o=.d)

compile_commands.json: mk/userspace.mk
	$(Q)tools/compile-commands.sh "$(CC) -std=gnu17 -D_GNU_SOURCE -DBN_VERSION='\"$(VERSION)\"'" \
		"$(MAPS_FLAGS)" "$(LOADER_FLAGS) $(call pkg_cflags,$(PKGS_LOADER))" "$(CLI_FLAGS)" > $@
